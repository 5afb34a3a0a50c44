"""Requests bought through a provider's batches: half the price, some hours, the same replies.

Enters: lanes of prompts, endpoints, a journal and its history, the budget. Leaves: one Reply for
each request index, as the generator's `replies()` gives them, and what it has in flight may stay
there: the next process fetches it. docs/design/batch.md has the order of the facts that makes a
crash anywhere lose nothing and buy nothing twice. Knows nothing of what replies mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from types import TracebackType

from selfinstruct.batches.ledger import (
    FOLDER,
    Ledger,
    Place,
    dialect_of,
    result_path,
)
from selfinstruct.batches.planning import Planning
from selfinstruct.batches.reading import Findings, Reading
from selfinstruct.batches.waiting import LONGEST_POLL, POLL, Waiting
from selfinstruct.budget import Budget
from selfinstruct.config import Config, public_url
from selfinstruct.errors import GaveUp, ProviderRefused, SelfInstructError, UsageError
from selfinstruct.exports import disk_error, write_whole
from selfinstruct.generator import Lane
from selfinstruct.history import TOKEN_LIMIT, History, OpenBatch
from selfinstruct.journal import Journal, sync_directory
from selfinstruct.providers.batch_api import BatchApi, Seen, endpoint_path
from selfinstruct.providers.openai import OpenAIProvider
from selfinstruct.providers.refusals import redact
from selfinstruct.records import Reply
from selfinstruct.routes import Endpoint, sampling
from selfinstruct.sender import Route


class Batches:
    """Use as `async with`. submit: False only fetches what is open. poll, longest: seconds between
    two looks, growing from one to the other."""

    def __init__(
        self,
        *,
        config: Config,
        lanes: Sequence[Lane],
        endpoints: Sequence[Endpoint],
        providers: Sequence[OpenAIProvider],
        routes: Sequence[Route],
        budget: Budget,
        journal: Journal,
        history: History,
        arrived: Callable[[Reply], None],
        notice: Callable[[str], None],
        submit: bool = True,
        poll: float = POLL,
        longest: float = LONGEST_POLL,
    ) -> None:
        self._config = config
        self._lanes = {lane.lang: lane for lane in lanes}
        self._stack = ExitStack()
        self._places = [
            Place(BatchApi(base_url=e.base_url, api_key=e.api_key), provider, e, route)
            for e, provider, route in zip(endpoints, providers, routes, strict=True)
        ]
        self._first: dict[str, Place] = {}
        for place in self._places:
            self._first.setdefault(place.endpoint.model, place)
        self._ledger = Ledger(journal, history, budget)
        self._history = history
        self._directory = journal.path.parent
        self._planning = Planning(
            lanes=self._lanes,
            models=config.models,
            places=self._first,
            sampling=sampling(config),
            ledger=self._ledger,
            arrived=arrived,
            notice=notice,
        )
        self._reading = Reading(self._ledger, notice, adapt_api=config.api == "auto")
        self._notice = notice
        self._submits = submit
        self._poll, self._longest = poll, longest
        # Batches of earlier processes: whether one was created is not known, nor who cancelled it.
        self._inherited = set(history.batches)
        self._maybe_created = set(history.batches)
        self.error: SelfInstructError | None = None

    async def __aenter__(self) -> Batches:
        # A signal that came while we were starting up is raised here, before anything is bought.
        await asyncio.sleep(0)
        self._waiting = Waiting(self._config.patience, self._interrupted)
        for place in self._places:
            self._stack.enter_context(place.api)
        if len(self._places) > len(self._first):
            names = ", ".join(place.api.base_url for place in self._first.values())
            self._notice(f"batches go to the first endpoint of each model only: {names}")
        self._waiting.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._waiting.__exit__()
        if not self._waiting.interrupted:  # Else a thread of ours may still be in a call.
            self._stack.close()

    @property
    def in_flight(self) -> int:
        """Requests that are at a provider."""
        return sum(len(batch.held) for batch in self._history.batches.values() if batch.id)

    async def replies(self) -> AsyncIterator[Reply]:
        """Replies, each language's in request order, until every demand is met, the run is stopped
        (`error`), or, without `submit`, no batch is open any more."""
        try:
            while True:
                for lane in self._lanes.values():
                    while (reply := self._planning.next(lane)) is not None:
                        yield reply
                        lane.position += 1
                        await asyncio.sleep(0)
                        self._waiting.check_signal()
                if self._history.batches:
                    await self._collect()
                elif not self._submits or self._met:
                    return
                else:
                    self._planning.begin_round()
        except SelfInstructError as error:
            self.error = error

    @property
    def _met(self) -> bool:
        return all(lane.demand.met for lane in self._lanes.values())

    # ── at the provider ──────────────────────────────────────────────────────────────────────

    async def _collect(self) -> None:
        """Submit what is not submitted, wait, and write down what every open batch brings."""
        wait = self._poll
        while True:
            for batch in list(self._history.batches.values()):
                self._waiting.check_signal()
                await self._advance(batch)
            if not self._history.batches:
                return
            await self._waiting.rest(wait)
            wait = min(self._longest, wait * 1.5)

    async def _advance(self, batch: OpenBatch) -> None:
        place = self._place_of(batch)
        if len(batch.tickets) < batch.requests:
            # Its process ended while it wrote the requests down: nothing was sent.
            return self._reading.end(batch, "never submitted")
        if not batch.id and not await self._submit(batch, place):
            return self._reading.end(batch, "never submitted")
        seen = await self._waiting.call(place.api.look, batch.id)
        if batch.number in self._inherited and seen.status not in ("cancelling", "cancelled"):
            self._inherited.discard(batch.number)  # Who cancels it from now on wants us to stop.
        self._see(batch, seen)
        if not seen.ended:
            return None
        found = Findings()
        if seen.status != "failed":
            await self._download(batch, place, seen)
            found = await self._reading.read(batch, place)
            for kept in ("unreadable", "unknown"):
                if count := getattr(found, kept):
                    self._notice(f"{batch.id}: {count} {kept} lines in its files were left aside")
        elif seen.errors:
            found = self._reading.refused_whole(place, dialect_of(batch), seen)
        code = next((str(e.get("code")) for e in seen.errors), "")
        billed = found.unreadable > 0 or (seen.status != "failed" and seen.completed > found.lines)
        self._reading.end(batch, seen.status, code=code, billed=billed)
        return await self._go_on(batch, seen, found)

    async def _submit(self, batch: OpenBatch, place: Place) -> bool:
        """Upload and create, or adopt what an earlier process created; False when it is no longer
        wanted and was never created."""
        if batch.number in self._maybe_created:
            found = await self._waiting.call(place.api.find, batch.token, batch.input_file)
            if found is None and (self._met or not self._submits):
                return False
            if found is not None:
                self._notice(f"{found.id}: found at the provider; it is not bought again")
                self._submitted(batch, found)
                return True
        if not batch.input_file:
            content = self._planning.input_file(batch, place)
            name = f"selfinstruct-{batch.token}.jsonl"
            file = await self._waiting.call(place.api.upload, name, content)
            self._ledger.append(type="batch_uploaded", b=batch.number, input_file_id=file)
            self._ledger.journal.sync()  # The second mark, for servers that keep no metadata.
        self._submitted(batch, await self._waiting.retrying(self._create, batch, place))
        self._notice(
            f"{batch.id} submitted: {batch.requests} requests, answered within 24 hours; "
            "Ctrl-C leaves it there"
        )
        return True

    async def _create(self, batch: OpenBatch, place: Place) -> Seen:
        """One attempt; after a failed one the provider is asked first whether it succeeded."""
        api, path = place.api, endpoint_path(dialect_of(batch).api)
        if batch.number in self._maybe_created:
            found = await self._waiting.thread(api.find, batch.token, batch.input_file)
            if found is not None:
                return found
        self._waiting.check_signal()
        self._maybe_created.add(batch.number)
        return await self._waiting.thread(
            api.create, batch.input_file, path, batch.token, finish=True
        )

    def _submitted(self, batch: OpenBatch, seen: Seen) -> None:
        file = batch.input_file or seen.input_file
        self._ledger.append(
            type="batch_submitted", b=batch.number, input_file_id=file, batch_id=seen.id
        )
        self._ledger.journal.sync()

    def _see(self, batch: OpenBatch, seen: Seen) -> None:
        counts = {"completed": seen.completed, "failed": seen.failed, "total": seen.total}
        if (batch.status, batch.counts) == (seen.status, counts):
            return
        if batch.status != seen.status:
            self._notice(
                f"{batch.id}: {seen.status}, {seen.completed + seen.failed} of "
                f"{batch.requests} requests done"
            )
        self._ledger.append(type="batch_seen", b=batch.number, status=seen.status, counts=counts)

    def _place_of(self, batch: OpenBatch) -> Place:
        account = self._history.account(batch.endpoint)
        for place in self._places:
            url = public_url(place.endpoint.base_url)
            if (url, place.endpoint.model) == (account.url, account.model):
                return place
        raise UsageError(
            f"batch {batch.id or batch.number} is open at {account.url} for {account.model}",
            hint="give that --base-url and --model until it is fetched",
        )

    # ── what it brings ───────────────────────────────────────────────────────────────────────

    async def _download(self, batch: OpenBatch, place: Place, seen: Seen) -> None:
        """Keep the result files whole, before any line of them is read."""
        folder = self._directory / FOLDER
        for kind, file in (("output", seen.output_file), ("error", seen.error_file)):
            path = result_path(self._directory, batch.number, kind)
            if file and not path.exists():
                content = await self._waiting.call(place.api.content, file)
                try:
                    folder.mkdir(exist_ok=True)
                    sync_directory(self._directory)
                except OSError as error:
                    raise disk_error(folder, error) from error
                write_whole(path, content)

    async def _go_on(self, batch: OpenBatch, seen: Seen, found: Findings) -> None:
        """Whether the run goes on after a batch. Raises SelfInstructError when it does not."""
        if found.refused is not None:
            raise found.refused
        if seen.status == "failed" and not found.adapted:
            if self._halved(batch, seen):
                await self._waiting.rest(self._poll)
                return
            key = self._place_of(batch).endpoint.api_key
            said = "; ".join(str(error.get("message") or "") for error in seen.errors[:3])
            raise ProviderRefused(f"{batch.id} failed: {redact(said, key) or 'no reason given'}")
        done = f"{batch.replies} of {batch.requests} requests were answered"
        if seen.status == "cancelled" and batch.number not in self._inherited:
            raise GaveUp(
                f"{batch.id} was cancelled; {done}", hint="the same command asks for the rest"
            )
        paid = self._history.totals.paid
        silent = not batch.replies and not found.adapted
        nothing_said = seen.status == "expired" or not found.last
        if silent and seen.status != "cancelled" and (nothing_said or not paid):
            raise GaveUp(
                f"{batch.id} {seen.status}: {done}; {found.last or 'no error is given'}",
                hint="the same command tries again",
            )
        if seen.status != "completed":
            self._notice(f"{batch.id} {seen.status}: {done}; the rest is asked for again")

    def _halved(self, batch: OpenBatch, seen: Seen) -> bool:
        """Was it the limit on waiting tokens, and is there a smaller batch to try?"""
        if not any(error.get("code") == TOKEN_LIMIT for error in seen.errors):
            return False
        if batch.requests == 1:
            return False
        self._notice(
            f"{batch.id}: more tokens than may wait at the provider; trying "
            f"{self._history.batch_limit} requests at a time"
        )
        return True

    def _interrupted(self, name: str) -> str:
        """The sentence that an interruption ends with: what goes on without us, and what to do."""
        there = [batch.id for batch in self._history.batches.values() if batch.id]
        if not there:
            return f"interrupted by {name}; the same command goes on from here"
        return (
            f"interrupted by {name}; {', '.join(there)} goes on at the provider: the same command "
            f"or `selfinstruct resume {self._directory}` fetches it, "
            f"`selfinstruct cancel {self._directory}` cancels it"
        )
