"""How many requests may be in flight at one endpoint. Pure: the clock comes in as an argument.

Fixed (`--concurrency N`), or adaptive: doubling per round trip until the first refusal, then
additive increase and multiplicative decrease (Chiu & Jain 1989), growing only while the limit is
really used. A refusal also stops new requests until its Retry-After is over. Times are seconds.
"""

from __future__ import annotations

_START = 8
_CEILING = 256
_CUT = 0.8
_USED = 0.8
_LEAST_COOLDOWN = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class Throttle:
    """One endpoint's limit. `fixed` holds it still, though pauses are still kept."""

    def __init__(self, *, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._limit = float(fixed or _START)
        self._slow_start = True
        self._cut_allowed_at = 0.0
        self._paused_until = 0.0
        self._refusals = 0
        self.in_flight = 0

    @property
    def limit(self) -> int:
        return max(1, int(self._limit))

    def free(self, now: float) -> int:
        """Requests that may start now."""
        return 0 if now < self._paused_until else max(0, self.limit - self.in_flight)

    def wait(self, now: float) -> float:
        """Seconds until the pause is over."""
        return max(0.0, self._paused_until - now)

    def started(self) -> None:
        self.in_flight += 1

    def ended(self) -> None:
        self.in_flight -= 1

    def succeeded(self) -> None:
        """An answer arrived; call before `ended`."""
        self._refusals = 0
        if self._fixed or self.in_flight < _USED * self.limit:
            return
        step = 1.0 if self._slow_start else 1.0 / self._limit
        self._limit = min(_CEILING, self._limit + step)

    def refused(self, now: float, retry_after: float | None) -> None:
        """429 or overload: pause, and cut once per cooldown.

        Without a Retry-After the pause doubles with each round of refusals, from half a second.
        """
        cooldown = max(_LEAST_COOLDOWN, retry_after or 0.0)
        if retry_after is None and now >= self._paused_until:
            retry_after = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._refusals)
            self._refusals = min(self._refusals + 1, 10)
        self._paused_until = max(self._paused_until, now + (retry_after or 0.0))
        self._slow_start = False
        if self._fixed or now < self._cut_allowed_at:
            return
        self._limit = max(1.0, self._limit * _CUT)
        self._cut_allowed_at = now + cooldown

    def faltered(self) -> None:
        """Another failure: stop doubling."""
        self._slow_start = False
