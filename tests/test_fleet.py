"""Balancing, ejection and readmission, in virtual time."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.fleet import Fleet, Member
from selfinstruct.ratelimits import RateLimits
from selfinstruct.throttle import Throttle


def fleet(*models: str, fixed: int = 4) -> Fleet:
    return Fleet([Member(id, model, Throttle(fixed=fixed)) for id, model in enumerate(models)])


def send(some: Fleet, now: float = 0.0, model: str = "m") -> Member | None:
    member = some.choose(model, now, 0)
    if member is not None:
        some.started(member, now, 0)
    return member


def end(some: Fleet, member: Member, now: float, *, good: bool) -> float:
    """Seconds of ejection, if the end ejects it."""
    seconds = 0.0
    if good:
        some.succeeded(member)
    else:
        seconds = some.failed(member, now)
    some.ended(member, now, 0, None)
    return seconds


def eject(some: Fleet, member: Member, now: float = 0.0) -> float:
    """Three failures in a row."""
    seconds = 0.0
    for _ in range(3):
        some.started(member, now, 0)
        seconds = end(some, member, now, good=False)
    return seconds


def test_the_one_with_the_fewest_outstanding_is_next() -> None:
    some = fleet("m", "m")
    ids = [member.id for _ in range(8) if (member := send(some))]
    assert ids == [0, 1] * 4
    assert send(some) is None
    assert math.isinf(some.wait("m", 0.0, 0))
    end(some, some.members[1], 0.0, good=True)
    assert send(some) is some.members[1]


def test_a_model_is_asked_where_it_is_served() -> None:
    some = fleet("a", "b")
    assert {member.id for _ in range(4) if (member := send(some, model="b"))} == {1}
    assert send(some, model="b") is None
    assert send(some, model="a") is some.members[0]


def test_three_failures_in_a_row_eject() -> None:
    some = fleet("m", "m")
    one = some.members[0]
    for good in (False, False, True, False, False):
        some.started(one, 0.0, 0)
        assert end(some, one, 0.0, good=good) == 0.0
    some.started(one, 0.0, 0)
    assert end(some, one, 0.0, good=False) == 1.0
    assert one.state(0.5) == "ejected"
    assert some.free("m", 0.5) == 4
    assert {member.id for _ in range(9) if (member := send(some, 0.5))} == {1}


def test_one_request_tries_it_and_its_success_readmits_it() -> None:
    some = fleet("m", "m")
    one = some.members[0]
    eject(some, one)
    assert one.state(1.0) == "on trial"
    tried = [member.id for _ in range(9) if (member := send(some, 1.0))]
    assert tried.count(0) == 1
    assert some.succeeded(one)
    some.ended(one, 1.2, 0, None)
    assert one.state(1.2) == "up"
    assert some.free("m", 1.2) == 4


def test_a_failed_trial_ejects_for_twice_as_long_up_to_half_a_minute() -> None:
    some = fleet("m", "m")
    one = some.members[0]
    now, found = 0.0, [eject(some, one)]
    for _ in range(6):
        now += found[-1]
        some.started(one, now, 0)
        found.append(end(some, one, now, good=False))
    assert found == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_failures_that_were_under_way_do_not_prolong_it() -> None:
    some = fleet("m", "m", fixed=64)
    one = some.members[0]
    for _ in range(50):
        some.started(one, 0.0, 0)
    found = [end(some, one, 0.1, good=False) for _ in range(50)]
    assert sum(seconds > 0 for seconds in found) == 1
    assert one.state(1.1) == "on trial"


def test_the_only_endpoint_of_a_model_is_never_ejected() -> None:
    some = fleet("a", "b")
    assert eject(some, some.members[0]) == 0.0
    assert send(some, model="a") is some.members[0]
    some = fleet("m", "m")
    some.members[1].gone = "HTTP 401"
    assert eject(some, some.members[0]) == 0.0


def test_one_that_refused_for_good_is_not_asked_again() -> None:
    some = fleet("m", "m")
    some.members[0].gone = "HTTP 401"
    assert some.members[0].state(0.0) == "refused"
    assert {member.id for _ in range(9) if (member := send(some))} == {1}
    some.members[1].gone = "HTTP 401"
    assert some.of("m") == []
    assert math.isinf(some.wait("m", 1e9, 0))


def test_refusals_for_haste_do_not_eject() -> None:
    some = fleet("m", "m")
    for _ in range(9):
        some.started(some.members[0], 0.0, 0)
        some.refused(some.members[0], 0.0, 1.0)
        some.ended(some.members[0], 0.0, 0, 0)
    assert some.members[0].state(0.0) == "up"
    assert some.choose("m", 0.5, 0) is some.members[1]
    assert some.wait("m", 0.5, 0) == 0.0


def test_never_fits_when_it_fits_nowhere() -> None:
    some = fleet("m", "m")
    some.learned(some.members[0], 0.0, RateLimits(limit_tokens=100.0))
    assert some.never_fits("m", 200) == ""
    some.learned(some.members[1], 0.0, RateLimits(limit_tokens=150.0))
    assert "200" in some.never_fits("m", 200)


@given(st.lists(st.tuples(st.sampled_from(["send", "good", "bad"]), st.floats(0, 5)), max_size=60))
def test_there_is_always_somebody_to_ask_in_the_end(events: list[tuple[str, float]]) -> None:
    some, now = fleet("m", "m", fixed=2), 0.0
    out: list[Member] = []
    for what, passed in events:
        now += passed
        if what == "send" and (member := send(some, now)):
            out.append(member)
        elif what != "send" and out:
            end(some, out.pop(0), now, good=what == "good")
        assert some.in_flight == len(out)
        for member in some.members:
            assert member.throttle.in_flight <= 2
    while out:
        end(some, out.pop(), now, good=False)
    wait = some.wait("m", now, 0)
    assert wait <= 30
    assert some.choose("m", now + wait, 0) is not None
