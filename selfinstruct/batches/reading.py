"""From the result files of a batch to facts: replies first, then what the other lines mean.

Enters: files that are whole and on the disk. Leaves: a reply, failure, outcome or adapt fact for
each line that had none yet, so that reading again after a crash changes nothing. Knows no network.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from selfinstruct.batches.ledger import Ledger, Place, dialect_of, name_of, result_path
from selfinstruct.errors import (
    Adaptable,
    Malformed,
    Outcome,
    ProviderRefused,
    RequestFailed,
    ServerFailed,
)
from selfinstruct.history import TOKEN_LIMIT, OpenBatch
from selfinstruct.providers.answers import read_body
from selfinstruct.providers.batch_api import Line, Seen, read_lines
from selfinstruct.providers.dialect import Dialect, explain
from selfinstruct.providers.refusals import Answered, redact, refusal
from selfinstruct.records import Ticket


@dataclass
class Findings:
    """What the lines of a batch said beside the replies. lines: how many requests have one."""

    lines: int = 0
    unreadable: int = 0
    unknown: int = 0
    adapted: bool = False
    refused: ProviderRefused | None = None
    last: str = ""


class BatchEnded(RequestFailed):
    """The batch ended before this request was answered."""

    kind = "batch"


class Refused(RequestFailed):
    """A refusal for good, as a failed attempt's class in the journal."""

    kind = "refused"


class Reading:
    """adapt_api: may a request fall from completions to chat?"""

    def __init__(self, ledger: Ledger, notice: Callable[[str], None], *, adapt_api: bool) -> None:
        self._ledger = ledger
        self._history = ledger.history
        self._notice = notice
        self._adapt_api = adapt_api

    async def read(self, batch: OpenBatch, place: Place) -> Findings:
        """Every line becomes facts, unless it did so already. Replies first: what a refusal means
        depends on whether anything was ever answered."""
        found = Findings()
        names = {name_of(request): request for request in batch.tickets}
        done: set[str] = set()
        for replies in (True, False):
            for number, read in enumerate(self._lines(batch)):
                if number % 64 == 0:
                    await asyncio.sleep(0)
                if read is None:
                    found.unreadable += replies
                elif (read.status == 200) != replies:
                    continue
                elif read.custom_id not in names or read.custom_id in done:
                    found.unknown += 1
                else:
                    done.add(read.custom_id)
                    found.lines += 1
                    if names[read.custom_id] in batch.held:
                        self._take(batch, place, names[read.custom_id], read, found)
        self._ledger.journal.sync()
        return found

    def _lines(self, batch: OpenBatch) -> Iterator[Line | None]:
        for kind in ("output", "error"):
            path = result_path(self._ledger.directory, batch.number, kind)
            if path.exists():
                with path.open("rb") as file:
                    yield from read_lines(file)

    def _take(
        self, batch: OpenBatch, place: Place, request: Ticket, read: Line, found: Findings
    ) -> None:
        where = self._ledger.where(batch, request)
        dialect = dialect_of(batch)
        if read.status == 200:
            self._ledger.append(type="reply", **where, api=dialect.api, body=read.body)
            try:
                read_body(request, dialect.api, read.body.encode())
            except Malformed as error:
                found.last = str(error)
                self._ledger.append(type="failure", **where, **error.stored())
            return
        if read.never_run:
            self._ledger.append(type="failure", **where, **BatchEnded(read.message).stored())
            return
        problem = self._problem(place, dialect, read)
        found.last = str(problem)
        if isinstance(problem, ProviderRefused):
            found.refused = problem
            problem = Refused(str(problem))
        elif isinstance(problem, Adaptable):
            self._adapt(place, problem, found)
        elif isinstance(problem, Outcome) and request not in self._history.settled:
            if problem.reason == "bad_request" and not self._history.totals.paid:
                found.refused = ProviderRefused(str(problem))
            else:
                self._ledger.settle_without(request, problem.reason, str(problem))
        # Last, since a request with this fact is not looked at again after a crash.
        self._ledger.append(type="failure", **where, **problem.stored())

    def _problem(
        self, place: Place, dialect: Dialect, read: Line
    ) -> RequestFailed | ProviderRefused:
        """What a line without a reply means. Judged by the dialect that the batch was sent in."""
        if read.status == 0:
            return ServerFailed(redact(read.message, place.endpoint.api_key))
        problem = refusal(
            Answered(
                status=read.status,
                headers={},
                body=read.body.encode(),
                base_url=place.api.base_url,
                key=place.endpoint.api_key,
                dialect=dialect,
                adapt_api=self._adapt_api,
                now=0.0,
            )
        )
        assert isinstance(problem, RequestFailed | ProviderRefused)
        return problem

    def _adapt(self, place: Place, problem: Adaptable, found: Findings) -> None:
        found.adapted = True
        if place.provider.apply(problem.change):
            self._ledger.append(type="adapt", to=place.route.number, change=problem.change)
            self._notice(explain(problem.change))

    def refused_whole(self, place: Place, dialect: Dialect, seen: Seen) -> Findings:
        """A batch that failed at its validation: its errors are read as those of a request."""
        found = Findings()
        body = json.dumps({"error": seen.errors[0]})
        if seen.errors[0].get("code") == TOKEN_LIMIT:
            return found
        problem = self._problem(place, dialect, Line("", 400, body))
        if isinstance(problem, Adaptable):
            self._adapt(place, problem, found)
        return found

    def end(self, batch: OpenBatch, status: str, *, code: str = "", billed: bool = False) -> None:
        """Give back what the batch holds, then close it. billed: lines were there that nobody can
        read, or answers counted that the files lack, so that what has no answer may have been
        charged."""
        error = BatchEnded(f"the batch ended without an answer: {status}")
        for request in sorted(batch.held):
            fact = {**self._ledger.where(batch, request), **error.stored()}
            self._ledger.append(type="failure", **fact, **({"billed": True} if billed else {}))
        self._ledger.append(type="batch_ended", b=batch.number, status=status, code=code)
        self._ledger.journal.sync()
        self._ledger.balance()
