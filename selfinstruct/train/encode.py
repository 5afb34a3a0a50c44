"""Rows as token ids, each marked trained or not: correct labels or no training.

Enters: a tokenizer, a template, rows. Leaves: EncodedRows, and those dropped with their reason.
Knows no model and no torch.

How a row is encoded, and why:

- Control tokens are placed as ids. Text is encoded as text whatever it spells: "</s>" in an answer
  is four characters, never the end of the answer.
- The prompt of a turn, template and question together, is one piece of text, as it is at inference.
  Its ids are therefore those that the trained model will be given.
- The answer's ids are what follows the prompt's when both are encoded together, as long as that
  begins with the prompt's own ids; else ("…Assistant: \\n" + "Hello" splits " \\n" otherwise than
  "…Assistant: \\n" alone) the answer is encoded by itself. Labels by character offsets would train
  the model on a prompt that it never sees.
- A row begins with an untrained token, and ends with a trained one: EOS, unless it was cut.
- An answer too long is cut at the end and then has no EOS: stopping in mid-sentence is not what
  the model is to learn. A prompt that leaves no room for an answer drops the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfinstruct.errors import UsageError
from selfinstruct.records import Example
from selfinstruct.train.templates import BOS, EOS, Piece, Template, TrainOn
from selfinstruct.train.tokens import Tokens

# Rows whose texts go to the tokenizer together; it encodes them on every core.
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """An example to train on. place: FILE:LINE. lang: "" where nobody says."""

    id: str
    lang: str
    place: str
    example: Example


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """ids: the tokens, int32. trained: which of them the model learns to write, bool; never the
    first. cut: whether the answer was too long, and EOS is missing."""

    id: str
    lang: str
    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.ids)


class Dropped(NamedTuple):
    """A row that is not trained on. reason: a word; detail: the figures or the phrase."""

    id: str
    place: str
    reason: str
    detail: str


@dataclass(slots=True)
class Encoding:
    """What became of the rows. unknown: trained tokens that are <unk>."""

    rows: list[EncodedRow] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    unknown: int = 0

    @property
    def tokens(self) -> int:
        return sum(len(row) for row in self.rows)

    @property
    def supervised(self) -> int:
        return sum(int(row.trained.sum()) for row in self.rows)

    @property
    def cut(self) -> int:
        return sum(row.cut for row in self.rows)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(row.reason for row in self.dropped)


class _Run(NamedTuple):
    """Text between two control tokens: what is asked, and what is answered to it, each may be "".
    goes_on: a control token comes before it."""

    asked: str
    answered: str
    goes_on: bool


class _Control(NamedTuple):
    id: int
    trained: bool


_Step = _Run | _Control
Marked = tuple[list[int], list[bool]]


class Encoder:
    """Encodes examples with one tokenizer and one template, `max_tokens` at most each."""

    def __init__(
        self, tokens: Tokens, template: Template, max_tokens: int, train_on: TrainOn = "all"
    ) -> None:
        self.tokens = tokens
        self.template = template
        self.max_tokens = max_tokens
        self._train_on = train_on

    def prompt(self, example: Example) -> list[int]:
        """The ids that a model is given to answer the last question; any length."""
        steps = self._steps(self.template.render(example, answered=False))
        return _assembled(steps, self._encoded([steps]))[0]

    def encode(self, rows: Iterable[Row], *, skip_empty: bool = False) -> Encoding:
        """Raises UsageError, with the row's place, for an answer that is empty (dropped when
        `skip_empty`) and for a row that the template has no place for."""
        found = Encoding()
        waiting = iter(rows)
        while batch := list(islice(waiting, _BATCH)):
            self._encode_batch(batch, found, skip_empty=skip_empty)
        return found

    def _encode_batch(self, rows: Sequence[Row], found: Encoding, *, skip_empty: bool) -> None:
        planned: list[tuple[Row, list[_Step]]] = []
        for row in rows:
            if self._has_empty_answer(row.example):
                if not skip_empty:
                    raise UsageError(
                        f"{row.place}: the answer is empty: there is nothing to learn from it",
                        hint="remove the row, or drop all such rows with --skip-empty",
                    )
                found.dropped.append(Dropped(row.id, row.place, "empty_answer", ""))
                continue
            if not _is_utf8(row.example):
                detail = "half of a pair has no bytes that a tokenizer could read"
                found.dropped.append(Dropped(row.id, row.place, "lone_surrogate", detail))
                continue
            try:
                pieces = self.template.render(row.example, self._train_on)
            except ValueError as error:
                raise UsageError(f"{row.place}: {error}") from None
            planned.append((row, self._steps(pieces)))
        ids = self._encoded([steps for _row, steps in planned])
        for row, steps in planned:
            self._keep(row, _assembled(steps, ids), found)

    def _has_empty_answer(self, example: Example) -> bool:
        answers = [example.task.output]
        if self._train_on == "all":
            answers += [assistant for _user, assistant in example.history]
        return not all(answer.strip() for answer in answers)

    def _keep(self, row: Row, marked: Marked, found: Encoding) -> None:
        """Fit a row into the limit, or drop it."""
        ids, trained = marked
        assert not trained[0], "a row begins with a token that nothing predicts"
        whole = _last_trained(trained)
        end = _last_trained(trained[: self.max_tokens])
        if end == 0:
            first = trained.index(True)
            detail = f"{first} tokens before the answer, of {self.max_tokens} at most"
            found.dropped.append(Dropped(row.id, row.place, "prompt_too_long", detail))
            return
        # Cut inside an answer, or before a turn that has no room: only the former loses its EOS.
        cut = end < whole and trained[end]
        assert cut or ids[end - 1] in self.tokens.stops, "an answer ends with EOS"
        kept = EncodedRow(
            row.id, row.lang, np.array(ids[:end], np.int32), np.array(trained[:end]), cut
        )
        found.rows.append(kept)
        if self.tokens.unknown is not None:
            found.unknown += int((kept.ids[kept.trained] == self.tokens.unknown).sum())

    def _steps(self, pieces: Iterable[Piece]) -> list[_Step]:
        """Pieces with neighbours of the same kind put together."""
        steps: list[_Step] = []
        asked = answered = ""
        goes_on = False

        def close() -> None:
            nonlocal asked, answered, goes_on
            if asked or answered:
                steps.append(_Run(asked, answered, goes_on))
                asked, answered, goes_on = "", "", True

        for piece in pieces:
            if piece.control:
                close()
                id = self._control(piece.control)
                if id is not None:
                    steps.append(_Control(id, piece.trained))
                    goes_on = True
            elif piece.trained:
                answered += piece.text
            else:
                if answered:
                    close()
                asked += piece.text
        close()
        return steps

    def _control(self, name: str) -> int | None:
        """The id of a control token; None for a BOS that the tokenizer puts before no text."""
        if name == BOS:
            return self.tokens.bos
        return self.tokens.eos if name == EOS else self.tokens.control(name)

    def _encoded(self, plans: Sequence[Sequence[_Step]]) -> _Ids:
        """The ids of every text that the plans need, encoded together."""
        runs = [step for steps in plans for step in steps if isinstance(step, _Run)]
        ids: _Ids = {}
        self._add(ids, [_Text(run.asked, run.goes_on) for run in runs])
        self._add(ids, [_Text(run.asked + run.answered, run.goes_on) for run in runs])
        apart = [run for run in runs if not _begins_with_prompt(run, ids)]
        self._add(ids, [_Text(run.answered, True) for run in apart])
        return ids

    def _add(self, ids: _Ids, texts: Iterable[_Text]) -> None:
        for side in (False, True):
            new = list({text.text for text in texts if text.goes_on is side and text not in ids})
            for text, found in zip(new, self.tokens.encode(new, goes_on=side), strict=True):
                ids[_Text(text, side)] = found


class _Text(NamedTuple):
    """A text as the tokenizer is given it. goes_on: a control token comes before it."""

    text: str
    goes_on: bool


_Ids = dict[_Text, list[int]]


def _is_utf8(example: Example) -> bool:
    """Whether all that is said can be written as UTF-8: a lone surrogate cannot."""
    task, earlier = example.task, [text for pair in example.history for text in pair]
    try:
        "".join([example.system, *earlier, task.instruction, task.input, task.output]).encode()
    except UnicodeEncodeError:
        return False
    return True


def _begins_with_prompt(run: _Run, ids: _Ids) -> bool:
    """Whether prompt and answer, encoded together, begin with the prompt's own ids."""
    prompt = ids[_Text(run.asked, run.goes_on)]
    return ids[_Text(run.asked + run.answered, run.goes_on)][: len(prompt)] == prompt


def _assembled(steps: Iterable[_Step], ids: _Ids) -> Marked:
    """All ids of a row and which are trained."""
    row: list[int] = []
    trained: list[bool] = []
    for step in steps:
        if isinstance(step, _Control):
            row.append(step.id)
            trained.append(step.trained)
            continue
        prompt = ids[_Text(step.asked, step.goes_on)]
        if _begins_with_prompt(step, ids):
            answer = ids[_Text(step.asked + step.answered, step.goes_on)][len(prompt) :]
        else:
            answer = ids[_Text(step.answered, True)]
        row += [*prompt, *answer]
        trained += [False] * len(prompt) + [True] * len(answer)
    return row, trained


def _last_trained(trained: Sequence[bool]) -> int:
    """One past the last trained token, 0 for none."""
    return next((n for n in range(len(trained), 0, -1) if trained[n - 1]), 0)
