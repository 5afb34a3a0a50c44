"""Answers of a model, to many questions at once or to one while it is being written.

Enters: a Speaker and Examples, whose own answers are not looked at. Leaves: Answers. Prompts are
padded on the left and the padding is masked: a question gets the answer that it gets alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from selfinstruct.errors import UsageError
from selfinstruct.records import Example, Task
from selfinstruct.train.batches import Collator, summed_loss
from selfinstruct.train.encode import EncodedRow
from selfinstruct.train.speaker import Speaker

# Questions that are answered together.
BATCH = 8


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn. max_tokens: of an answer. temperature: 0 for the likeliest token
    every time. top_p: only the likeliest tokens that have this share together."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise UsageError("--seed must be at least 0 and less than 2^32")


GREEDY = Sampling()


class Answer(NamedTuple):
    """ended: whether the model ended it; else it was cut, or stopped by Ctrl-C."""

    text: str
    tokens: int
    ended: bool
    stopped: bool = False


def answers(
    speaker: Speaker,
    examples: Sequence[Example],
    sampling: Sampling = GREEDY,
    *,
    batch: int = BATCH,
) -> list[Answer]:
    """An answer to each example, in their order. Raises UsageError."""
    prompts = [speaker.prompt(example) for example in examples]
    # Prompts of about the same length share a batch.
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    torch.manual_seed(sampling.seed)
    found: dict[int, Answer] = {}
    for start in range(0, len(order), batch):
        numbers = order[start : start + batch]
        written = _generate(speaker, [prompts[number] for number in numbers], sampling)
        found.update(zip(numbers, (_read(speaker, ids) for ids in written), strict=True))
    return [found[number] for number in range(len(prompts))]


class Conversation:
    """One person's questions to a model, each after those before it where the template has a place
    for them."""

    def __init__(self, speaker: Speaker, sampling: Sampling, system: str = "") -> None:
        """Raises UsageError for a system message that the template has no place for."""
        self._speaker = speaker
        self._sampling = sampling
        self._system = system
        self._turns: list[tuple[str, str]] = []
        torch.manual_seed(sampling.seed)
        speaker.prompt(self._example("?"))

    def ask(self, question: str, said: Callable[[str], None]) -> Answer:
        """said: is given the answer in pieces, as they come. Ctrl-C ends an answer, and what was
        said of it stays said. Raises UsageError."""
        prompt = self._speaker.prompt(self._example(question))
        listener = _Listener(self._speaker, said)
        stopped = False
        try:
            _generate(self._speaker, [prompt], self._sampling, listener)
        except KeyboardInterrupt:
            stopped = True
        answer = listener.finish()._replace(stopped=stopped)
        if self._speaker.many_turns:
            self._turns.append((question, answer.text))
        return answer

    def reset(self) -> None:
        """Forget what was said."""
        self._turns.clear()

    def _example(self, question: str) -> Example:
        return Example(Task(question, "", ""), tuple(self._turns), self._system)


def row_losses(
    speaker: Speaker, rows: Sequence[EncodedRow], *, batch: int = BATCH
) -> list[tuple[float, int]]:
    """(loss summed over the trained tokens, their number) of each row."""
    collator = Collator(speaker.encoder.tokens.pad)
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    found: dict[int, tuple[float, int]] = {}
    for start in range(0, len(order), batch):
        numbers = order[start : start + batch]
        tensors = collator([[rows[number]] for number in numbers])
        tensors = {name: tensor.to(speaker.model.device) for name, tensor in tensors.items()}
        labels = tensors.pop("labels")
        with torch.inference_mode():
            logits = speaker.model(**tensors, use_cache=False).logits
        for line, number in enumerate(numbers):
            loss, count = summed_loss(logits[line : line + 1], labels[line : line + 1])
            found[number] = float(loss), count
    return [found[number] for number in range(len(rows))]


def _generate(
    speaker: Speaker, prompts: Sequence[list[int]], sampling: Sampling, listener: Any = None
) -> list[list[int]]:
    """The ids after each prompt; after the end of an answer there may be padding."""
    tokens, width = speaker.encoder.tokens, max(map(len, prompts))
    ids = torch.full((len(prompts), width), tokens.pad)
    mask = torch.zeros_like(ids)
    for line, prompt in enumerate(prompts):
        ids[line, width - len(prompt) :] = torch.tensor(prompt)
        mask[line, width - len(prompt) :] = 1
    drawn = sampling.temperature > 0
    config = GenerationConfig(
        max_new_tokens=speaker.room(width, sampling.max_tokens),
        eos_token_id=sorted(tokens.stops),
        pad_token_id=tokens.pad,
        do_sample=drawn,
        **({"temperature": sampling.temperature, "top_p": sampling.top_p} if drawn else {}),
        **({"top_k": 0} if drawn else {}),
    )
    device = speaker.model.device
    try:
        with torch.inference_mode():
            whole = speaker.model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                generation_config=config,
                streamer=listener,
            )
    except torch.OutOfMemoryError:
        raise UsageError(
            f"out of memory for {len(prompts)} answers of {sampling.max_tokens} tokens",
            hint="fewer --max-tokens need less",
        ) from None
    return [line.tolist() for line in whole[:, width:]]


def _read(speaker: Speaker, ids: Sequence[int]) -> Answer:
    tokens = speaker.encoder.tokens
    end = next((number for number, id in enumerate(ids) if id in tokens.stops), None)
    said = list(ids[:end])
    return Answer(tokens.decode(said).strip(), len(said), end is not None)


class _Listener(BaseStreamer):
    """Tells an answer in pieces of whole characters while its tokens come."""

    def __init__(self, speaker: Speaker, said: Callable[[str], None]) -> None:
        self._speaker = speaker
        self._said = said
        self._ids: list[int] | None = None
        self._told = ""

    def put(self, value: Any) -> None:
        """The prompt first, then the tokens."""
        if self._ids is None:
            self._ids = []
            return
        self._ids += value.flatten().tolist()
        # The rest of a character may be in the next token; spaces at the end may be the end.
        self._tell(_read(self._speaker, self._ids).text.rstrip("\N{REPLACEMENT CHARACTER}"))

    def end(self) -> None:
        """Nothing is left to do: `finish` tells the rest, also of an answer that was stopped."""

    def finish(self) -> Answer:
        answer = _read(self._speaker, self._ids or [])
        self._tell(answer.text)
        return answer

    def _tell(self, text: str) -> None:
        if len(text) > len(self._told) and text.startswith(self._told):
            self._said(text[len(self._told) :])
            self._told = text
