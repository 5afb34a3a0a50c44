"""Demand: never pays for much more than is needed, never stalls, whatever the yield."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from selfinstruct.demand import Demand

MOST = 17
# (tasks in a reply, how many of them are kept)
Yield = tuple[int, int]


class Run:
    """Sends as the generator does, against replies whose yields are known beforehand."""

    def __init__(self, yields: list[Yield], wanted: int, concurrency: int, seed: int = 0) -> None:
        self._yields = yields
        self._concurrency = concurrency
        self._rng = random.Random(seed)
        self._in_flight: set[int] = set()
        self._arrived: set[int] = set()
        self.slow: frozenset[int] = frozenset()
        self.demand = Demand(wanted, MOST)
        self.sent = 0
        self.widest = 0

    def yield_of(self, request: int) -> Yield:
        # After a barren stretch of any length the endpoint gives rows again.
        return self._yields[request] if request < len(self._yields) else (5, 3)

    def launch(self) -> None:
        while len(self._in_flight) < self._concurrency and self.sent < self.demand.may_send():
            self._in_flight.add(self.sent)
            self.sent += 1
        self.demand.sent = self.sent
        self.widest = max(self.widest, len(self._in_flight))

    def arrive(self) -> None:
        """One reply, any but the slow ones unless they are all that is left."""
        ready = sorted(self._in_flight - self.slow) or sorted(self._in_flight)
        assert ready, "stalled: rows are missing and nothing is on its way"
        request = self._rng.choice(ready)
        self._in_flight.remove(request)
        self._arrived.add(request)
        self.demand.reply_arrived(request, self.yield_of(request)[0])
        self.launch()

    def run(self) -> Run:
        """Replies arrive in any order and are decided in request order."""
        demand = self.demand
        self.launch()
        while not demand.met:
            self.arrive()
            while demand.decided in self._arrived and not demand.met:
                kept = self.yield_of(demand.decided)[1]
                demand.reply_decided(min(kept, demand.wanted - demand.kept))
                self.launch()
        return self

    def least(self) -> int:
        """Requests that somebody who knew every yield would have paid for."""
        requests = rows = 0
        while rows < self.demand.wanted:
            rows += self.yield_of(requests)[1]
            requests += 1
        return requests


def some_yield(rows: st.SearchStrategy[int]) -> st.SearchStrategy[Yield]:
    return st.tuples(rows, rows).map(lambda two: (max(two), min(two)))


YIELDS = st.lists(some_yield(st.integers(0, MOST)), max_size=60) | st.lists(
    some_yield(st.sampled_from([0, 0, 0, 1, MOST])), max_size=120
)


@settings(max_examples=300, deadline=None)
@given(
    YIELDS,
    st.integers(1, 400),
    st.sampled_from([1, 2, 8, 64, 4096]) | st.integers(1, 100),
    st.integers(0, 99),
)
@example([(MOST, 0)] * 100, 1, 4096, 0)
@example([(0, 0)] * 100, 1, 1, 0)
@example([(MOST, MOST)] * 100, 400, 4096, 0)
def test_exactly_n_and_little_more_is_paid(
    yields: list[Yield], wanted: int, concurrency: int, seed: int
) -> None:
    run = Run(yields, wanted, concurrency, seed).run()
    least = run.least()
    assert run.demand.kept == wanted
    assert run.demand.decided == least
    assert least <= run.sent <= 1.25 * least + 2
    assert run.demand.may_send() == 0


def binomial(wanted: int, rate: float, rng: random.Random) -> list[Yield]:
    """Replies of up to MOST tasks of which `rate` rows are kept on average."""
    share = rate / MOST
    count = int(wanted / rate * 3) + 50
    return [(MOST, sum(rng.random() < share for _ in range(MOST))) for _ in range(count)]


@pytest.mark.parametrize("wanted", [20, 500, 5000])
@pytest.mark.parametrize("concurrency", [1, 8, 64, 256])
@pytest.mark.parametrize("rate", [0.3, 5.0, 14.0])
def test_the_economy_that_is_promised(wanted: int, concurrency: int, rate: float) -> None:
    yields = binomial(wanted, rate, random.Random(f"{wanted}/{concurrency}/{rate}"))
    run = Run(yields, wanted, concurrency).run()
    assert run.sent <= 1.25 * run.least() + 2


def test_one_at_a_time_pays_for_nothing_in_vain() -> None:
    run = Run([(5, 5), (9, 0), (17, 17), (2, 1)] * 20, 100, 1).run()
    assert run.sent == run.least()


def test_a_wide_run_is_kept_busy() -> None:
    """The bound is no excuse to send one by one: a steady yield fills the permits."""
    run = Run(binomial(5000, 10.0, random.Random(0)), 5000, 64).run()
    assert run.widest == 64


def test_one_slow_answer_does_not_hold_up_the_sending() -> None:
    """Everything behind it has arrived undecided, and goes on arriving."""
    run = Run([(MOST, 15)] * 1000, 1000, 8)
    run.slow = frozenset({0})
    run.launch()
    for _ in range(50):
        run.arrive()
    assert run.demand.decided == 0
    assert run.sent == 58
    assert run.run().sent <= 1.25 * run.least() + 2


def test_a_reply_with_more_tasks_than_asked_lowers_the_need() -> None:
    demand = Demand(1000, 10)
    demand.sent = 1
    demand.reply_arrived(0, 100)
    demand.reply_decided(50)
    # At 100 rows a reply, 10 more requests may do: 1.25 · (1 + 10) + 2.
    assert demand.may_send() <= 15


def test_a_barren_endpoint_is_asked_on_but_within_the_bound() -> None:
    demand = Demand(10, MOST)
    for request in range(200):
        demand.sent = request + 1
        demand.reply_arrived(request, 0)
        demand.reply_decided(0)
        assert demand.decided < demand.may_send() <= 1.25 * (demand.decided + 1) + 2


def test_replayed_replies_count_as_sent() -> None:
    """A resumed run decides from the journal without sending."""
    demand = Demand(100, MOST)
    for request in range(3):
        demand.reply_arrived(request, 10)
        demand.reply_decided(10)
    assert demand.kept == 30
    assert 3 < demand.may_send() <= 1.25 * (3 + 5) + 2


def test_nothing_more_once_met() -> None:
    demand = Demand(3, MOST)
    assert not demand.met
    demand.reply_arrived(0, 5)
    demand.reply_decided(3)
    assert demand.met
    assert demand.may_send() == 0
