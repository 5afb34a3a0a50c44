"""The throttle, in virtual time: every test states the clock itself."""

from __future__ import annotations

import heapq
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.ratelimits import RateLimits
from selfinstruct.throttle import Throttle
from tests.test_pacer import Limited, half_a_second, simulate


def fill(throttle: Throttle, now: float = 0.0) -> int:
    """Start all that is allowed."""
    started = throttle.free(now)
    for _ in range(started):
        throttle.started(now)
    return started


def round_trip(throttle: Throttle, now: float = 0.0) -> None:
    """All permits used, all answers good."""
    fill(throttle, now)
    for _ in range(throttle.in_flight):
        throttle.succeeded()
        throttle.ended(now)
        fill(throttle, now)
    while throttle.in_flight:
        throttle.ended(now)


def test_a_fixed_limit_stays() -> None:
    throttle = Throttle(fixed=3)
    assert fill(throttle) == 3
    assert throttle.free(0.0) == 0
    for _ in range(50):
        throttle.succeeded()
    throttle.refused(0.0, None)
    throttle.faltered()
    assert throttle.limit == 3
    throttle.ended(0.0)
    assert throttle.free(throttle.wait(0.0)) == 1


def test_refusals_without_a_word_on_waiting_pause_ever_longer() -> None:
    throttle = Throttle(fixed=3)
    now, waits = 0.0, []
    for _ in range(8):
        throttle.refused(now, None)
        throttle.refused(now, None)  # The others in flight say the same: one round.
        waits.append(throttle.wait(now))
        now += waits[-1]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    throttle.succeeded()
    throttle.refused(now, None)
    assert throttle.wait(now) == 0.5


def test_a_fixed_limit_keeps_pauses() -> None:
    throttle = Throttle(fixed=3)
    throttle.refused(10.0, 5.0)
    assert throttle.free(14.9) == 0
    assert throttle.wait(12.0) == 3.0
    assert throttle.free(15.0) == 3
    assert throttle.wait(15.0) == 0.0


def test_slow_start_doubles_in_a_round_trip() -> None:
    throttle = Throttle()
    first = throttle.limit
    round_trip(throttle)
    assert throttle.limit == 2 * first


def test_growth_is_additive_after_the_first_refusal() -> None:
    throttle = Throttle()
    round_trip(throttle)
    throttle.refused(0.0, None)
    before = throttle.limit
    fill(throttle, 5.0)
    for _ in range(before + 1):
        throttle.succeeded()
    assert throttle.limit == before + 1


@pytest.mark.parametrize("stop", ["refused", "faltered"])
def test_a_failure_ends_slow_start(stop: str) -> None:
    throttle = Throttle()
    if stop == "refused":
        throttle.refused(0.0, None)
    else:
        throttle.faltered()
    before = throttle.limit
    fill(throttle, 1.0)
    for _ in range(before):
        throttle.succeeded()
    assert throttle.limit <= before + 1


def test_a_falter_does_not_cut() -> None:
    throttle = Throttle()
    before = throttle.limit
    throttle.faltered()
    assert throttle.limit == before
    assert throttle.wait(0.0) == 0.0


def test_no_growth_while_the_limit_is_not_used() -> None:
    throttle = Throttle()
    throttle.started(0.0)
    for _ in range(100):
        throttle.succeeded()
    assert throttle.limit == Throttle().limit


def test_growth_has_a_ceiling() -> None:
    throttle = Throttle()
    for _ in range(12):
        round_trip(throttle)
    assert throttle.limit == 256


def test_one_cut_in_a_cooldown() -> None:
    throttle = Throttle()
    for _ in range(3):
        round_trip(throttle)
    before = throttle.limit
    for _ in range(20):
        throttle.refused(100.0, None)
    assert throttle.limit == int(before * 0.8)
    throttle.refused(100.9, None)
    assert throttle.limit == int(before * 0.8)
    throttle.refused(101.0, None)
    assert throttle.limit == int(before * 0.8 * 0.8)


def test_the_cooldown_is_at_least_the_retry_after() -> None:
    throttle = Throttle()
    round_trip(throttle)
    throttle.refused(0.0, 30.0)
    cut = throttle.limit
    throttle.refused(29.0, None)
    assert throttle.limit == cut
    throttle.refused(30.0, None)
    assert throttle.limit < cut


def test_a_shorter_retry_after_does_not_shorten_a_pause() -> None:
    throttle = Throttle()
    throttle.refused(0.0, 30.0)
    throttle.refused(1.0, 2.0)
    throttle.refused(2.0, None)
    assert throttle.wait(2.0) == 28.0


def test_the_limit_never_falls_below_one() -> None:
    throttle = Throttle()
    for second in range(100):
        throttle.refused(float(second), None)
    assert throttle.limit == 1
    assert throttle.free(200.0) == 1


def test_more_in_flight_than_allowed_is_no_negative_room() -> None:
    throttle = Throttle()
    fill(throttle)
    throttle.refused(0.0, None)
    assert throttle.in_flight > throttle.limit
    assert throttle.free(5.0) == 0


def serve(capacity: int, requests: int) -> tuple[list[int], int]:
    """A server that answers in 1 s and refuses beyond `capacity`: (limits seen, refusals)."""
    throttle = Throttle()
    now, refusals = 0.0, 0
    limits: list[int] = []
    ends: list[float] = []
    while len(limits) < requests:
        # A thousandth between two arrivals, so that ends are spread as in life.
        now += 1e-3
        if throttle.wait(now) <= 0:
            throttle.started(now)
            if throttle.in_flight > capacity:
                throttle.refused(now, 0.5)
                throttle.ended(now)
                refusals += 1
            else:
                heapq.heappush(ends, now + 1.0)
        else:
            now = max(now, min(now + throttle.wait(now), ends[0] if ends else math.inf))
        while ends and ends[0] <= now:
            heapq.heappop(ends)
            throttle.succeeded()
            throttle.ended(now)
            limits.append(throttle.limit)
    return limits, refusals


@pytest.mark.parametrize("capacity", [5, 20, 100])
def test_it_finds_what_a_server_can_take(capacity: int) -> None:
    """What a server with so many slots is asked at once settles near their number.

    The limit may stay a quarter above it, where it is not used: the rate holds requests back.
    """
    limits, refusals = serve(capacity, 4000)
    settled = limits[2000:]
    assert max(settled) <= 1.3 * capacity + 2
    assert sum(settled) / len(settled) >= 0.6 * capacity
    assert refusals <= len(limits) / capacity


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["start", "succeed", "end", "refuse", "falter"]),
        st.floats(0, 5),
        st.none() | st.floats(0, 100),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(EVENTS, st.none() | st.integers(1, 64))
def test_whatever_happens_the_limit_is_kept(
    events: list[tuple[str, float, float | None]], fixed: int | None
) -> None:
    throttle = Throttle(fixed=fixed)
    now = 0.0
    for name, passed, retry_after in events:
        now += passed
        if name == "start" and throttle.wait(now) <= 0:
            throttle.started(now)
        elif name == "succeed" and throttle.in_flight:
            throttle.succeeded()
        elif name == "end" and throttle.in_flight:
            throttle.ended(now)
        elif name == "refuse":
            throttle.refused(now, retry_after)
            assert throttle.wait(now) >= (retry_after or 0) - 1e-9
        elif name == "falter":
            throttle.faltered()
        assert 1 <= throttle.limit <= 256
        assert throttle.limit == (fixed or throttle.limit)
        assert 0 <= throttle.free(now) <= throttle.limit
        # When there is room at all, waiting as long as it says always leads to a start.
        later = now
        for _ in range(4):
            later += throttle.wait(later)
        full = throttle.in_flight >= throttle.limit
        assert full == math.isinf(later)
        assert full or throttle.wait(later) <= 1e-6


# ── rates ────────────────────────────────────────────────────────────────────────────────────


def starts_in(throttle: Throttle, seconds: float, tokens: int = 0) -> list[float]:
    """When requests start that all end at once, for so long."""
    now, found = 0.0, []
    while (wait := throttle.wait(now, tokens)) < math.inf and now + wait < seconds:
        now += wait
        throttle.started(now, tokens)
        throttle.ended(now, tokens)
        found.append(now)
        now += 1e-6
    return found


def test_requests_a_minute_are_spread_evenly() -> None:
    found = starts_in(Throttle(fixed=64, rpm=120), 60.0)
    assert 120 <= len(found) <= 121
    gaps = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert min(gaps) >= 0.49


def test_tokens_a_minute_are_kept() -> None:
    found = starts_in(Throttle(fixed=64, tpm=60_000), 60.0, tokens=3000)
    # 20 a minute, and a tenth of it that may come at once.
    assert 20 <= len(found) <= 22


def test_the_smaller_of_two_limits_holds() -> None:
    throttle = Throttle(fixed=64, rpm=120)
    throttle.learned(0.0, RateLimits(limit_requests=60.0))
    assert 60 <= len(starts_in(throttle, 60.0)) <= 61
    throttle.learned(60.0, RateLimits(limit_requests=6000.0))
    assert throttle.per_minute("requests") == 120


def test_tokens_that_were_not_used_come_back() -> None:
    throttle = Throttle(fixed=64, tpm=60_000)
    for _ in range(3):
        assert throttle.wait(0.0, 2000) == 0.0
        throttle.started(0.0, 2000)
    assert throttle.wait(0.0, 2000) > 0
    throttle.ended(0.0, 2000, used=100)
    throttle.ended(0.0, 2000, used=100)
    assert throttle.wait(0.0, 2000) == 0.0
    throttle.ended(0.0, 2000, used=None)
    assert throttle.wait(0.0, 5000) > 0


def test_a_request_that_was_never_counted_comes_back() -> None:
    throttle = Throttle(fixed=64, rpm=60)
    throttle.started(0.0)
    assert throttle.wait(0.0) == 1.0
    throttle.ended(0.0, used=0)
    assert throttle.wait(0.0) == 0.0


def test_more_tokens_than_reserved_are_charged() -> None:
    throttle = Throttle(fixed=64, tpm=60_000)
    throttle.started(0.0, 1000)
    throttle.ended(0.0, 1000, used=7000)
    assert throttle.wait(0.0, 1000) == pytest.approx(2.0)


def test_what_can_never_fit_is_said() -> None:
    throttle = Throttle(tpm=2000)
    assert not throttle.never_fits(2000)
    assert "2,001" in throttle.never_fits(2001)
    assert not Throttle().never_fits(10**9)
    throttle = Throttle()
    throttle.learned(0.0, RateLimits(limit_tokens=500.0))
    assert throttle.never_fits(501)


@pytest.mark.parametrize("tpm", [None, 6000.0])
def test_a_limit_of_tokens_that_an_answered_request_was_above_is_none(tpm: float | None) -> None:
    throttle = Throttle(tpm=tpm)
    for now in (0.0, 100.0):
        throttle.started(now, 3600)
        throttle.learned(now, RateLimits(limit_tokens=1.0))
        throttle.succeeded()
        throttle.ended(now, 3600, used=2000)
        assert throttle.per_minute("tokens") == tpm
        assert not throttle.never_fits(3700)
        assert throttle.wait(now + 60.0, 3700) == 0
    # What the flag says holds for all that.
    throttle.started(200.0, 3600)
    assert bool(throttle.wait(200.0, 3600)) == bool(tpm)
    # A refused one shows nothing.
    other = Throttle()
    other.started(0.0, 3600)
    other.learned(0.0, RateLimits(limit_tokens=500.0))
    other.ended(0.0, 3600, used=0)
    assert other.never_fits(3600)


def test_a_limit_of_a_day_is_not_one_of_a_minute() -> None:
    throttle = Throttle()
    throttle.learned(0.0, RateLimits(limit_requests=200.0, reset_requests=432.0))
    assert throttle.per_minute("requests") is None


@pytest.mark.parametrize("kind", ["requests", "tokens"])
def test_limits_that_take_turns_pass_no_cap(kind: str) -> None:
    """Two backends behind one address may each say another limit: no bucket is filled by that."""
    throttle = Throttle(fixed=64, rpm=600, tpm=60_000)
    size = 3000 if kind == "tokens" else 0
    now, starts = 0.0, 0
    for turn in itertools.count():
        said = 100_000.0 + turn % 2
        throttle.learned(now, RateLimits(**{f"limit_{kind}": said}))
        wait = throttle.wait(now, size)
        if wait <= 0:
            throttle.started(now, size)
            throttle.ended(now, size)
            starts += 1
        else:
            now += wait
        if now >= 60.0:
            break
        assert starts <= 602, "the caps are passed"
    # A minute's worth and what may come at once: a request, a tenth of a minute's tokens.
    assert starts <= (22 if kind == "tokens" else 601)


def test_what_is_left_stays_when_a_limit_changes() -> None:
    throttle = Throttle(fixed=64)
    throttle.learned(0.0, RateLimits(limit_tokens=60_000.0))
    throttle.started(0.0, 6000)
    throttle.learned(0.0, RateLimits(limit_tokens=120_000.0))
    # 2,000 a second from now on.
    assert throttle.wait(0.0, 4000) == pytest.approx(2.0)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.integers(0, 5000), st.none() | st.floats(1, 1e6)), max_size=80
    ),
    st.integers(1, 6000),
    st.integers(1000, 10**6),
)
def test_no_window_passes_the_flags(
    steps: list[tuple[float, int, float | None]], rpm: int, tpm: int
) -> None:
    throttle = Throttle(fixed=256, rpm=rpm, tpm=tpm)
    now = 0.0
    starts: list[tuple[float, int]] = []
    for passed, wanted, said in steps:
        now += passed
        tokens = min(wanted, tpm // 10)
        if said:
            throttle.learned(now, RateLimits(limit_requests=said, limit_tokens=said))
        while throttle.wait(now, tokens) <= 0 and len(starts) < 2000:
            throttle.started(now, tokens)
            starts.append((now, tokens))
            throttle.ended(now, tokens)
    for first, (since, _) in enumerate(starts[:50]):
        requests = used = 0
        for at, tokens in starts[first:]:
            requests, used = requests + 1, used + tokens
            # A fiftieth of a second's requests, a tenth of a minute's tokens may come at once; what
            # is larger than a lowered limit's tenth leaves a debt, of one request at most.
            assert requests <= max(1.0, rpm / 3000) + (at - since) * rpm / 60 + 0.01
            assert used <= tpm / 5 + (at - since) * tpm / 60 + 1


class Shared(Limited):
    """Half of the limit that it says is taken by others."""

    def ask(self, now: float) -> tuple[bool, float | None, RateLimits]:
        accepted, retry_after, _limits = super().ask(now)
        return accepted, retry_after, RateLimits(limit_requests=2 * self.per_minute)


@pytest.mark.parametrize("burst", [5, 10])
def test_a_limit_that_is_shared_with_others_is_found_below_what_is_said(burst: int) -> None:
    log = simulate(Shared(600, burst), half_a_second)
    assert log.accepted(10, 180) >= 0.95 * 10
    assert log.refused_share(60, 180) < 0.01
