"""What the files of a batch say: the facts that are written, and what they add up to.

Enters: facts of a run that buys in batches. Leaves: a journal, its history and a budget that always
agree, since each fact is taken in as it is written. Knows no network. docs/design/batch.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfinstruct.budget import Bill, Budget
from selfinstruct.exports import line
from selfinstruct.history import History, OpenBatch
from selfinstruct.journal import Fact, Journal
from selfinstruct.providers.batch_api import BatchApi, endpoint_path
from selfinstruct.providers.dialect import Dialect
from selfinstruct.providers.openai import OpenAIProvider
from selfinstruct.records import Api, Prompt, Ticket
from selfinstruct.routes import Endpoint
from selfinstruct.sender import Route

FOLDER = "batches"


@dataclass(frozen=True)
class Place:
    """An endpoint: its batches, how it is asked, its account's number."""

    api: BatchApi
    provider: OpenAIProvider
    endpoint: Endpoint
    route: Route


class Ledger:
    """The journal, its history and the budget of a run, as one."""

    def __init__(self, journal: Journal, history: History, budget: Budget) -> None:
        self.journal = journal
        self.history = history
        self.budget = budget
        self.directory = journal.path.parent

    def append(self, **fact: Any) -> None:
        """Write a fact and take it in, so that live and replayed accounts are one and the same."""
        self.history.add(self.journal.append(fact), fact)
        if self.journal.trouble is not None:
            raise self.journal.trouble

    def settle_without(self, request: Ticket, reason: str, message: str) -> None:
        self.append(type="outcome", **request._asdict(), reason=reason, message=message)

    def balance(self) -> None:
        """The budget as the history has it: spent, and held by open batches."""
        self.budget.spent = self.history.totals.spent
        held = [
            (self.history.account(batch.endpoint).worst(most), most.total)
            for batch in self.history.batches.values()
            for most in batch.held.values()
        ]
        self.budget.held = Bill(sum(h[0] for h in held), sum(h[1] for h in held))

    def where(self, batch: OpenBatch, request: Ticket) -> dict[str, Any]:
        """What every fact of one attempt holds."""
        attempt = 1 + len(self.history.failures.get(request, ()))
        return {
            **request._asdict(),
            "attempt": attempt,
            "to": batch.endpoint,
            "batch": batch.number,
        }


def batch_token(header: Fact, number: int) -> str:
    """By what we know a batch again: never the same for two runs or two batches of a run."""
    identity = json.dumps([header["at"], header["fingerprint"], number], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def result_path(directory: Path, batch: int, kind: str) -> Path:
    """Where a result file of a batch is kept. kind: "output" or "error"."""
    return directory / FOLDER / f"{batch:04d}.{kind}.jsonl"


def name_of(request: Ticket) -> str:
    """The custom_id of a request."""
    return f"{request.lang}-{request.k}"


def dialect_of(batch: OpenBatch) -> Dialect:
    """How the batch was asked, which later refusals may have changed for those after it."""
    api: Api = "chat" if batch.dialect["api"] == "chat" else "completions"
    dropped = frozenset(batch.dialect["dropped"])
    return Dialect(api, batch.dialect["max_tokens_name"], dropped)


def request_line(
    request: Ticket, prompt: Prompt, model: str, dialect: Dialect, sampling: Mapping[str, Any]
) -> bytes:
    """One line of an input file."""
    body = {"model": model, **dialect.parameters(prompt, sampling)}
    url = endpoint_path(dialect.api)
    return line({"custom_id": name_of(request), "method": "POST", "url": url, "body": body})
