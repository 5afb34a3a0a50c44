"""How fast requests may start: token buckets, and a rate that is learned from refusals. Pure.

Enters: starts, answers and refusals, with their times in seconds. Leaves: seconds to wait.

The learned rate follows BBR's idea (Cardwell et al., ACM Queue 2016): what was really delivered is
the limit, refusals only tell when to look. It is held; after a while a few requests go out a little
faster, and if none is refused, ever faster ones. A server that refuses at random, whatever the
rate, is noticed by cuts that do not help; then refusals say nothing of a rate for a minute.
"""

from __future__ import annotations

import math
from collections import deque

_HOLD = 18.0
_PROBE = _WINDOW = 20
_STEPS = (1.05, 1.1, 1.2, 1.4)
_RECENT, _LEAST_STARTS, _LEAST_SPAN = 60, 10, 0.5
_CUTS_THAT_MUST_HELP = 4
_HELP = 0.6
_NOISE_SHARE = 0.02
_NOISE_SECONDS = 60.0


class Bucket:
    """A token bucket: `rate` a second, at most `burst` saved up. What is larger than the burst
    passes when the bucket is full, and leaves a debt."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._level = burst
        self._at = now

    def level(self, now: float) -> float:
        """What is in it, negative for a debt."""
        if now > self._at:
            self._level = min(self.burst, self._level + (now - self._at) * self.rate)
            self._at = now
        return self._level

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` may be taken."""
        missing = min(amount, self.burst) - self.level(now)
        # Rounding must not make anybody wait for nothing, again and again.
        return missing / self.rate if missing > 1e-6 else 0.0

    def take(self, now: float, amount: float) -> None:
        """Take, whether it is there or not."""
        self._level = self.level(now) - amount

    def give_back(self, now: float, amount: float) -> None:
        """A refund."""
        self._level = min(self.burst, self.level(now) + amount)

    def lower(self, now: float, level: float) -> None:
        """No more than this is there, somebody says who must know."""
        self._level = min(self.level(now), level)

    def change(self, now: float, rate: float, burst: float) -> None:
        """Another rate from now on."""
        self.level(now)
        self.rate, self.burst = rate, burst
        self._level = min(self._level, burst)


def request_bucket(per_minute: float, now: float) -> Bucket:
    """A bucket for requests."""
    rate = per_minute / 60
    return Bucket(rate, _burst(rate), now)


def _burst(rate: float) -> float:
    """A fiftieth of a second's worth at once: a server with a small burst is not tripped, and
    hundreds a second do not depend on the event loop's grain."""
    return max(1.0, rate / 50)


class Pacer:
    """Learns the request rate that an endpoint allows when it does not say.

    Refusals come at once, answers much later: what is delivered is counted as starts less refusals.
    """

    def __init__(self) -> None:
        self.rate: float | None = None
        self._bucket: Bucket | None = None
        self._starts: deque[float] = deque(maxlen=_RECENT)
        self._refusals: deque[float] = deque(maxlen=_RECENT)
        # Since the rate was set last: when that was, and what came of it.
        self._since = 0.0
        self._started = 0
        self._refused = 0
        self._step = -1
        self._cuts = 0
        self._first_share = 0.0
        self._deaf_until = -math.inf
        self._waited_at = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until a request may start."""
        if self._bucket is None or self.rate is None:
            return 0.0
        if self._step < 0 and now >= self._since + _HOLD:
            self._climb(now, 0)
        wait = self._bucket.wait(now, 1.0)
        if wait > 0:
            self._waited_at = now
        return wait

    def binds(self, now: float) -> bool:
        """Was it this rate, of late, that held requests back?"""
        return self.rate is not None and now - self._waited_at <= 3.0 / self.rate + 1.0

    def started(self, now: float) -> None:
        """A request goes out."""
        self._starts.append(now)
        self._started += 1
        if self._bucket is not None:
            self._bucket.take(now, 1.0)
        if self._step >= 0 and self._started > _PROBE:
            self._climb(now, self._step + 1)

    def refused(self, now: float) -> None:
        """A 429."""
        self._refusals.append(now)
        self._refused += 1
        if now < self._deaf_until:
            return
        if self.rate is None:
            if delivered := self._delivered(now):
                self._hold(now, delivered)
        elif self._step >= 0:
            # The step before was clean.
            self._cuts = 0
            self._hold(now, self.rate / _STEPS[min(self._step, len(_STEPS) - 1)])
        elif self._started >= _WINDOW:
            self._cut(now)

    def _cut(self, now: float) -> None:
        assert self.rate is not None
        share = self._refused / self._started
        if now - self._since > _HOLD:
            self._cuts = 0
        if self._cuts == 0:
            self._first_share = share
        self._cuts += 1
        helped = share < max(_NOISE_SHARE, _HELP * self._first_share)
        if self._cuts >= _CUTS_THAT_MUST_HELP and not helped:
            # These refusals have another reason than the rate.
            self.rate = self._bucket = None
            self._cuts = 0
            self._deaf_until = now + _NOISE_SECONDS
            return
        delivered = (self._started - self._refused) / max(now - self._since, 1e-3)
        self._hold(now, min(self.rate * 0.99, max(delivered, self.rate / 2)))

    def _climb(self, now: float, step: int) -> None:
        """One step faster: the last one was clean."""
        assert self.rate is not None
        self._step = step
        self._set(now, self.rate * _STEPS[min(step, len(_STEPS) - 1)])

    def _hold(self, now: float, rate: float) -> None:
        self._step = -1
        self._set(now, max(rate, 1 / 60))
        assert self._bucket is not None
        # The server's bucket is empty now: so is ours.
        self._bucket.lower(now, 0.0)

    def _set(self, now: float, rate: float) -> None:
        self.rate = rate
        self._since = now
        self._started = self._refused = 0
        if self._bucket is None:
            self._bucket = Bucket(rate, _burst(rate), now)
        else:
            self._bucket.change(now, rate, _burst(rate))

    def _delivered(self, now: float) -> float:
        """Accepted starts a second over the last ones, 0.0 when there are too few to tell."""
        if len(self._starts) < _LEAST_STARTS or now - self._starts[0] < _LEAST_SPAN:
            return 0.0
        since = self._starts[0]
        refused = sum(at >= since for at in self._refusals)
        return max(0, len(self._starts) - refused) / (now - since)
