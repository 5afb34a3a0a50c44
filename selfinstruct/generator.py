"""The window over the requests: what is sent next, what is yielded next, and how it all stops.

Enters: lanes of prompts, routes to endpoints, a journal, the demand and the budget. Leaves: one
Reply for each request index, replayed when the journal has it, bought otherwise. Holds the window,
the drain and the signals; `sender.py` has one request's attempts, `turnstile.py` the permits,
`commits.py` the group commit. Knows nothing of what replies mean.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from selfinstruct.accounts import Most
from selfinstruct.budget import NOTHING, Bill, Budget
from selfinstruct.commits import Commits
from selfinstruct.demand import Demand
from selfinstruct.errors import Interrupted, SelfInstructError, UsageError
from selfinstruct.fleet import Fleet
from selfinstruct.history import History, settle
from selfinstruct.journal import Journal
from selfinstruct.records import Prompt, Reply, Ticket
from selfinstruct.sender import Job, Policy, Route, Sender
from selfinstruct.turnstile import Need, Pass, Turnstile


@dataclass
class Lane:
    """One language's requests: their prompts, how many are wanted, which are next.

    position: the first request that was not yielded yet. next: by model, the first that was never
    sent. most: the most tokens that a prompt can take.
    """

    lang: str
    prompt: Callable[[int], Prompt]
    most: Callable[[Prompt], Most]
    demand: Demand
    position: int = 0
    next: dict[str, int] = field(default_factory=dict)


class Generator:
    """Use as `async with`; leaving it waits for the replies that are already paid for."""

    def __init__(
        self,
        *,
        lanes: Sequence[Lane],
        models: Sequence[str],
        routes: Sequence[Route],
        fleet: Fleet,
        budget: Budget,
        journal: Journal,
        history: History,
        policy: Policy,
        arrived: Callable[[Reply], None],
        notice: Callable[[str], None],
    ) -> None:
        """`arrived` hears of every reply once, in any order, before it is yielded in its turn.
        models: request k is for the one at k modulo their number. routes: as fleet.members."""
        self._lanes = {lane.lang: lane for lane in lanes}
        self._models = tuple(models)
        self._routes = tuple(routes)
        self._fleet = fleet
        self._budget = budget
        self._journal = journal
        self._history = history
        self._policy = policy
        self._arrived = arrived
        self._notice = notice
        self._tasks: dict[Ticket, asyncio.Task[None]] = {}
        self._unstarted: dict[Ticket, Pass] = {}
        self._ready: dict[Ticket, Job] = {}
        self._pending: Counter[str] = Counter()
        self._done: dict[Ticket, Reply] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._abandoned = False
        self.error: SelfInstructError | None = None

    async def __aenter__(self) -> Generator:
        # A signal that came while we were starting up is raised here, before anything is bought.
        await asyncio.sleep(0)
        self._loop = asyncio.get_running_loop()
        self._turnstile = Turnstile(self._fleet, self._budget, self._changed.set)
        self._commits = await Commits(self._journal, self._fail).__aenter__()
        self._sender = Sender(
            routes=self._routes,
            fleet=self._fleet,
            turnstile=self._turnstile,
            commits=self._commits,
            policy=self._policy,
            stopping=lambda: self._stopping,
            notice=self._notice,
        )
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
            self._turnstile.close()
            await self._commits.__aexit__(kind, error, traceback)

    @property
    def in_flight(self) -> int:
        return len(self._sender.on_the_wire)

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
        """Start every request that the demands ask for and that has room to go."""
        if self._stopping:
            return
        self._turnstile.grant()
        for model in self._models:
            # A request that backs off keeps its place: a failing server must not be sent ever new
            # ones.
            resting = self._pending[model] - self._turnstile.inside(model)
            room = self._turnstile.room(model, resting)
            hungry = {lane.lang: lane.demand.may_send() for lane in self._lanes.values()}
            while room > 0 and hungry:
                for lang, may_send in list(hungry.items()):
                    job = self._next_job(self._lanes[lang], model, may_send)
                    if job is None:
                        del hungry[lang]
                    elif room > 0:
                        if not self._start(job):
                            room = 0
                            break
                        room -= 1

    def _next_job(self, lane: Lane, model: str, may_send: int) -> Job | None:
        """The lane's next request for `model` that is not settled yet, None when it needs none."""
        step, offset = len(self._models), self._models.index(model)
        k = lane.next.get(model, offset)
        while k < may_send and (k < lane.position or Ticket(k, lane.lang) in self._history.settled):
            k += step
        lane.next[model] = k
        lane.demand.sent = max(lane.demand.sent, k)
        if k >= may_send:
            return None
        request = Ticket(k, lane.lang)
        job = self._ready.get(request)
        if job is None:
            job = self._ready[request] = self._make_job(lane, request, model)
        return job

    def _make_job(self, lane: Lane, request: Ticket, model: str) -> Job:
        prompt = lane.prompt(request.k)
        most = lane.most(prompt)
        worst = max(
            route.account.worst(most)
            for member, route in zip(self._fleet.members, self._routes, strict=True)
            if member.model == model
        )
        # As OpenAI's limiter counts: a quarter of the characters and all that may be answered.
        tokens = len(prompt.text) // 4 + most.completion
        return Job(Need(request, model, tokens, Bill(worst, most.total)), prompt, most)

    def _start(self, job: Job) -> bool:
        """Begin to buy, if there is a pass at once."""
        if reason := self._fleet.never_fits(job.need.model, job.need.tokens):
            self._fail(UsageError(reason, hint="lower --tasks or --max-tokens, or raise the limit"))
            return False
        entered = self._turnstile.try_enter(job.need)
        if entered is None:
            # Those on the wire may still complete the run.
            if self._turnstile.broke(job.need) and not self._tasks:
                self._fail(self._turnstile.budget_reached(job.need))
            return False
        request = job.request
        del self._ready[request]
        lane = self._lanes[request.lang]
        lane.next[job.need.model] += len(self._models)
        lane.demand.sent = max(lane.demand.sent, request.k + 1)
        self._unstarted[request] = entered
        self._pending[job.need.model] += 1
        task = asyncio.create_task(self._buy(job))
        self._tasks[request] = task
        # A callback, since a task that is cancelled before its first step runs no `finally`.
        task.add_done_callback(lambda _task: self._ended(job))
        return True

    def _ended(self, job: Job) -> None:
        request = job.request
        del self._tasks[request]
        self._pending[job.need.model] -= 1
        if entered := self._unstarted.pop(request, None):
            self._turnstile.leave(entered, used=0, bill=NOTHING)
        self._changed.set()

    async def _buy(self, job: Job) -> None:
        """Settle one request: the task boundary, where every error becomes the run's state."""
        try:
            reply = await self._sender.settle(job, self._unstarted.pop(job.request))
            self._done[job.request] = reply
            self._arrived(reply)
        except asyncio.CancelledError:
            pass
        except SelfInstructError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a bug here must end the run, not one task
            self._fail(SelfInstructError(f"internal error: {type(error).__name__}: {error}"))

    # ── stopping ─────────────────────────────────────────────────────────────────────────────

    def _fail(self, error: SelfInstructError) -> None:
        if self.error is None:
            self.error = error
        self._stop()

    def _stop(self) -> None:
        """No new requests, no retries; tasks that are not on the wire end now."""
        self._stopping = True
        for request, task in self._tasks.items():
            if request not in self._sender.on_the_wire or self._abandoned:
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
