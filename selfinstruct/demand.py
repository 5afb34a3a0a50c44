"""How many requests may be out: the arithmetic of never paying for much more than is needed.

Enters: what was sent, what each reply holds, what was kept of it. Leaves: a number of requests.
Knows no clock and no network.

Two limits, the smaller holds:

- A bound that is always true. A reply that has arrived gives at most the tasks it holds, one that
  has not at most as many as were asked for. Walking through the requests in order, L of them are
  needed at the least, so sending 1.25·L + 2 never passes 1.25·needed + 2, at any concurrency and
  any yield. Counting arrived replies matters: one slow answer at the head of the order may hold up
  the judging of hundreds behind it, and must not hold up the sending.
- The measured yield: tasks per reply times the share of them that is kept, recent replies counting
  more because novelty gets scarcer as the pool grows. Both start from the optimistic end, so that
  they err on few requests; one standard deviation is added, or the last rows would be hunted one
  round trip after another.
"""

from __future__ import annotations

import math

_OVERSHOOT = 1.25
_SPARE = 2
# Half of the weight lies on about the last 70 replies.
_MEMORY = 0.99


class Demand:
    """`most` is the number of tasks that one request asks for; replies may teach more. `limit` is
    how many requests there can be, None for no end."""

    def __init__(self, wanted: int, most: int, limit: int | None = None) -> None:
        self.wanted = wanted
        self._limit = limit
        self.kept = 0
        self.decided = 0
        self.sent = 0
        self._most = most
        self._arrived: dict[int, int] = {}
        self._known = 0
        self._weight = 1.0
        self._tasks = float(most)
        self._squares = float(most) ** 2
        self._judged = 1.0
        self._kept = 1.0

    @property
    def met(self) -> bool:
        """Enough rows, or nothing more to ask for."""
        return self.kept >= self.wanted or self.decided == self._limit

    def reply_arrived(self, request: int, tasks: int) -> None:
        """The reply to `request` holds `tasks` tasks that may be kept."""
        self._known += tasks - self._arrived.get(request, 0)
        self._arrived[request] = tasks
        self._most = max(self._most, tasks)
        self._weight = self._weight * _MEMORY + 1
        self._tasks = self._tasks * _MEMORY + tasks
        self._squares = self._squares * _MEMORY + tasks**2

    def reply_decided(self, kept: int) -> None:
        """The next request in order is judged: `kept` of its tasks are rows now."""
        tasks = self._arrived.pop(self.decided)
        self._known -= tasks
        self.decided += 1
        self.sent = max(self.sent, self.decided)
        self.kept += kept
        self._judged = self._judged * _MEMORY + tasks
        self._kept = self._kept * _MEMORY + kept

    def may_send(self) -> int:
        """The total number of requests, decided ones included, that may have been sent by now."""
        missing = self.wanted - self.kept
        if missing <= 0:
            return 0
        bound = math.floor(_OVERSHOOT * self._surely_needed(missing)) + _SPARE
        total = min(bound, self._probably_needed(missing))
        return total if self._limit is None else min(total, self._limit)

    def _surely_needed(self, missing: int) -> int:
        # Most of the time all that is out is not enough, and there is no need to walk through it.
        out = max(self.sent - self.decided, len(self._arrived))
        may_come = (out - len(self._arrived)) * self._most + self._known
        if missing > may_come:
            return self.sent + math.ceil((missing - may_come) / self._most)
        for request in range(self.decided, self.sent):
            missing -= self._arrived.get(request, self._most)
            if missing <= 0:
                return request + 1
        return self.sent + math.ceil(missing / self._most)

    def _probably_needed(self, missing: int) -> int:
        share = max(self._kept / self._judged, 1e-3)
        mean = max(self._tasks / self._weight, 1e-3)
        deviation = math.sqrt(max(0.0, self._squares / self._weight - mean**2))
        more = max(0.0, missing / share - self._known) / mean
        more += deviation / mean * math.sqrt(more)
        return self.decided + len(self._arrived) + math.ceil(more)
