"""The budget: never above a cap, in whatever order requests begin and end."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from selfinstruct.budget import FRAME, NOTHING, Bill, Budget, most_prompt_tokens
from selfinstruct.prices import Price

caps = st.none() | st.integers(0, 300)
amounts = st.integers(0, 100)
bills = st.builds(Bill, amounts, amounts)


class Spending(RuleBasedStateMachine):
    """Any interleaving of reservations, settlements and refunds, beside a model kept by lists."""

    @initialize(cost=caps, tokens=caps, spent=bills)
    def begin(self, cost: int | None, tokens: int | None, spent: Bill) -> None:
        self.caps = (cost, tokens)
        earlier = Bill(
            spent.cost if cost is None else min(spent.cost, cost),
            spent.tokens if tokens is None else min(spent.tokens, tokens),
        )
        self.budget = Budget(cost=cost, tokens=tokens, spent=earlier)
        self.out: list[Bill] = []
        self.charged = [earlier]

    def sums(self) -> tuple[list[int], list[int]]:
        """(spent, held), each as [cost, tokens]."""
        spent, held = (
            [sum(b[i] for b in some) for i in (0, 1)] for some in (self.charged, self.out)
        )
        return spent, held

    def fits(self, taken: list[int], worst: Bill) -> bool:
        return all(
            cap is None or t + w <= cap for cap, t, w in zip(self.caps, taken, worst, strict=True)
        )

    @rule(worst=bills)
    def hold(self, worst: Bill) -> None:
        spent, held = self.sums()
        taken = [s + h for s, h in zip(spent, held, strict=True)]
        assert self.budget.room_for(worst) == self.fits(spent, worst)
        assert self.budget.hold(worst) == self.fits(taken, worst), "refuses only when it must"
        if self.fits(taken, worst):
            self.out.append(worst)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        worst = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        bill = Bill(*(data.draw(st.integers(0, most)) for most in worst))
        self.budget.settle(worst, bill)
        self.charged.append(bill)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        worst = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.budget.settle(worst, NOTHING)

    @invariant()
    def the_caps_hold(self) -> None:
        spent, held = self.sums()
        assert [*self.budget.spent] == spent
        assert [*self.budget.held] == held
        for cap, s, h in zip(self.caps, spent, held, strict=True):
            assert cap is None or s + h <= cap

    def teardown(self) -> None:
        for worst in getattr(self, "out", []):
            self.budget.settle(worst, NOTHING)
        if hasattr(self, "budget"):
            assert self.budget.held == NOTHING


Spending.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)
TestSpending = Spending.TestCase


@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_runs_never_pass_their_caps(seed: int) -> None:
    """A hundred schedules a seed, with prices and token counts as they come, and 1 to 64 in
    flight. What stops a run is that nothing more fits: no budget is left over for no reason."""
    rng = random.Random(seed)
    for _ in range(100):
        price = Price(rng.randrange(1, 10**7), 0, rng.randrange(1, 10**7))
        cost = rng.choice([None, rng.randrange(10**12)])
        tokens = rng.choice([None, rng.randrange(10**6)])
        budget = Budget(cost=cost, tokens=tokens)
        concurrency = rng.randrange(1, 65)
        flying: list[tuple[Bill, tuple[int, int]]] = []
        for _ in range(200):
            most = (most_prompt_tokens(rng.randrange(20_000)), rng.randrange(1, 4096))
            worst = Bill(price.cost(*most), sum(most))
            if len(flying) < concurrency and budget.hold(worst):
                flying.append((worst, most))
            elif flying:
                worst, most = flying.pop(rng.randrange(len(flying)))
                used = (rng.randint(0, most[0]), rng.randint(0, most[1]))
                cached = rng.randint(0, used[0])
                billed = rng.random() < 0.8
                bill = Bill(price.cost(*used, cached), sum(used)) if billed else NOTHING
                budget.settle(worst, bill)
            else:
                # Nothing is in flight and it was refused: the cap itself is in the way.
                assert not budget.room_for(worst)
            assert cost is None or budget.spent.cost + budget.held.cost <= cost
            assert tokens is None or budget.spent.tokens + budget.held.tokens <= tokens
        for worst, _ in flying:
            budget.settle(worst, worst)
        assert budget.held == NOTHING
        assert cost is None or budget.spent.cost <= cost
        assert tokens is None or budget.spent.tokens <= tokens


def test_a_cap_can_be_spent_to_the_last_picodollar() -> None:
    budget = Budget(cost=10)
    assert budget.hold(Bill(10, 10**9)), "no cap on tokens"
    assert not budget.hold(Bill(1, 0))
    budget.settle(Bill(10, 10**9), Bill(10, 5))
    assert budget.spent == Bill(10, 5)
    assert budget.hold(Bill(0, 1)), "what costs nothing is not in the way of a cap on cost"
    assert not budget.room_for(Bill(1, 0))


@pytest.mark.parametrize("worst", [Bill(6, 1), Bill(1, 6)])
def test_either_cap_refuses_and_changes_nothing(worst: Bill) -> None:
    budget = Budget(cost=5, tokens=5)
    assert not budget.hold(worst)
    assert (budget.held, budget.spent) == (NOTHING, NOTHING)
    assert budget.hold(Bill(5, 5))


def test_room_for_looks_past_what_is_in_flight() -> None:
    budget = Budget(tokens=10)
    assert budget.hold(Bill(0, 8))
    assert not budget.hold(Bill(0, 5))
    assert budget.room_for(Bill(0, 5)), "the one in flight may come to less: wait"
    budget.settle(Bill(0, 8), Bill(0, 6))
    assert not budget.room_for(Bill(0, 5)), "nothing to wait for: the budget is reached"


def test_no_caps_refuse_nothing() -> None:
    budget = Budget()
    assert all(budget.hold(Bill(10**30, 10**30)) for _ in range(3))
    assert budget.held == Bill(3 * 10**30, 3 * 10**30), "still counted, exactly"


def test_a_cap_of_nothing_is_a_cap() -> None:
    assert not Budget(cost=0).hold(Bill(1, 0))
    assert not Budget(tokens=0).hold(Bill(0, 1))


def test_what_earlier_processes_spent_counts() -> None:
    budget = Budget(cost=10, spent=Bill(7, 70))
    assert not budget.hold(Bill(4, 0))
    assert budget.hold(Bill(3, 0))
    assert not Budget(cost=10, spent=Bill(70, 0)).room_for(Bill(0, 1)), "gone on with a lower cap"


def test_a_bill_above_its_reservation_counts_in_full_and_stops_the_rest() -> None:
    budget = Budget(cost=10)
    assert budget.hold(Bill(5, 0))
    budget.settle(Bill(5, 0), Bill(11, 0))
    assert budget.spent.cost == 11
    assert not budget.room_for(Bill(1, 0))


@given(st.text())
def test_no_prompt_has_more_tokens_than_bytes(text: str) -> None:
    """The most that a tokenizer with byte fallback can make of a text: one token a byte."""
    tokens = list(text.encode("utf-8", "replace"))
    assert len(tokens) + FRAME <= most_prompt_tokens(len(text.encode("utf-8", "replace")))


def test_the_frame_of_a_chat_is_allowed_for() -> None:
    """Qwen's template with its default system line: markers are tokens, the rest one a byte."""
    markers = ("<|im_start|>", "<|im_end|>")
    frame = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"
    )
    for marker in markers:
        frame = frame.replace(marker, "#")
    assert len(frame) <= FRAME == most_prompt_tokens(0)
