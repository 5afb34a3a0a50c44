"""The nouns: what flows through a run. Frozen, JSON-friendly, no behaviour beyond their own data.

Seed → Prompt → Reply → Candidate → Verdict → Record. Knows nothing of how any of them is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Api = Literal["completions", "chat"]


@dataclass(frozen=True, slots=True)
class Task:
    """One instruction-following task: the three fields of an Alpaca row."""

    instruction: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Example:
    """What a trainer reads: the last exchange as a Task, and what was said before it.

    history: earlier exchanges as (user, assistant), the oldest first. system: the system message,
    "" for none.
    """

    task: Task
    history: tuple[tuple[str, str], ...] = ()
    system: str = ""


@dataclass(frozen=True, slots=True)
class Seed:
    """A human-written task. `id` is unique within its file."""

    id: str
    task: Task
    is_classification: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one request asks: a pure function of (run seed, request index, seeds, template).

    text: the prompt, its constant part first.
    stop: stop sequences for the completions API.
    example_ids: ids of the tasks shown, in order.
    first: the number of the first task that the model is to write.
    asked: how many tasks it is asked to write.
    seed: a per-request integer for servers that accept `seed`.
    schema: the chat API's `json_schema`, for an answer as JSON; None for text.
    """

    text: str
    stop: tuple[str, ...]
    example_ids: tuple[str, ...]
    first: int
    asked: int
    seed: int
    # A mapping has no hash; the text says the same.
    schema: Mapping[str, Any] | None = field(default=None, hash=False)


class Ticket(NamedTuple):
    """One request of a run: the k-th of its language. Tickets sort by k first."""

    k: int
    lang: str


class Answer(NamedTuple):
    """A 200 as it came: which API was asked, the raw body, and the headers."""

    api: Api
    body: bytes
    headers: Mapping[str, str]


def prompt_digest(prompt: Prompt) -> str:
    """128 bits of the prompt text's SHA-256, in hex: what the journal says was sent."""
    return hashlib.sha256(prompt.text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Choice(NamedTuple):
    """One of the answers to a prompt: its text, empty where `outcome` says why there is none."""

    text: str
    finish_reason: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one request bought, already read from the journal's raw bytes.

    text is empty and `outcome` set when the request is settled without usable text
    (refusal, context_length, content_filter, exhausted, …). request is its k within
    its language.
    prompt_tokens / completion_tokens are the provider's own counts for all choices together, None
    when it gave none; cached_tokens: those of the prompt that its prefix cache had.
    rest: the other choices, in order; text, finish_reason and outcome are those of the first that
    has a text.
    """

    request: int
    text: str
    finish_reason: str = ""
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    outcome: str = ""
    lang: str = "en"
    cached_tokens: int | None = None
    rest: tuple[Choice, ...] = ()

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All answers, at least one."""
        return (Choice(self.text, self.finish_reason, self.outcome), *self.rest)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One task found in a reply, at `position` (0-based).

    `defect` names a structural failure found by the parser ("unclosed", "incomplete");
    such a candidate is always rejected, with `detail` as the evidence. `source_id` is the record
    that the task was made from, for recipes that have one.
    """

    request: int
    position: int
    task: Task
    example_ids: tuple[str, ...] = ()
    model: str = ""
    defect: str = ""
    detail: str = ""
    source_id: str = ""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of another run, to be made into one of this run: its record id and its task."""

    id: str
    task: Task


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The most similar earlier task: its id and the ROUGE-L F-measure, 0.0–1.0."""

    id: str
    rouge_l: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Kept (reason == "") or rejected with a named reason and its evidence."""

    reason: str = ""
    evidence: str = ""
    neighbour: Neighbour | None = None

    @property
    def kept(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True)
class Record:
    """A judged candidate as the run directory stores it."""

    id: str
    lang: str
    recipe: str
    candidate: Candidate
    verdict: Verdict = field(default_factory=Verdict)
