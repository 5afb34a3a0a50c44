"""What a run may spend: never passed in any schedule, counted to the last token, said to people."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from selfinstruct.accounts import Account, Most
from selfinstruct.budget import Budget
from selfinstruct.demand import Demand
from selfinstruct.errors import BudgetReached, RateLimited, ServerFailed, TransportFailed
from selfinstruct.fleet import Fleet, Member
from selfinstruct.generator import Generator, Lane
from selfinstruct.history import History
from selfinstruct.journal import Journal
from selfinstruct.prices import Price, stated_price
from selfinstruct.records import Answer, Prompt, Reply
from selfinstruct.sender import Policy, Route
from selfinstruct.throttle import Throttle
from selfinstruct.verify import verify
from tests.cli import Done, asked, data, facts, finish, generate, manifest, run, running
from tests.scripted_server import Script, ServerProcess
from tests.virtual_time import VirtualLoop

REPLIES = Script(tasks_per_reply=(3, 7), duplicate_share=0.05, bad_share=0.05)


# ── 1,000 random schedules ───────────────────────────────────────────────────────────────────


@dataclass
class Shop:
    """An endpoint that sells at a price, with every fault that may or may not be billed.

    It bills like the dearest provider: also for answers that break off on their way.
    """

    rng: random.Random
    price: Price
    most: Most
    cost: int = 0
    tokens: int = 0
    base_url: str = "http://shop/v1"
    sent: dict[str, int] = field(default_factory=dict)

    async def send(self, prompt: Prompt) -> Answer:
        self.sent[prompt.text] = self.sent.get(prompt.text, 0) + 1
        await asyncio.sleep(self.rng.expovariate(1.0))
        # Three times at the most, then it is a good endpoint: no request is given up.
        fault = self.rng.random() if self.sent[prompt.text] < 3 else 1.0
        if fault < 0.1:
            raise RateLimited("HTTP 429", status=429, retry_after=self.rng.choice((None, 0.1, 3.0)))
        if fault < 0.15:
            raise ServerFailed("HTTP 500", status=500)
        used = self.rng.randint(0, self.most.prompt), self.rng.randint(0, self.most.completion)
        cached = self.rng.randint(0, used[0])
        self.cost += self.price.cost(*used, cached)
        self.tokens += sum(used)
        if fault < 0.25:
            raise TransportFailed("reset")
        usage = {
            "prompt_tokens": used[0],
            "completion_tokens": used[1],
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        body = {"choices": [{"text": "x", "finish_reason": "stop"}], "usage": usage}
        if fault < 0.3:
            body.pop("choices")
        if fault < 0.35:
            body.pop("usage")
        return Answer("completions", json.dumps(body).encode(), {})

    def apply(self, change: str) -> bool:
        raise AssertionError(change)


async def spend(seed: int, directory: Path) -> tuple[Shop, Budget, History, Generator]:
    """One run of a few requests under a random cap."""
    rng = random.Random(seed)
    most = Most(rng.randint(1, 2000), rng.randint(1, 3000))
    price = stated_price(rng.choice((0.0, 0.15, 2.5)), rng.choice((0.6, 10.0, 60.0)))
    shop = Shop(rng, price, most)
    worst = price.cost(*most)
    requests = rng.randint(1, 20)
    budget = Budget(
        cost=None if rng.random() < 0.2 else int(worst * rng.uniform(0.2, 1.5 * requests)),
        tokens=None if rng.random() < 0.5 else int(most.total * rng.uniform(0.2, 1.5 * requests)),
    )
    demand = Demand(requests, 1)

    def arrived(reply: Reply) -> None:
        demand.reply_arrived(reply.request, 1)

    lane = Lane(
        "en",
        lambda k: Prompt(f"prompt {k}", (), (), 1, 1, k),
        lambda _prompt: most,
        demand,
    )
    with Journal(directory) as journal:
        history = History()
        history.accounts[0] = Account("http://shop/v1", "m", price)
        throttle = Throttle(fixed=rng.choice((1, 3, 16, 64)))
        generator = Generator(
            lanes=[lane],
            models=["m"],
            routes=[Route(shop, history.accounts[0], 0)],
            fleet=Fleet([Member(0, "m", throttle)]),
            budget=budget,
            journal=journal,
            history=history,
            policy=Policy(timeout=math.inf, patience=1e6, strict=False),
            arrived=arrived,
            notice=lambda _text: None,
        )
        async with generator:
            async for _reply in generator.replies():
                demand.reply_decided(1)
    return shop, budget, history, generator


@pytest.mark.parametrize("block", range(10))
def test_a_thousand_schedules_never_pass_the_budget(block: int, tmp_path: Path) -> None:
    ends = {"met": 0, "reached": 0}
    for seed in range(100 * block, 100 * (block + 1)):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            shop, budget, history, generator = runner.run(spend(seed, tmp_path / str(seed)))
        spent = history.totals.spent
        assert shop.cost <= spent.cost, "everything sold is counted"
        assert shop.tokens <= spent.tokens
        assert budget.cost is None or spent.cost <= budget.cost
        assert budget.tokens is None or spent.tokens <= budget.tokens
        assert spent == budget.spent
        assert budget.held == (0, 0)
        reached = isinstance(generator.error, BudgetReached)
        assert reached or generator.error is None
        ends["reached" if reached else "met"] += 1
    assert min(ends.values()) >= 10


# ── through the command line ─────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def shared() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server


@pytest.fixture
def server(shared: ServerProcess) -> ServerProcess:
    shared.reset(REPLIES)
    return shared


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


PRICE = ("--price-in", "1", "--price-out", "10")


def sold_for(out: Path) -> float:
    """USD for everything that the journal's replies say was used, at PRICE."""
    total = 0
    for fact in facts(out, "reply"):
        usage = json.loads(fact["body"])["usage"]
        total += usage["prompt_tokens"] * 1 + usage["completion_tokens"] * 10
    return total / 1e6


def test_the_cap_holds_and_the_run_goes_on_with_a_higher_one(
    server: ServerProcess, out: Path, tmp_path: Path
) -> None:
    small = ("--max-tokens", "800")
    done = generate(server, out, *PRICE, *small, "--max-cost", "0.10", n=400)
    assert done.code == 6
    assert "the budget is reached: $0." in done.complaint
    assert "of $0.10 spent" in done.complaint
    stated = manifest(out)
    assert 0 < stated["kept"] < 400
    assert stated["cost"]["usd"] == pytest.approx(sold_for(out), abs=2e-6)
    assert stated["cost"]["usd"] <= 0.10
    # It stopped because one more could have passed the cap, not long before.
    worst = (800 * 10 + 10_000) / 1e6
    assert stated["cost"]["usd"] >= 0.10 - 2 * worst
    assert len(facts(out, "reply")) == server.ledger().sold
    # The same command stops again without buying anything; a higher cap goes on.
    sold = server.ledger().sold
    assert generate(server, out, *PRICE, *small, "--max-cost", "0.10", n=400).code == 6
    assert server.ledger().sold == sold
    done = run("resume", out, "--max-cost", "5")
    assert done.code == 0, done.err
    assert verify(out) == []
    assert manifest(out)["cost"]["usd"] == pytest.approx(sold_for(out), abs=2e-6)
    free = tmp_path / "free"
    server.reset()
    assert generate(server, free, *small, n=400).code == 0
    assert data(out) == data(free)


def test_a_cap_of_a_later_command_holds_for_resume(server: ServerProcess, out: Path) -> None:
    small = ("--max-tokens", "800")
    assert generate(server, out, *small, n=20).code == 0
    assert generate(server, out, *small, *PRICE, "--max-cost", "0.05", n=400).code == 6
    sold = server.ledger().sold
    done = run("resume", out)
    assert done.code == 6, done.err
    assert "of $0.050 spent" in done.complaint
    assert server.ledger().sold == sold
    # The prices are known by now, too.
    assert run("resume", out, "--max-cost", "0.08").code == 6
    assert manifest(out)["cost"]["usd"] > 0.05
    assert run("resume", out).code == 6
    assert generate(server, out, *small, n=400).code == 0, "a whole command says it all anew"


def test_what_may_have_been_billed_is_not_thrown_away(server: ServerProcess, out: Path) -> None:
    """Another run may take over a directory in which nothing was bought; this is not sure here."""
    server.reset(Script(latency=60.0))
    with running(*asked(server, out, n=100)) as process:
        server.wait(in_flight=4)
        process.kill()
        process.communicate()
    server.reset(REPLIES)
    done = generate(server, out, "--max-tokens", "100", n=100)
    assert done.code == 2
    assert "was made with max_tokens = 3072" in done.complaint


def test_a_cap_on_tokens(server: ServerProcess, out: Path) -> None:
    done = generate(server, out, "--max-tokens", "500", "--max-total-tokens", "60000", n=900)
    assert done.code == 6
    assert "of 60,000 tokens spent" in done.complaint
    tokens = manifest(out)["tokens"]
    assert 40_000 < tokens["prompt"] + tokens["completion"] <= 60_000


def test_a_cap_below_one_request_buys_nothing(server: ServerProcess, out: Path) -> None:
    done = generate(server, out, *PRICE, "--max-cost", "0.001", n=10)
    assert done.code == 6
    assert "one more request may cost $0.0" in done.complaint
    assert server.ledger().requests == 0


def test_the_same_rows_with_a_cap_and_without(
    server: ServerProcess, out: Path, tmp_path: Path
) -> None:
    assert generate(server, out, *PRICE, "--max-cost", "9", "--concurrency", "32", n=200).code == 0
    assert generate(server, tmp_path / "free", "--concurrency", "1", n=200).code == 0
    assert data(out) == data(tmp_path / "free")


def test_an_unknown_price(server: ServerProcess, out: Path) -> None:
    done = generate(server, out, "--max-cost", "1", n=10)
    assert done.code == 2
    assert "the price of asked-model is not known" in done.complaint
    assert "--price-in" in done.complaint
    assert not out.exists()
    done = generate(server, out, n=10)
    assert done.code == 0
    assert "cost: unknown" in done.err
    assert manifest(out)["cost"] is None
    assert "cost: unknown" in run("status", out).out


def test_a_known_price(server: ServerProcess, out: Path) -> None:
    done = generate(server, out, "--model", "gpt-4o-mini-2024-07-18", n=50)
    assert done.code == 0
    stated = manifest(out)
    tokens = stated["tokens"]
    usd = (tokens["prompt"] * 0.15 + tokens["completion"] * 0.60) / 1e6
    assert stated["cost"]["usd"] == pytest.approx(usd, abs=2e-6)
    assert stated["cost"]["usd_per_kept_row"] == pytest.approx(usd / 50, abs=1e-9, rel=1e-3)
    total = tokens["prompt"] + tokens["completion"]
    assert stated["tokens_per_kept_row"] == pytest.approx(total / 50, abs=0.1)
    assert "cost: $0.0" in done.err
    assert run("status", out, "--json").json["cost"] == stated["cost"]


def test_what_a_changed_price_bought_stays_what_it_was(server: ServerProcess, out: Path) -> None:
    assert generate(server, out, *PRICE, n=50).code == 0
    first = manifest(out)["cost"]["usd"]
    assert generate(server, out, "--price-in", "0", "--price-out", "0", n=100).code == 0
    assert manifest(out)["cost"]["usd"] == first
    assert verify(out) == []


def test_what_was_bought_before_a_price_was_known_counts_as_well(
    server: ServerProcess, out: Path
) -> None:
    """The cap is for the whole run, also when only a later process hears of a price."""
    server.reset(Script(tasks_per_reply=17, fault_plan=("reset",)))
    assert generate(server, out, "--concurrency", "1", n=100).code == 0
    server.use(Script(latency=60.0))
    with running(*asked(server, out, n=200)) as process:
        server.wait(in_flight=4)
        process.kill()
        process.communicate()
    server.use(REPLIES)
    most = next(fact["most"] for fact in facts(out, "intent"))
    doubtful = (1 + 4) * (most[0] + 10 * most[1]) / 1e6
    sold, cap = server.ledger().requests, sold_for(out) + doubtful
    done = generate(server, out, *PRICE, "--max-cost", f"{cap:.6f}", n=200)
    assert done.code == 6, done.err
    assert server.ledger().requests == sold
    found = run("status", out, "--json").json["cost"]
    assert found["usd"] == pytest.approx(sold_for(out), abs=2e-6)
    assert found["doubtful_usd"] == pytest.approx(doubtful, rel=0.01)
    assert found == manifest(out)["cost"]
    assert generate(server, out, *PRICE, "--max-cost", "9", n=200).code == 0
    assert manifest(out)["cost"]["usd"] == pytest.approx(sold_for(out), abs=2e-6)
    assert verify(out) == []


def test_lost_answers_count_at_their_worst(server: ServerProcess, out: Path) -> None:
    server.reset(Script(tasks_per_reply=17, fault_plan=("reset", "short_body", "html_200")))
    done = generate(server, out, *PRICE, "--concurrency", "1", n=30)
    assert done.code == 0, done.err
    stated = manifest(out)
    most = next(fact["most"] for fact in facts(out, "intent"))
    worst = 3 * (most[0] + 10 * most[1]) / 1e6
    assert stated["cost"]["doubtful_usd"] == pytest.approx(worst, rel=0.01)
    assert stated["tokens"]["doubtful"] == pytest.approx(3 * sum(most), rel=0.01)
    assert verify(out) == []
    assert "more at the most for attempts without an answer" in run("status", out).out


def test_what_a_killed_process_had_sent_counts_at_its_worst(
    server: ServerProcess, out: Path
) -> None:
    server.reset(Script(latency=60.0))
    with running(*asked(server, out, *PRICE, "--max-cost", "9", n=100)) as process:
        server.wait(in_flight=4)
        process.kill()
        process.communicate()
    found = run("status", out, "--json").json
    assert found["tokens"]["doubtful"] == sum(sum(f["most"]) for f in facts(out, "intent"))
    server.reset(REPLIES)
    assert run("resume", out).code == 0
    assert verify(out) == []
    assert manifest(out)["endpoints"][0]["doubtful"] == 4


def test_the_display_and_the_log_say_what_it_cost(server: ServerProcess, out: Path) -> None:
    done: Done = generate(server, out, *PRICE, "--max-cost", "7", n=50)
    assert " of $7.00  elapsed" in done.err


def test_limits_of_flags_are_kept(server: ServerProcess, out: Path) -> None:
    command = asked(server, out, "--rpm", "600", "--concurrency", "64", n=100)
    with running(*command) as process:
        done = finish(process)
    assert done.code == 0
    started = sorted(entry.started for entry in server.entries())
    assert len(started) >= 15
    # Ten a second: whatever the window, one more than that at the most.
    for first, last in zip(started, started[10:], strict=False):
        assert last - first >= 0.9


def test_a_request_that_can_never_fit(server: ServerProcess, out: Path) -> None:
    done = generate(server, out, "--tpm", "2000", n=10)
    assert done.code == 2
    assert "can never pass a limit of 2,000 tokens a minute" in done.complaint
    assert server.ledger().requests == 0
