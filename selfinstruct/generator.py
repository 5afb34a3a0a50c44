"""The only async room: requests go out, replies come back in request order.

Enters: prompts by index, a provider, a journal, the demand and the throttle. Leaves: one Reply for
each request index, replayed when the journal has it, bought otherwise. Holds the window, the
permits, the deadline, the retries, the drain and the signals. Knows nothing of what replies mean.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from selfinstruct.demand import Demand
from selfinstruct.errors import (
    Adaptable,
    DiskError,
    GaveUp,
    Interrupted,
    Malformed,
    Outcome,
    ProviderRefused,
    RateLimited,
    RequestFailed,
    SelfInstructError,
    ServerFailed,
    TransportFailed,
)
from selfinstruct.history import History, settle
from selfinstruct.journal import Journal
from selfinstruct.providers.answers import read_body
from selfinstruct.providers.dialect import explain
from selfinstruct.providers.openai import as_failure
from selfinstruct.records import Api, Prompt, Reply, Ticket, prompt_digest
from selfinstruct.throttle import Throttle

MAX_ATTEMPTS = 8
MAX_MALFORMED = 3
_FIRST_PATIENCE = 10.0
_RATE_PATIENCE = 10
_LONG_WAIT = 10.0
_BACKOFF, _BACKOFF_CEILING = 0.5, 30.0
_COMMIT_REPLIES, _COMMIT_SECONDS = 16, 0.05
# Anthropic's and others' "overloaded", beside 503.
_OVERLOADED = (503, 529)


class Provider(Protocol):
    """What the generator needs of an endpoint."""

    base_url: str

    async def send(self, prompt: Prompt) -> tuple[Api, bytes]: ...

    def apply(self, change: str) -> bool: ...


@dataclass
class Policy:
    """timeout, patience: seconds. strict: fsync every reply before it is used."""

    timeout: float
    patience: float
    strict: bool


@dataclass
class Lane:
    """One language's requests: their prompts, how many are wanted, which are next.

    position: the first request that was not yielded yet. next: the first that was never sent.
    """

    lang: str
    prompt: Callable[[int], Prompt]
    demand: Demand
    position: int = 0
    next: int = 0


@dataclass
class _Try:
    """One request's attempts so far, by what they count against."""

    request: Ticket
    number: int = 0
    counted: int = 0
    malformed: int = 0
    began: float = 0.0


@dataclass(order=True)
class _Waiter:
    request: Ticket
    turn: asyncio.Future[None] = field(compare=False)


class Generator:
    """Use as `async with`; leaving it waits for the replies that are already paid for."""

    def __init__(
        self,
        *,
        lanes: Sequence[Lane],
        provider: Provider,
        journal: Journal,
        history: History,
        throttle: Throttle,
        policy: Policy,
        arrived: Callable[[Reply], None],
        notice: Callable[[str], None],
    ) -> None:
        """`arrived` hears of every reply once, in any order, before it is yielded in its turn."""
        self._lanes = {lane.lang: lane for lane in lanes}
        self._provider = provider
        self._journal = journal
        self._history = history
        self._throttle = throttle
        self._policy = policy
        self._arrived = arrived
        self._notice = notice
        self._tasks: dict[Ticket, asyncio.Task[None]] = {}
        self._on_the_wire: set[Ticket] = set()
        self._done: dict[Ticket, Reply] = {}
        self._waiting: list[_Waiter] = []
        self._changed = asyncio.Event()
        self._wake_at = 0.0
        self._uncommitted = 0
        self._commit_now = asyncio.Event()
        self._committing = asyncio.Lock()
        self._stopping = False
        self._abandoned = False
        self._failures_in_a_row = 0
        self._answered = False
        self._failing_since = 0.0
        self._unproven: list[str] = []
        self.error: SelfInstructError | None = None

    async def __aenter__(self) -> Generator:
        # A signal that came while we were starting up is raised here, before anything is bought.
        await asyncio.sleep(0)
        self._loop = asyncio.get_running_loop()
        self._last_success = self._loop.time()
        self._committer = asyncio.create_task(self._commit_forever())
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._on_signal, number)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.drain()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.remove_signal_handler(number)
            self._committer.cancel()
            await asyncio.gather(self._committer, return_exceptions=True)

    @property
    def in_flight(self) -> int:
        return len(self._on_the_wire)

    async def replies(self) -> AsyncIterator[Reply]:
        """Replies, each language's in request order, until every demand is met or the run is
        stopped (`error`)."""
        while open_lanes := [lane for lane in self._lanes.values() if not lane.demand.met]:
            moved = False
            for lane in open_lanes:
                ticket = Ticket(lane.position, lane.lang)
                if isinstance(self.error, Interrupted) and ticket in self._history.settled:
                    return
                reply = self._take(ticket)
                if reply is None:
                    continue
                moved = True
                yield reply
                lane.position += 1
                # Replay first: what the journal holds may already be enough.
                if Ticket(lane.position, lane.lang) not in self._history.settled:
                    self._launch()
                # Judging is plain computing: let the replies that wait on their sockets be read.
                await asyncio.sleep(0)
            if not moved:
                if self._stopping and not self._tasks:
                    return
                self._launch()
                await self._changed.wait()
                self._changed.clear()

    async def drain(self) -> None:
        """Send nothing more and wait for what is on the wire: it is paid for."""
        self._stop()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    def _take(self, request: Ticket) -> Reply | None:
        offset = self._history.settled.get(request)
        if offset is not None:
            reply = settle(self._journal.read(offset))
            self._arrived(reply)
            return reply
        return self._done.pop(request, None)

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    def _launch(self) -> None:
        """Start every request that the demands ask for and the throttle has room for."""
        if self._stopping:
            return
        self._grant()
        # A request that backs off keeps its place: a failing server must not be sent ever new ones.
        resting = len(self._tasks) - len(self._on_the_wire)
        free = self._throttle.free(self._loop.time()) - resting
        if free <= 0:
            return
        hungry = {lane.lang: lane.demand.may_send() for lane in self._lanes.values()}
        while free > 0 and hungry:
            for lang, may_send in list(hungry.items()):
                lane = self._lanes[lang]
                lane.next = max(lane.next, lane.position)
                if lane.next >= may_send:
                    del hungry[lang]
                elif free > 0:
                    ticket = Ticket(lane.next, lang)
                    if ticket not in self._history.settled:
                        self._start(ticket)
                        free -= 1
                    lane.next += 1
                    lane.demand.sent = lane.next

    def _start(self, request: Ticket) -> None:
        """Begin to buy, permit in hand, so that the next look at the throttle sees it."""
        self._throttle.started()
        self._on_the_wire.add(request)
        task = asyncio.create_task(self._buy(request))
        self._tasks[request] = task
        # A callback, since a task that is cancelled before its first step runs no `finally`.
        task.add_done_callback(lambda _task: self._ended(request))

    def _ended(self, request: Ticket) -> None:
        del self._tasks[request]
        if request in self._on_the_wire:
            self._leave(request)
        self._changed.set()

    async def _buy(self, request: Ticket) -> None:
        """Settle one request: the task boundary, where every error becomes the run's state."""
        try:
            self._done[request] = reply = await self._settle(request)
            self._arrived(reply)
        except asyncio.CancelledError:
            pass
        except SelfInstructError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a bug here must end the run, not one task
            self._fail(SelfInstructError(f"internal error: {type(error).__name__}: {error}"))

    async def _settle(self, request: Ticket) -> Reply:
        attempts = _Try(request, began=self._loop.time())
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: self._again(error, attempts)),
            wait=self._pause,
            reraise=True,
        )
        try:
            reply: Reply = await retrying(self._attempt, attempts)
        except Outcome as outcome:
            if outcome.reason == "bad_request" and not self._answered:
                raise ProviderRefused(str(outcome)) from None
            return self._settle_without(request, outcome.reason, str(outcome))
        except RequestFailed as error:
            if self._stopping:
                raise asyncio.CancelledError from None
            reason = "malformed" if isinstance(error, Malformed) else "exhausted"
            return self._settle_without(request, reason, str(error))
        return reply

    def _settle_without(self, request: Ticket, reason: str, message: str) -> Reply:
        fact = {"type": "outcome", **request._asdict(), "reason": reason, "message": message}
        self._append(fact)
        return settle(fact)

    async def _attempt(self, attempts: _Try) -> Reply:
        """Send once; journal the raw bytes before anything looks into them."""
        request = attempts.request
        await self._enter(request)
        attempts.number += 1
        where = {**request._asdict(), "attempt": attempts.number}
        prompt = self._lanes[request.lang].prompt(request.k)
        try:
            self._append({"type": "intent", **where, "prompt": prompt_digest(prompt)})
            self._history.bought.sent += 1
            try:
                async with asyncio.timeout(self._policy.timeout):
                    api, body = await self._provider.send(prompt)
            except TimeoutError:
                message = f"no complete answer in {self._policy.timeout:g} s"
                raise TransportFailed(message) from None
            self._append({"type": "reply", **where, "api": api, "body": body})
            reply = self._read(request, api, body)
            self._throttle.succeeded()
        except RequestFailed as error:
            self._count_failure(error, attempts, where)
            raise
        finally:
            self._leave(request)
        if self._policy.strict:
            await self._commit()
        return reply

    def _read(self, request: Ticket, api: Api, body: bytes) -> Reply:
        bought = self._history.bought
        try:
            reply = read_body(request, api, body)
        except Malformed:
            bought.paid += 1
            raise
        bought.count(reply)
        # Only an answer proves a change right: a wrong address refuses everything.
        while self._unproven:
            self._append({"type": "adapt", "change": self._unproven.pop(0)})
        self._answered = True
        self._last_success = self._loop.time()
        self._failures_in_a_row = 0
        return reply

    # ── permits ──────────────────────────────────────────────────────────────────────────────

    async def _enter(self, request: Ticket) -> None:
        """Wait for a permit; lower request indices go first, since the order waits for them."""
        if self._stopping:
            raise asyncio.CancelledError
        if request in self._on_the_wire:
            return
        waiter = _Waiter(request, self._loop.create_future())
        heapq.heappush(self._waiting, waiter)
        self._grant()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            waiter.turn.cancel()
            raise
        if self._stopping:
            raise asyncio.CancelledError

    def _leave(self, request: Ticket) -> None:
        self._throttle.ended()
        self._on_the_wire.discard(request)
        self._grant()
        self._changed.set()

    def _grant(self) -> None:
        now = self._loop.time()
        free = self._throttle.free(now)
        while self._waiting and free > 0:
            waiter = heapq.heappop(self._waiting)
            if waiter.turn.done():
                continue
            self._throttle.started()
            self._on_the_wire.add(waiter.request)
            waiter.turn.set_result(None)
            free -= 1
        pause = self._throttle.wait(now)
        if pause > 0 and now + pause > self._wake_at:
            self._wake_at = now + pause
            self._loop.call_at(self._wake_at, self._wake)

    def _wake(self) -> None:
        self._grant()
        self._changed.set()

    # ── failure ──────────────────────────────────────────────────────────────────────────────

    def _count_failure(self, error: RequestFailed, attempts: _Try, where: dict[str, Any]) -> None:
        self._append({"type": "failure", **where, **as_failure(error)})
        self._history.bought.failed += 1
        if isinstance(error, Outcome):
            return
        if isinstance(error, Adaptable):
            if self._provider.apply(error.change):
                self._unproven.append(error.change)
                self._notice(explain(error.change))
            return
        if isinstance(error, RateLimited) or error.status in _OVERLOADED:
            self._throttle.refused(self._loop.time(), error.retry_after)
            if (error.retry_after or 0) >= _LONG_WAIT:
                self._notice(f"HTTP {error.status}: waiting {error.retry_after:.0f} s as it asks")
        else:
            self._throttle.faltered()
        attempts.counted += not isinstance(error, RateLimited)
        attempts.malformed += isinstance(error, Malformed)
        self._failures_in_a_row += 1
        self._check_breaker(error)

    def _check_breaker(self, error: RequestFailed) -> None:
        """Give the endpoint up when nothing at all has succeeded for the patience allowed."""
        now = self._loop.time()
        patience = self._policy.patience
        if isinstance(error, TransportFailed) and not self._answered:
            patience = min(patience, _FIRST_PATIENCE)
        if isinstance(error, RateLimited):
            patience *= _RATE_PATIENCE
        if self._failures_in_a_row == 1:
            self._failing_since = now
        if error.retry_after:
            # Time that the server told us to wait is not silence.
            self._failing_since = max(self._failing_since, now + error.retry_after - patience)
        silent = now - self._failing_since
        if silent >= patience and self._failures_in_a_row > 1:
            raise GaveUp(
                f"{self._provider.base_url}: no answer for {silent:.0f} s, "
                f"{self._failures_in_a_row} attempts failed in a row; the last: {error}",
                hint="is the server up? the same command goes on from here",
            )

    def _again(self, error: BaseException, attempts: _Try) -> bool:
        """tenacity's one predicate: only our own errors, only while it can help."""
        if self._stopping or not isinstance(error, RequestFailed) or not error.retryable:
            return False
        if attempts.malformed >= MAX_MALFORMED:
            return False
        # While nothing at all succeeds it is the endpoint that fails, not this request: the breaker
        # ends that, and the request stays to be sent another day.
        alone = self._last_success > attempts.began
        return attempts.counted < MAX_ATTEMPTS or not alone

    def _pause(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: exponential with full jitter, at least Retry-After."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Adaptable):
            return 0.0
        attempts: _Try = state.args[0]
        ceiling = min(_BACKOFF_CEILING, _BACKOFF * 2 ** min(10, attempts.number - 1))
        # Jitter parts the herd; it never touches the data, so the global RNG serves.
        jitter = random.uniform(ceiling / 2, ceiling)
        if isinstance(error, RateLimited | ServerFailed):
            return max(jitter, error.retry_after or 0.0)
        return jitter

    def _fail(self, error: SelfInstructError) -> None:
        if self.error is None:
            self.error = error
        self._stop()

    def _stop(self) -> None:
        """No new requests, no retries; tasks that are not on the wire end now."""
        self._stopping = True
        for request, task in self._tasks.items():
            if request not in self._on_the_wire or self._abandoned:
                task.cancel()
        self._changed.set()

    def _on_signal(self, number: signal.Signals) -> None:
        met = all(lane.demand.met for lane in self._lanes.values())
        if self._stopping and (self.error is not None or met):
            self._abandoned = True
            self._notice("leaving now; replies still on their way are lost")
        else:
            waiting = self.in_flight
            name = signal.Signals(number).name
            if waiting:
                self._notice(f"{name}: waiting for {waiting} paid replies; once more leaves them")
            error = Interrupted(
                f"interrupted by {name}; the same command goes on from here", signal_number=number
            )
            if self.error is None:
                self.error = error
        self._stop()

    # ── durability ───────────────────────────────────────────────────────────────────────────

    def _append(self, fact: dict[str, object]) -> None:
        self._journal.append(fact)
        self._uncommitted += 1
        if self._uncommitted >= _COMMIT_REPLIES:
            self._commit_now.set()

    async def _commit(self) -> None:
        async with self._committing:
            if self._journal.unsynced:
                self._uncommitted = 0
                await asyncio.to_thread(self._journal.sync)

    async def _commit_forever(self) -> None:
        """Group commit: whichever comes first of so many facts or so many seconds."""
        try:
            while True:
                try:
                    async with asyncio.timeout(_COMMIT_SECONDS):
                        await self._commit_now.wait()
                except TimeoutError:
                    pass
                self._commit_now.clear()
                await self._commit()
        except DiskError as error:
            self._fail(error)
