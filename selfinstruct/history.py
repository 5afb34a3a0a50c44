"""What a journal already holds: the run's header, and which requests are paid for or settled.

Enters: journal facts in order. Leaves: where each request's reply lies, the changes of dialect and
the totals of what was bought. Reads nothing but what it is given; knows no network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfinstruct.errors import JournalDamaged, Malformed, UsageError
from selfinstruct.journal import NAME, VERSION, Fact, body_of, read_facts
from selfinstruct.providers.answers import read_body
from selfinstruct.records import Reply, Ticket


@dataclass
class Bought:
    """Totals of a run, over all its processes. Tokens are the provider's own counts.

    seconds: time spent generating. sent: attempts sent. paid: 200s received.
    """

    sent: int = 0
    paid: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def count(self, reply: Reply) -> None:
        self.paid += 1
        self.prompt_tokens += reply.prompt_tokens or 0
        self.completion_tokens += reply.completion_tokens or 0


@dataclass
class History:
    """The index of a journal.

    settled: request → offset of the fact that settles it. prompts: request → prompt_digest as
    sent. changes: of dialect, in order. target: the rows last asked for.
    """

    header: Fact = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    settled: dict[Ticket, int] = field(default_factory=dict)
    prompts: dict[Ticket, str] = field(default_factory=dict)
    target: int | None = 0
    bought: Bought = field(default_factory=Bought)
    _outcomes: set[Ticket] = field(default_factory=set)

    @classmethod
    def of(cls, facts: Iterable[tuple[int, Fact]]) -> History:
        """Raises JournalDamaged when the first fact is not a header of a version that we read."""
        history = cls()
        for offset, fact in facts:
            if not history.header:
                if fact.get("type") != "run" or fact.get("version") != VERSION:
                    raise JournalDamaged(
                        "the journal does not begin with a header that this version reads",
                        hint="was it made by a newer selfinstruct?",
                    )
                history.header = fact
            else:
                history._add(offset, fact)
        return history

    @classmethod
    def load(cls, directory: Path) -> History:
        """The history of a run directory, without locking it. Raises UsageError for no run."""
        history = cls.of(read_facts(directory / NAME))
        if not history.header:
            raise UsageError(f"{directory}: no run here yet: its journal is empty")
        return history

    def _add(self, offset: int, fact: Fact) -> None:
        kind = fact.get("type")
        if kind == "intent":
            self.bought.sent += 1
            self.prompts[ticket(fact)] = fact["prompt"]
        elif kind == "reply":
            self._add_reply(offset, fact)
        elif kind == "outcome":
            # A readable reply, bought before or after, counts for more.
            if ticket(fact) not in self.settled:
                self.settled[ticket(fact)] = offset
                self._outcomes.add(ticket(fact))
        elif kind == "failure":
            self.bought.failed += 1
        elif kind == "target":
            self.target = fact["n"]
        elif kind == "adapt":
            self.changes.append(fact["change"])
        elif kind == "session":
            self.bought.seconds += fact["seconds"]

    def _add_reply(self, offset: int, fact: Fact) -> None:
        request = ticket(fact)
        try:
            reply = settle(fact)
        except Malformed:
            self.bought.paid += 1
            return
        self.bought.count(reply)
        if request not in self.settled or request in self._outcomes:
            self.settled[request] = offset
            self._outcomes.discard(request)


def ticket(fact: Fact) -> Ticket:
    """The request that a fact speaks of."""
    return Ticket(fact["k"], fact["lang"])


def settle(fact: Fact) -> Reply:
    """The Reply in a `reply` or `outcome` fact. Raises Malformed for a reply that is not one."""
    if fact["type"] == "outcome":
        k, lang = ticket(fact)
        return Reply(request=k, lang=lang, text="", outcome=fact["reason"])
    return read_body(ticket(fact), fact["api"], body_of(fact))


def header_fact(
    *,
    fingerprint: dict[str, Any],
    config: dict[str, Any],
    seeds: dict[str, str],
    templates: dict[str, str],
    at: float,
) -> Fact:
    """The first fact of a journal. Seeds and templates, by language, are kept whole, so that a run
    directory needs nothing else to be resumed or verified. `at` is Unix time in seconds."""
    return {
        "type": "run",
        "version": VERSION,
        "at": at,
        "fingerprint": fingerprint,
        "config": config,
        "seeds": seeds,
        "templates": templates,
    }
