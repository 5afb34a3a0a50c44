"""Sampling: the same for ever, distinct, and of no other request's doing."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.sampler import request_rng, sample

# Any change here changes every dataset ever made: it must be a decision, not an accident.
GOLDEN_FLOATS = {
    (0, "en", 0): [0.01627321052244013, 0.312947422559255],
    (0, "en", 1): [0.7817239911028596, 0.43502023948315394],
    (0, "zh", 0): [0.31294411932808086, 0.5365542459781619],
    (42, "en", 51999): [0.8423501095535403, 0.34649688979193705],
}
GOLDEN_SAMPLES = {
    (0, "en", 0): [2, 55, 65],
    (0, "en", 1): [136, 76, 156],
    (0, "zh", 0): [54, 94, 30],
    (42, "en", 51999): [147, 61, 52],
}


def drawn(run_seed: int, stream: str, request: int) -> list[int]:
    return sample(request_rng(run_seed, stream, request), range(175), 3)


def test_golden_floats() -> None:
    found = {
        key: [rng.random() for _ in range(2)]
        for key in GOLDEN_FLOATS
        for rng in [request_rng(*key)]
    }
    assert found == GOLDEN_FLOATS


def test_golden_samples() -> None:
    assert {key: drawn(*key) for key in GOLDEN_SAMPLES} == GOLDEN_SAMPLES


def test_another_process_draws_the_same() -> None:
    """Nothing depends on the hash seed, which differs between processes."""
    code = (
        "from selfinstruct.sampler import request_rng, sample;"
        "print(sample(request_rng(0, 'en', 7), range(175), 3))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{drawn(0, 'en', 7)}\n"}


@settings(deadline=None)
@given(
    st.integers(), st.integers(0, 10**6), st.lists(st.integers(), max_size=40), st.integers(0, 50)
)
def test_samples_are_distinct_positions(
    run_seed: int, request: int, population: list[int], count: int
) -> None:
    places = list(enumerate(population))
    found = sample(request_rng(run_seed, "en", request), places, count)
    assert len(found) == min(count, len(population))
    assert len(set(found)) == len(found)
    assert set(found) <= set(places)


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=20))
def test_the_population_is_left_alone(population: list[int]) -> None:
    before = list(population)
    sample(request_rng(0, "en", 0), population, 5)
    assert population == before


def test_a_request_does_not_depend_on_others() -> None:
    in_order = [drawn(0, "en", k) for k in range(50)]
    backwards = [drawn(0, "en", k) for k in reversed(range(50))]
    assert in_order == backwards[::-1]
    random.seed(1)
    random.random()
    assert drawn(0, "en", 9) == in_order[9]


def test_requests_languages_and_runs_draw_differently() -> None:
    base = [drawn(0, "en", k) for k in range(100)]
    assert len(set(map(tuple, base))) == 100
    assert [drawn(0, "zh", k) for k in range(100)] != base
    assert [drawn(1, "en", k) for k in range(100)] != base
    # Run seed 1 is not run seed 0 one request later, nor are digits run together.
    assert [drawn(1, "en", k) for k in range(99)] != base[1:]
    assert drawn(1, "en", 23) != drawn(12, "en", 3)


def test_every_seed_is_shown_about_equally_often() -> None:
    seen = Counter(item for k in range(3500) for item in drawn(0, "en", k))
    assert len(seen) == 175
    # 60 expected; five standard deviations.
    assert min(seen.values()) > 60 - 39
    assert max(seen.values()) < 60 + 39


def test_every_position_is_shuffled() -> None:
    orders = Counter(tuple(sample(request_rng(0, "x", k), "abc", 3)) for k in range(600))
    assert len(orders) == 6
    assert min(orders.values()) > 50
