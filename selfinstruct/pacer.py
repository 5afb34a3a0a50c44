"""How fast requests may start: token buckets, and a rate that is learned from refusals. Pure.

Enters: starts, answers and refusals, with their times in seconds. Leaves: seconds to wait.

The learned rate follows BBR's idea (Cardwell et al., ACM Queue 2016): what was really delivered is
the limit. A server's bucket is empty when it refuses: between two refusals of one chain it let
through exactly its rate. The rate is held; after a while requests go out a little faster, in steps
that double while none is refused. A server that refuses at random, whatever the
rate, is noticed by cuts that do not help; then refusals say nothing of a rate for a minute.
"""

from __future__ import annotations

import math
from collections import deque

# Seconds at a rate before more is tried.
_HOLD = 19.0
# A step is that much faster; a clean one doubles it, a refusal quarters it until it is too small.
_FIRST_STEP, _LARGEST_STEP, _SHORTEST_STEP = 0.05, 0.25, 0.03
# A step counts after so many seconds, if that share of its rate was really asked for.
_LEAST_STEP, _REACHED = 1.0, 0.9
_RECENT, _WINDOW = 512, 20
# Fewer starts after a refusal belong to the same event; after more, the server's bucket may have
# been full.
_SAME_EVENT, _CHAIN = 3, 20
# The first guess, requests a second; requests that make a measurement.
_LEAST_GUESS, _LEAST_ACCEPTED = 4, 10
# Factors: back from a refused step; the first cut, one without a measurement, the least one.
_BACK = 0.99
_FIRST_CUT, _BLIND_CUT, _LEAST_CUT = 0.97, 0.85, 0.98
# Cuts help when the refused share falls below this part of what it was, or this at all.
_CUTS_THAT_MUST_HELP = 3
_HELP = 0.4
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

    Refusals come at once, answers much later: what is accepted is counted as starts less refusals.
    """

    def __init__(self) -> None:
        self.rate: float | None = None
        self._bucket: Bucket | None = None
        self._starts: deque[float] = deque(maxlen=_RECENT)
        self._started = 0
        self._refused = 0
        # Refusals that counted: when, and what had been accepted until then.
        self._events: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self._started_at_event = -_SAME_EVENT
        # Since the rate was set last: when that was, and how many started.
        self._since = 0.0
        self._count = 0
        # Growth of the present step, 0.0 while the rate is held; the last rate that was clean.
        self._grow = 0.0
        self._clean = 0.0
        self._held_since = 0.0
        # For noise: what came of the requests since the last look, and looks that showed no help.
        self._look = (0, 0)
        self._cuts = 0
        self._first_share = 0.0
        self._deaf_until = -math.inf
        self._waited_at = -math.inf
        # Refusals in a row with nothing accepted between them.
        self.silent = 0

    def wait(self, now: float) -> float:
        """Seconds until a request may start."""
        if self._bucket is None or self.rate is None:
            return 0.0
        if not self._grow and now >= self._held_since + _HOLD:
            self._clean = self.rate
            self._climb(now, _FIRST_STEP)
        wait = self._bucket.wait(now, 1.0)
        if wait > 0:
            self._waited_at = now
        return wait

    def binds(self, now: float) -> bool:
        """Was it this rate, of late, that held requests back?"""
        return self.rate is not None and now - self._waited_at <= 3.0 / self.rate + 1.0

    def has_bound(self) -> bool:
        """Has a rate been found that held requests back at all?"""
        return self.rate is not None and self._waited_at > -math.inf

    def deaf(self, now: float) -> bool:
        """Are refusals noise at present? Not when nothing at all goes through."""
        return now < self._deaf_until and self.silent < 2

    def started(self, now: float) -> None:
        """A request goes out."""
        self._starts.append(now)
        self._started += 1
        self._count += 1
        if self._bucket is None or self.rate is None:
            return
        self._bucket.take(now, 1.0)
        # So many that one would be too many, were the rate before the step all there is.
        long_enough = self._count > 2 + 1.2 / self._grow if self._grow else False
        if not long_enough or now - self._since < _LEAST_STEP:
            return
        if self._count < _REACHED * self.rate * (now - self._since):
            # It was not the rate that held requests back: this step shows nothing.
            self._since, self._count = now, 0
            return
        self._clean = self.rate
        self._events.clear()
        self._climb(now, min(_LARGEST_STEP, 2 * self._grow))

    def refused(self, now: float) -> None:
        """A 429."""
        self._refused += 1
        if self._started - self._started_at_event < _SAME_EVENT:
            # Those on the way together are refused for one reason. Nor were they accepted.
            if self._events and self._started == self._started_at_event:
                at, accepted = self._events[-1]
                self._events[-1] = at, accepted - 1
            return
        accepted = self._started - self._refused
        self.silent = 0 if not self._events or accepted > self._events[-1][1] else self.silent + 1
        if self._events and accepted - self._events[-1][1] > _CHAIN:
            # The server's bucket may have been full in between: what went through is not its rate.
            self._events.clear()
        first = not self._events
        measured = self._between(now, accepted)
        self._events.append((now, accepted))
        self._started_at_event = self._started
        if self.deaf(now):
            return
        if self.rate is None:
            self._held_since = now
            self._clean = self._delivered(now)
            self._climb(now, _LARGEST_STEP)
            self._bucket_is_empty(now)
        elif self.silent:
            # Nothing at all goes through: that is no matter of rates. The pause deals with it.
            if self._grow:
                self._hold(now, self._clean)
        elif self._grow:
            self._step_back(now)
        elif not self._is_noise(now):
            most = (_FIRST_CUT if first else _LEAST_CUT) * self.rate
            self._hold(now, min(measured or (most if first else _BLIND_CUT * self.rate), most))

    def _step_back(self, now: float) -> None:
        """To the last clean rate; from a long step, again with shorter ones."""
        self._cuts = 0
        self._look = (self._started, self._refused)
        shorter = self._grow / 4
        if shorter < _SHORTEST_STEP:
            self._hold(now, _BACK * self._clean)
        else:
            self._climb(now, shorter)
            self._bucket_is_empty(now)

    def _is_noise(self, now: float) -> bool:
        """Did the last cuts not help? Then refusals have another reason than the rate."""
        started, refused = self._started - self._look[0], self._refused - self._look[1]
        if started < _WINDOW:
            return False
        share = refused / started
        self._look = (self._started, self._refused)
        if now - self._since > _HOLD or share < max(_NOISE_SHARE, _HELP * self._first_share):
            self._cuts = 0
        if self._cuts == 0:
            self._first_share = share
        self._cuts += 1
        if self._cuts <= _CUTS_THAT_MUST_HELP:
            return False
        self.rate = self._bucket = None
        self._cuts = 0
        self._deaf_until = now + _NOISE_SECONDS
        return True

    def _between(self, now: float, accepted: int) -> float:
        """The rate since the last refusal that is long enough ago to tell, 0.0 without one."""
        for at, until_then in reversed(self._events):
            if accepted - until_then >= _LEAST_ACCEPTED and now > at:
                return (accepted - until_then) / (now - at)
        return 0.0

    def _climb(self, now: float, step: float) -> None:
        """A step faster than what was clean."""
        self._grow = step
        self._set(now, self._clean * (1 + step))

    def _hold(self, now: float, rate: float) -> None:
        self._grow = 0.0
        self._held_since = now
        self._set(now, max(rate, 1 / 60))
        self._bucket_is_empty(now)

    def _bucket_is_empty(self, now: float) -> None:
        """The server's bucket is, when it refuses: so must ours be."""
        assert self._bucket is not None
        self._bucket.lower(now, 0.0)

    def _set(self, now: float, rate: float) -> None:
        self.rate = rate
        self._since = now
        self._count = 0
        if self._bucket is None:
            self._bucket = Bucket(rate, _burst(rate), now)
        else:
            self._bucket.change(now, rate, _burst(rate))

    def _delivered(self, now: float) -> float:
        """A first guess: what was accepted in the last second."""
        recent = sum(at > now - 1.0 for at in self._starts)
        return float(max(_LEAST_GUESS, min(recent, self._started - self._refused)))
