"""Finding, holding and finding again a rate that nobody tells, in virtual time."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from selfinstruct.ratelimits import UNSAID, RateLimits
from selfinstruct.throttle import Throttle

SECONDS = 180
CHANGE = 60.0
Latency = Callable[[random.Random], float]
# A network is never more exact than this: so much of a token counts as one.
JITTER = 0.001


def half_a_second(_rng: random.Random) -> float:
    return 0.5


def two_seconds(_rng: random.Random) -> float:
    return 2.0


def long_tailed(rng: random.Random) -> float:
    return 0.5 * rng.uniform(0.5, 1.5) * (10 if rng.random() < 0.02 else 1)


@dataclass
class Limited:
    """A server with a token bucket. changes: (at, requests a minute). refuses: at random, or in a
    storm between two times."""

    per_minute: float
    burst: float
    changes: tuple[float, float] = (math.inf, 0.0)
    headers: bool = False
    says_when: bool = True
    refuses: float = 0.0
    storm: tuple[float, float] = (math.inf, math.inf)
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    level: float = math.inf
    at: float = 0.0

    def ask(self, now: float) -> tuple[bool, float | None, RateLimits]:
        """(accepted?, Retry-After, headers)"""
        if now >= self.changes[0]:
            self.per_minute = self.changes[1]
        rate = self.per_minute / 60
        self.level = min(self.burst, self.level + (now - self.at) * rate)
        self.at = now
        limits = RateLimits(self.per_minute, float(int(self.level))) if self.headers else UNSAID
        if self.storm[0] <= now < self.storm[1]:
            return False, 1.0 if self.says_when else None, limits
        if self.rng.random() < self.refuses:
            return False, 0.05 if self.says_when else None, limits
        if self.level >= 1 - JITTER:
            self.level -= 1
            return True, None, limits
        return False, (1 - self.level) / rate if self.says_when else None, limits


class Log:
    """When requests started, and whether they were accepted."""

    def __init__(self) -> None:
        self.starts: list[tuple[float, bool]] = []

    def accepted(self, since: float, until: float) -> float:
        """Accepted requests a second."""
        return sum(ok for at, ok in self.starts if since <= at < until) / (until - since)

    def refused_share(self, since: float, until: float) -> float:
        found = [ok for at, ok in self.starts if since <= at < until]
        return 1 - sum(found) / len(found)

    def found(self, since: float, rate: float) -> float:
        """Seconds from `since` until five seconds in a row reach 95 % of `rate`."""
        at = since
        while self.accepted(at, at + 5) < 0.95 * rate:
            at += 1
            assert at < SECONDS, "it was never found"
        return at - since


def simulate(
    server: Limited, latency: Latency, seconds: float = SECONDS, fixed: int | None = None
) -> Log:
    """A client with endless demand."""
    throttle, log, rng = Throttle(fixed=fixed), Log(), random.Random(0)
    ends: list[tuple[float, int, bool, float | None, RateLimits]] = []
    now = 0.0
    while now < seconds:
        while ends and ends[0][0] <= now:
            _at, _order, ok, retry_after, limits = heapq.heappop(ends)
            throttle.learned(now, limits)
            if ok:
                throttle.succeeded()
            else:
                throttle.refused(now, retry_after)
            throttle.ended(now, used=None if ok else 0)
        wait = throttle.wait(now)
        if wait <= 0:
            throttle.started(now)
            ok, retry_after, limits = server.ask(now)
            log.starts.append((now, ok))
            end = now + (latency(rng) if ok else 0.005)
            heapq.heappush(ends, (end, len(log.starts), ok, retry_after, limits))
        else:
            now = max(min(now + wait, ends[0][0] if ends else math.inf), now + 1e-4)
    return log


@pytest.mark.parametrize("change", [CHANGE, 66.0, 72.0, 78.0])
@pytest.mark.parametrize("latency", [half_a_second, two_seconds, long_tailed])
@pytest.mark.parametrize("burst", [1, 5, 10, 60])
@pytest.mark.parametrize("says_when", [True, False])
@pytest.mark.parametrize("headers", [True, False])
def test_600_a_minute_then_1200(
    change: float, latency: Latency, burst: int, says_when: bool, headers: bool
) -> None:
    server = Limited(600, burst, (change, 1200), headers=headers, says_when=says_when)
    log = simulate(server, latency)
    assert log.accepted(10, change) >= 0.95 * 10
    assert log.found(change, 20) <= 30
    assert log.accepted(change + 30, SECONDS) >= 0.95 * 20
    # A burst of 60 hides a rate that is too high until it is used up: a little more is refused.
    assert log.refused_share(60, SECONDS) < (0.01 if burst < 60 else 0.0115)
    if headers:
        assert log.refused_share(0, SECONDS) < 0.01


def test_a_lowered_limit_is_respected_soon() -> None:
    log = simulate(Limited(1200, 10, (CHANGE, 600)), half_a_second)
    assert log.accepted(10, CHANGE) >= 0.95 * 20
    assert log.refused_share(CHANGE + 30, SECONDS) < 0.01
    assert log.accepted(CHANGE + 30, SECONDS) >= 0.95 * 10


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("seconds", [0.05, 0.5])
@pytest.mark.parametrize("says_when", [True, False])
def test_random_refusals_do_not_drive_the_rate_into_the_ground(
    share: float, seconds: float, says_when: bool
) -> None:
    calm = simulate(Limited(math.inf, math.inf), lambda _rng: seconds, 40, fixed=64)
    server = Limited(math.inf, math.inf, refuses=share, says_when=says_when)
    noisy = simulate(server, lambda _rng: seconds, 40, fixed=64)
    assert noisy.accepted(0, 40) >= 0.5 * calm.accepted(0, 40)


@pytest.mark.parametrize("says_when", [True, False])
def test_after_a_storm_all_is_as_before(says_when: bool) -> None:
    server = Limited(math.inf, math.inf, storm=(30, 50), says_when=says_when)
    log = simulate(server, half_a_second, 100, fixed=64)
    assert log.accepted(31, 49) == 0
    # Few ask while the storm lasts.
    assert sum(31 <= at < 49 for at, _ok in log.starts) <= 18 * 64
    assert log.accepted(80, 100) >= 0.9 * log.accepted(10, 30)
