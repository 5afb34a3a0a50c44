"""Which requests go into the next round of batches.

Enters: lanes with their demands, the budget. Leaves: batches and their intents in the journal, not
yet sent. Knows no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from selfinstruct.batches.ledger import (
    Ledger,
    Place,
    batch_token,
    dialect_of,
    request_line,
    result_path,
)
from selfinstruct.budget import Bill
from selfinstruct.errors import Malformed
from selfinstruct.fleet import Fleet
from selfinstruct.generator import Lane
from selfinstruct.history import OpenBatch, settle
from selfinstruct.journal import Fact
from selfinstruct.providers.batch_api import MAX_BYTES, MAX_REQUESTS
from selfinstruct.records import Reply, Ticket, prompt_digest
from selfinstruct.turnstile import Need, Turnstile

# How often a request is asked for in all, whatever its own answers said.
MAX_ROUNDS = 3


class Planning:
    """models: request k is for the one at k modulo their number. places: of each model. arrived
    hears of replies that cannot be decided yet."""

    def __init__(
        self,
        *,
        lanes: Mapping[str, Lane],
        models: Sequence[str],
        places: Mapping[str, Place],
        sampling: Mapping[str, Any],
        ledger: Ledger,
        arrived: Callable[[Reply], None],
        notice: Callable[[str], None],
    ) -> None:
        self._lanes = lanes
        self._models = tuple(models)
        self._places = places
        self._sampling = sampling
        self._ledger = ledger
        self._history = ledger.history
        self._arrived = arrived
        self._notice = notice
        self._looked: set[Ticket] = set()

    def next(self, lane: Lane) -> Reply | None:
        """The lane's next reply in request order, None when there is none yet or it needs none."""
        request = Ticket(lane.position, lane.lang)
        offset = self._history.settled.get(request)
        if offset is None or lane.demand.met:
            return None
        reply = settle(self._ledger.journal.read(offset))
        if request not in self._looked:
            self._arrived(reply)
        self._looked.discard(request)
        return reply

    def begin_round(self) -> None:
        """Write down the batches of all requests that the demands ask for and the budget bears."""
        settled = len(self._history.settled)
        wanted = sorted(self._wanted())
        if len(self._history.settled) > settled:
            return  # Some are given up: decide those first.
        self._ledger.balance()
        pieces: dict[str, list[list[Fact]]] = {model: [[]] for model in self._places}
        room = dict.fromkeys(pieces, MAX_BYTES)
        most_requests = min(self._history.batch_limit or MAX_REQUESTS, MAX_REQUESTS)
        taken = 0
        for request in wanted:
            model = self._models[request.k % len(self._models)]
            place = self._places[model]
            fact, size, worst = self._intent(request, place)
            if len(pieces[model][-1]) == most_requests or size > room[model]:
                if self._history.batch_limit:
                    continue  # What waits at the provider counts as well: one at a time.
                pieces[model].append([])
                room[model] = MAX_BYTES
            if not self._ledger.budget.hold(worst):
                if not taken:
                    need = Need(request, model, 0, worst)
                    gate = Turnstile(Fleet(()), self._ledger.budget, lambda: None)
                    raise gate.budget_reached(need)
                self._notice(f"the budget bears {taken} of {len(wanted)} requests at their worst")
                break
            pieces[model][-1].append(fact)
            room[model] -= size
            taken += 1
        for model, batches in pieces.items():
            for intents in filter(None, batches):
                self._begin_batch(self._places[model], intents)

    def _wanted(self) -> Iterator[Ticket]:
        """Requests that are still to be answered; those tried often enough are settled here."""
        for lane in self._lanes.values():
            if lane.demand.met:
                continue
            self._look_ahead(lane)
            for k in range(lane.position, max(lane.demand.may_send(), lane.position + 1)):
                request = Ticket(k, lane.lang)
                lane.demand.sent = max(lane.demand.sent, k + 1)
                failures = self._history.failures.get(request, [])
                if request in self._history.settled:
                    continue
                if len(failures) >= MAX_ROUNDS:
                    reason = Malformed.kind if failures[-1] == Malformed.kind else "exhausted"
                    self._ledger.settle_without(
                        request, reason, f"failed in {len(failures)} batches"
                    )
                else:
                    yield request

    def _look_ahead(self, lane: Lane) -> None:
        """Replies behind a request that failed cannot be decided yet, but count as arrived."""
        for request in self._history.settled:
            ahead = request.lang == lane.lang and request.k >= lane.position
            if ahead and request not in self._looked:
                self._arrived(settle(self._ledger.journal.read(self._history.settled[request])))
                self._looked.add(request)
                lane.demand.sent = max(lane.demand.sent, request.k + 1)

    def _intent(self, request: Ticket, place: Place) -> tuple[Fact, int, Bill]:
        """(the intent but for its batch, bytes of its line, the most that it can come to)"""
        lane = self._lanes[request.lang]
        prompt = lane.prompt(request.k)
        most = lane.most(prompt)
        fact = {
            **request._asdict(),
            "attempt": 1 + len(self._history.failures.get(request, ())),
            "to": place.route.number,
            "prompt": prompt_digest(prompt),
            "most": list(most),
        }
        dialect = place.provider.dialect
        row = request_line(request, prompt, place.endpoint.model, dialect, self._sampling)
        return fact, len(row), Bill(place.route.account.worst(most), most.total)

    def _begin_batch(self, place: Place, intents: Sequence[Fact]) -> None:
        """Write a batch and its requests down, durably: from now on it may be at the provider."""
        number, dialect = self._history.begun, place.provider.dialect
        for kind in ("output", "error"):  # Of a run that was begun anew in this directory.
            result_path(self._ledger.directory, number, kind).unlink(missing_ok=True)
        self._ledger.append(
            type="batch",
            b=number,
            to=place.route.number,
            requests=len(intents),
            token=batch_token(self._history.header, number),
            dialect={
                "api": dialect.api,
                "max_tokens_name": dialect.max_tokens_name,
                "dropped": sorted(dialect.dropped),
            },
        )
        for intent in intents:
            self._ledger.append(type="intent", **intent, batch=number)
        self._ledger.journal.sync()

    def input_file(self, batch: OpenBatch, place: Place) -> bytes:
        """What is uploaded for a batch: the same bytes in whatever process."""
        dialect = dialect_of(batch)
        return b"".join(
            request_line(
                request,
                self._lanes[request.lang].prompt(request.k),
                place.endpoint.model,
                dialect,
                self._sampling,
            )
            for request in sorted(batch.tickets)
        )
