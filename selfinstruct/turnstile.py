"""Permits: a request passes when an endpoint has room and the budget can bear its worst case.

Enters: requests that want to be sent. Leaves: passes, lower request indices first, since the order
waits for them. Knows the fleet and the budget; knows no prompt, no journal and no retry.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from selfinstruct.budget import NOTHING, Bill, Budget
from selfinstruct.errors import BudgetReached
from selfinstruct.fleet import Fleet, Member
from selfinstruct.prices import dollars
from selfinstruct.records import Ticket


@dataclass(frozen=True)
class Need:
    """What a request asks of a turnstile. tokens: as rate limiters count them. worst: its bill at
    the most."""

    request: Ticket
    model: str
    tokens: int
    worst: Bill


@dataclass(frozen=True)
class Pass:
    """A request on the wire: where, and what is reserved for it."""

    need: Need
    member: Member


@dataclass(order=True)
class _Waiter:
    request: Ticket
    need: Need = field(compare=False)
    turn: asyncio.Future[Pass] = field(compare=False)


class Turnstile:
    """`woken` is called whenever there may be room for new requests again."""

    def __init__(self, fleet: Fleet, budget: Budget, woken: Callable[[], None]) -> None:
        self._fleet = fleet
        self._budget = budget
        self._woken = woken
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, list[_Waiter]] = {}
        self._inside: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def room(self, model: str, resting: int) -> int:
        """New requests for `model` that may be tried now, `resting` ones keeping their places."""
        now = self._loop.time()
        free = self._fleet.free(model, now)
        if not free:
            # A pause ends by itself, not with a request.
            self.wake_in(self._fleet.wait(model, now, 0))
        return free - resting

    def broke(self, need: Need) -> bool:
        """The budget cannot bear this request, and no answer that is still to come can help."""
        return not self._budget.room_for(need.worst)

    def budget_reached(self, need: Need) -> BudgetReached:
        """The sentence that a run ends with when its budget cannot bear `need`."""
        budget, said = self._budget, []
        if budget.cost is not None:
            said.append(
                f"{dollars(budget.spent.cost)} of {dollars(budget.cost)} spent, and one more "
                f"request may cost {dollars(need.worst.cost)}"
            )
        if budget.tokens is not None:
            said.append(
                f"{budget.spent.tokens:,} of {budget.tokens:,} tokens spent, and one more request "
                f"may take {need.worst.tokens:,}"
            )
        return BudgetReached(
            f"the budget is reached: {'; '.join(said)}",
            hint="the same command with a higher --max-cost or --max-total-tokens goes on",
        )

    def inside(self, model: str) -> int:
        """Requests for `model` on the wire."""
        return self._inside[model]

    def try_enter(self, need: Need) -> Pass | None:
        """A pass at once, or None; then `woken` is called when it is worth trying again."""
        now = self._loop.time()
        member = self._fleet.choose(need.model, now, need.tokens)
        if member is None:
            self.wake_in(self._fleet.wait(need.model, now, need.tokens))
            return None
        if not self._budget.hold(need.worst):
            return None
        self._fleet.started(member, now, need.tokens)
        self._inside[need.model] += 1
        return Pass(need, member)

    async def enter(self, need: Need) -> Pass:
        """Wait for a pass."""
        waiter = _Waiter(need.request, need, self._loop.create_future())
        heapq.heappush(self._waiting.setdefault(need.model, []), waiter)
        self.grant()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.leave(waiter.turn.result(), used=0, bill=NOTHING)
            waiter.turn.cancel()
            raise

    def leave(self, entered: Pass, *, used: int | None, bill: Bill) -> None:
        """Give a pass back. used: tokens, None when unknown, 0 when the server counted nothing.
        bill: what the request came to."""
        now = self._loop.time()
        self._fleet.ended(entered.member, now, entered.need.tokens, used)
        self._budget.settle(entered.need.worst, bill)
        self._inside[entered.need.model] -= 1
        self.grant()

    def grant(self) -> None:
        """Let in whoever waits, as far as there is room."""
        for waiting in self._waiting.values():
            while waiting:
                if waiting[0].turn.done():
                    heapq.heappop(waiting)
                    continue
                entered = self.try_enter(waiting[0].need)
                if entered is not None:
                    heapq.heappop(waiting).turn.set_result(entered)
                elif self.broke(waiting[0].need):
                    waiter = heapq.heappop(waiting)
                    waiter.turn.set_exception(self.budget_reached(waiter.need))
                else:
                    break

    def wake_in(self, seconds: float) -> None:
        if math.isinf(seconds):
            return
        due = self._loop.time() + max(seconds, 0.001)
        if self._timer is None or due < self._timer.when() or self._timer.cancelled():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.grant()
        self._woken()

    def close(self) -> None:
        """No wake-up call any more."""
        if self._timer is not None:
            self._timer.cancel()
