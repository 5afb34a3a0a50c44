"""One request from its prompt to its reply: attempts, deadline, retries, and what failures mean.

Enters: a request and its pass. Leaves: the Reply that settles it. Each attempt is in the journal
before it is sent, each answer before anything looks into it. Knows nothing of order or demand.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from selfinstruct.accounts import Account, Most
from selfinstruct.breaker import Breaker
from selfinstruct.budget import NOTHING, Bill
from selfinstruct.commits import Commits
from selfinstruct.errors import (
    Adaptable,
    EndpointLost,
    GaveUp,
    Malformed,
    Outcome,
    ProviderRefused,
    RateLimited,
    RequestFailed,
    ServerFailed,
    TransportFailed,
)
from selfinstruct.fleet import Fleet
from selfinstruct.history import settle
from selfinstruct.providers.answers import read_body
from selfinstruct.providers.dialect import explain
from selfinstruct.ratelimits import read_limits
from selfinstruct.records import Answer, Prompt, Reply, Ticket, prompt_digest
from selfinstruct.turnstile import Need, Pass, Turnstile

MAX_ATTEMPTS = 8
MAX_MALFORMED = 3
_LONG_WAIT = 10.0
_BACKOFF, _BACKOFF_CEILING = 0.5, 30.0
# Anthropic's and others' "overloaded", beside 503.
_OVERLOADED = (503, 529)


class Provider(Protocol):
    """What is needed of an endpoint."""

    base_url: str

    async def send(self, prompt: Prompt) -> Answer: ...

    def apply(self, change: str) -> bool: ...


@dataclass(frozen=True)
class Route:
    """An endpoint: how to ask it, and what it took so far. Its place in the list of routes is its
    member's in the fleet; number: its name in the journal."""

    provider: Provider
    account: Account
    number: int


@dataclass
class Policy:
    """timeout, patience: seconds. strict: fsync every reply before it is used."""

    timeout: float
    patience: float
    strict: bool


@dataclass
class Job:
    """A request to be sent: its prompt and the most that it can take."""

    need: Need
    prompt: Prompt
    most: Most

    @property
    def request(self) -> Ticket:
        return self.need.request


@dataclass
class _Try:
    """One request's attempts so far, by what they count against."""

    job: Job
    entered: Pass | None
    began: float
    number: int = 0
    counted: int = 0
    malformed: int = 0


@dataclass
class _Charge:
    """What an attempt came to. used: tokens as rate limiters count them, None when unknown."""

    bill: Bill = NOTHING
    used: int | None = 0


class Sender:
    """`stopping` is asked before anything is sent again."""

    def __init__(
        self,
        *,
        routes: Sequence[Route],
        fleet: Fleet,
        turnstile: Turnstile,
        commits: Commits,
        policy: Policy,
        stopping: Callable[[], bool],
        notice: Callable[[str], None],
    ) -> None:
        self._routes = {
            member.id: route for member, route in zip(fleet.members, routes, strict=True)
        }
        self._fleet = fleet
        self._turnstile = turnstile
        self._commits = commits
        self._policy = policy
        self._stopping = stopping
        self._notice = notice
        self._loop = asyncio.get_running_loop()
        self._unproven: dict[int, list[str]] = {}
        now = self._loop.time()
        self._breakers = {m.model: Breaker(policy.patience, now) for m in fleet.members}
        self.on_the_wire: set[Ticket] = set()

    async def settle(self, job: Job, entered: Pass) -> Reply:
        """The reply, or the outcome, that settles a request. Raises SelfInstructError for what ends
        the run, CancelledError when it is stopping and the request is not settled."""
        attempts = _Try(job, entered, began=self._loop.time())
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: self._again(error, attempts)),
            wait=self._pause,
            reraise=True,
        )
        try:
            reply: Reply = await retrying(self._attempt, attempts)
        except Outcome as outcome:
            return self._settle_without(job.request, outcome.reason, str(outcome))
        except RequestFailed as error:
            if self._stopping():
                raise asyncio.CancelledError from None
            reason = "malformed" if isinstance(error, Malformed) else "exhausted"
            return self._settle_without(job.request, reason, str(error))
        return reply

    def _settle_without(self, request: Ticket, reason: str, message: str) -> Reply:
        fact = {"type": "outcome", **request._asdict(), "reason": reason, "message": message}
        self._commits.append(fact)
        return settle(fact)

    async def _attempt(self, attempts: _Try) -> Reply:
        """Send once, with a pass in hand, and give the pass back."""
        entered = await self._enter(attempts)
        charge = _Charge()
        try:
            self.on_the_wire.add(attempts.job.request)
            reply = await self._send(attempts, entered, charge)
        finally:
            self.on_the_wire.discard(attempts.job.request)
            self._turnstile.leave(entered, used=charge.used, bill=charge.bill)
        if self._policy.strict:
            await self._commits.commit()
        return reply

    async def _enter(self, attempts: _Try) -> Pass:
        """The pass that the request came with, or the next one."""
        entered, attempts.entered = attempts.entered, None
        if entered is None and not self._stopping():
            entered = await self._turnstile.enter(attempts.job.need)
        if self._stopping():
            if entered is not None:
                self._turnstile.leave(entered, used=0, bill=NOTHING)
            raise asyncio.CancelledError
        assert entered is not None
        return entered

    async def _send(self, attempts: _Try, entered: Pass, charge: _Charge) -> Reply:
        job, route = attempts.job, self._routes[entered.member.id]
        attempts.number += 1
        where = {**job.request._asdict(), "attempt": attempts.number, "to": route.number}
        digest = prompt_digest(job.prompt)
        self._commits.append({"type": "intent", **where, "prompt": digest, "most": list(job.most)})
        route.account.sent += 1
        try:
            reply = await self._ask(route, job, where, entered)
        except ProviderRefused as error:
            self._lose(error, where, entered)
            raise
        except RequestFailed as error:
            if isinstance(error, Outcome) and self._suits_nothing(error, entered):
                refused = ProviderRefused(str(error))
                self._lose(refused, where, entered)
                raise refused from None
            if isinstance(error, Malformed):
                route.account.paid += 1
            if error.billed:
                charge.bill, charge.used = route.account.doubt(job.most), None
            self._count_failure(error, attempts, where, entered)
            raise
        except BaseException:
            # Left by a second Ctrl-C, or a full disk: it may well have been billed.
            charge.bill, charge.used = route.account.doubt(job.most), None
            raise
        charge.bill = route.account.count(reply, job.most)
        charge.used = charge.bill.tokens
        return reply

    async def _ask(
        self, route: Route, job: Job, where: Mapping[str, object], entered: Pass
    ) -> Reply:
        """The answer; its raw bytes are in the journal before anything looks into them."""
        try:
            async with asyncio.timeout(self._policy.timeout):
                answer = await route.provider.send(job.prompt)
        except TimeoutError:
            message = f"no complete answer in {self._policy.timeout:g} s"
            raise TransportFailed(message) from None
        self._commits.append({"type": "reply", **where, "api": answer.api, "body": answer.body})
        now = self._loop.time()
        self._fleet.learned(entered.member, now, read_limits(answer.headers))
        reply = read_body(job.request, answer.api, answer.body)
        # Only an answer proves a change right: a wrong address refuses everything.
        for change in self._unproven.pop(route.number, ()):
            self._commits.append({"type": "adapt", "to": route.number, "change": change})
        self._breakers[job.need.model].succeeded(now)
        if self._fleet.succeeded(entered.member):
            self._notice(f"{route.provider.base_url} answers again")
        return reply

    # ── failure ──────────────────────────────────────────────────────────────────────────────

    def _count_failure(
        self, error: RequestFailed, attempts: _Try, where: dict[str, Any], entered: Pass
    ) -> None:
        route, member, now = self._routes[entered.member.id], entered.member, self._loop.time()
        billed = {"billed": True} if error.billed and not isinstance(error, Malformed) else {}
        self._commits.append({"type": "failure", **where, **error.stored(), **billed})
        route.account.failed += 1
        said = str(error) if isinstance(error, RateLimited) else ""
        self._fleet.learned(member, now, read_limits(error.headers, said))
        if isinstance(error, Outcome):
            return
        if isinstance(error, Adaptable):
            if route.provider.apply(error.change):
                self._unproven.setdefault(route.number, []).append(error.change)
                self._notice(explain(error.change))
            return
        if isinstance(error, RateLimited) or error.status in _OVERLOADED:
            self._fleet.refused(member, now, error.retry_after)
            if (error.retry_after or 0) >= _LONG_WAIT:
                self._notice(f"HTTP {error.status}: waiting {error.retry_after:.0f} s as it asks")
        elif seconds := self._fleet.failed(member, now):
            if member.ejections == 1:
                self._notice(f"{route.provider.base_url} fails: left alone for now; {error}")
            self._turnstile.wake_in(seconds)
        attempts.counted += not isinstance(error, RateLimited)
        attempts.malformed += isinstance(error, Malformed)
        if why := self._breakers[member.model].failed(now, error):
            raise GaveUp(
                f"{route.provider.base_url}: {why}",
                hint="is the server up? the same command goes on from here",
            )

    def _suits_nothing(self, error: Outcome, entered: Pass) -> bool:
        """A bad request, says an endpoint that never answered one: then it is not the request."""
        return error.reason == "bad_request" and not entered.member.answered

    def _lose(self, error: ProviderRefused, where: dict[str, Any], entered: Pass) -> None:
        """An endpoint refuses for good: go on without it, if another one serves its model."""
        self._commits.append(
            {"type": "failure", **where, "class": "refused", "status": None, "message": str(error)}
        )
        route = self._routes[entered.member.id]
        route.account.failed += 1
        if len(self._fleet.of(entered.member.model)) > 1 or entered.member.gone:
            if not entered.member.gone:
                self._notice(f"going on without {route.provider.base_url}: {error}")
            entered.member.gone = str(error)
            if self._fleet.of(entered.member.model):
                raise EndpointLost(str(error)) from None

    def _again(self, error: BaseException, attempts: _Try) -> bool:
        """tenacity's one predicate: only our own errors, only while it can help."""
        if self._stopping() or not isinstance(error, RequestFailed) or not error.retryable:
            return False
        if attempts.malformed >= MAX_MALFORMED:
            return False
        # While nothing at all succeeds it is the endpoint that fails, not this request: the breaker
        # ends that, and the request stays to be sent another day.
        breaker = self._breakers[attempts.job.need.model]
        return attempts.counted < MAX_ATTEMPTS or breaker.last_success <= attempts.began

    def _pause(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: exponential with full jitter, at least Retry-After."""
        error = state.outcome.exception() if state.outcome else None
        attempts: _Try = state.args[0]
        elsewhere = len(self._fleet.of(attempts.job.need.model)) > 1
        if isinstance(error, Adaptable | EndpointLost):
            return 0.0
        # The throttle sees to it that the endpoint rests: no second back-off on top of its pauses.
        if isinstance(error, RateLimited):
            wait = 0.0 if elsewhere else error.retry_after or 0.0
            return wait + random.uniform(0, _BACKOFF)
        ceiling = min(_BACKOFF_CEILING, _BACKOFF * 2 ** min(10, attempts.number - 1))
        # Jitter parts the herd; it never touches the data, so the global RNG serves.
        jitter = random.uniform(ceiling / 2, ceiling)
        if isinstance(error, ServerFailed) and not elsewhere:
            # The throttle keeps the endpoint's pause; another endpoint need not wait for it.
            return max(jitter, error.retry_after or 0.0)
        return jitter
