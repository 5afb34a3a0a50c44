"""The base model's own chat template as pieces: what frames a message is told from the message.

Enters: a tokenizer with a chat template. Leaves: a Template. The frame is found by rendering the
conversation with marks in place of its texts; the real rendering must then be frame and texts
again, or the row is refused: no label rests on a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from selfinstruct.errors import UsageError
from selfinstruct.formats.format import question
from selfinstruct.records import Example, Task
from selfinstruct.train.templates import CHAT, Piece, TrainOn

Message = dict[str, str]
# Private-use characters: no tokenizer's template looks for them, and none strips them.
_MARK = "\ue000{}\ue001"
_PICK = "--template picks another"
_PLAIN = Task("Name a river.", "", "The Nile.")


class ChatTemplate:
    """A Template over `tokenizer.apply_chat_template`.

    A frame's control tokens become control pieces. What is trained of a turn is the answer and what
    follows it up to its first control token, which ends the turn at inference.
    """

    name = CHAT

    def __init__(self, tokenizer: Any) -> None:
        """Raises UsageError for a tokenizer without a template, or one whose template keeps the
        texts of a plain conversation in some other way."""
        if not getattr(tokenizer, "chat_template", None):
            raise UsageError("the base has no chat template of its own", hint=_PICK)
        self._tokenizer = tokenizer
        self._frames: dict[tuple[bool, int, bool], list[str]] = {}
        # Fails here rather than at the first row.
        try:
            self.render(Example(_PLAIN), answered=False)
            self.render(Example(_PLAIN))
        except ValueError as error:
            raise UsageError(str(error), hint=_PICK) from None

    def render(
        self, example: Example, train_on: TrainOn = "all", *, answered: bool = True
    ) -> list[Piece]:
        """See Template."""
        messages = messages_of(example, answered=answered)
        frames = self._frame(bool(example.system), len(messages), answered=answered)
        texts = self._texts(messages, frames, answered=answered)
        last = len(messages) - 1
        pieces = self._control(frames[0])
        for number, (message, text, frame) in enumerate(
            zip(messages, texts, frames[1:], strict=True)
        ):
            answer = message["role"] == "assistant"
            trained = answer and (train_on == "all" or number == last)
            pieces.append(Piece(text, trained))
            pieces += self._after_answer(frame, trained=trained) if answer else self._control(frame)
        return pieces

    def marks(self) -> set[str]:
        """The added tokens that the template has in it; they are control tokens to it.

        ChatML's marks are plain added tokens in some vocabularies.
        """
        source = self._tokenizer.chat_template
        added = self._tokenizer.get_added_vocab()
        return {token for token in added if token in source and not token.isspace()}

    def end_tokens(self) -> list[str]:
        """The control tokens that end an answer."""
        pieces = self.render(Example(_PLAIN))
        return list(dict.fromkeys(p.control for p in pieces if p.trained and p.control))

    def _frame(self, has_system: bool, count: int, *, answered: bool) -> list[str]:
        """What stands before, between and after `count` messages: count + 1 texts."""
        key = has_system, count, answered
        if key not in self._frames:
            roles = ["system"] if has_system else []
            roles += ["user", "assistant"] * count
            marks = [_MARK.format(number) for number in range(count)]
            messages = [
                {"role": role, "content": mark}
                for role, mark in zip(roles[:count], marks, strict=True)
            ]
            whole = self._rendered(messages, answered=answered)
            frames, rest = [], whole
            for mark in marks:
                frame, found, rest = rest.partition(mark)
                if not found or mark in rest:
                    raise UsageError(
                        "the base's chat template does not keep every message once, in order",
                        hint=_PICK,
                    )
                frames.append(frame)
            self._frames[key] = [*frames, rest]
        return self._frames[key]

    def _texts(
        self, messages: Sequence[Message], frames: Sequence[str], *, answered: bool
    ) -> list[str]:
        """The messages' texts as the template writes them: as they are, or stripped."""
        whole = self._rendered(messages, answered=answered)
        as_they_are: Callable[[str], str] = str
        for change in (as_they_are, str.strip):
            texts = [change(message["content"]) for message in messages]
            joined = frames[0] + "".join(
                text + frame for text, frame in zip(texts, frames[1:], strict=True)
            )
            if joined == whole:
                return texts
        raise ValueError("the base's chat template changes what this row says")

    def _rendered(self, messages: Sequence[Message], *, answered: bool) -> str:
        from jinja2.exceptions import TemplateError

        try:
            text = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=not answered
            )
        except TemplateError as error:
            raise ValueError(f"the base's chat template refuses it: {error}") from None
        assert isinstance(text, str)
        return text

    def _control(self, frame: str) -> list[Piece]:
        """A frame as text and control tokens."""
        parts = self._pattern.split(frame)
        return [
            Piece(control=part) if number % 2 else Piece(part)
            for number, part in enumerate(parts)
            if part
        ]

    def _after_answer(self, frame: str, *, trained: bool) -> list[Piece]:
        """The frame after an answer: trained up to the control token that ends the turn."""
        pieces = self._control(frame)
        end = next((number for number, piece in enumerate(pieces) if piece.control), None)
        if end is None:
            raise UsageError(
                "the base's chat template ends an answer with no control token: "
                "a model trained on it would not stop",
                hint=_PICK,
            )
        return [piece._replace(trained=trained and n <= end) for n, piece in enumerate(pieces)]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return _any_of(special_tokens(self._tokenizer) | self.marks())


def messages_of(example: Example, *, answered: bool = True) -> list[Message]:
    """An example as messages with roles; without the last answer when not `answered`."""
    messages = [{"role": "system", "content": example.system}] if example.system else []
    for user, assistant in example.history:
        messages.append({"role": "user", "content": user})
        messages.append({"role": "assistant", "content": assistant})
    messages.append({"role": "user", "content": question(example.task)})
    if answered:
        messages.append({"role": "assistant", "content": example.task.output})
    return messages


def special_tokens(tokenizer: Any) -> set[str]:
    """The spellings of a tokenizer's special tokens."""
    named = set(tokenizer.all_special_tokens)
    return named | {
        str(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special
    }


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the tokens, the longest first, as a group of its own."""
    ordered = sorted((token for token in tokens if token), key=lambda token: (-len(token), token))
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")" if ordered else "((?!))")
