"""`estimate`: what is foreseen without a network, and what a probe measures."""

from __future__ import annotations

import doctest
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import selfinstruct.rates
from selfinstruct.config import make_config
from selfinstruct.estimate import estimate
from selfinstruct.plan import Plan
from selfinstruct.rates import Range, Rates, novelty, tokens_of, wilson
from tests.cli import (
    KEY,
    Done,
    asked,
    data,
    environment,
    facts,
    finish,
    generate,
    manifest,
    rows,
    run,
    running,
)
from tests.scripted_server import Script, ServerProcess

FIGURES = ("requests", "prompt_tokens", "completion_tokens", "usd", "hours")
MIXED: dict[str, Any] = {"tasks_per_reply": (2, 6), "bad_share": 0.2, "cached_share": 0.25}


def foreseen(*more: str | Path, n: int = 52_000, env: dict[str, str] | None = None) -> Done:
    keyless = environment() if env is None else env
    return run("estimate", "--n", str(n), *more, env=keyless)


def figures(**flags: Any) -> dict[str, Any]:
    given = {"n": 52_000, "base_url": "http://host/v1", "model": "gpt-4o-mini", **flags}
    return estimate(Plan.of(make_config(given, environment={})))


def likely(found: dict[str, Any], name: str) -> float:
    value: float = found[name]["likely"]
    return value


# ── without a probe ──────────────────────────────────────────────────────────────────────────


def test_no_server_and_no_key_is_needed() -> None:
    done = foreseen("--model", "gpt-4o-mini", "--json")
    assert done.code == 0
    found = done.json
    assert (found["n"], found["model"], found["exit_code"]) == (52_000, ["gpt-4o-mini"], 0)
    for name in FIGURES[:4]:
        assert 0 < found[name]["low"] <= found[name]["likely"] <= found[name]["high"], name
        assert found[name]["basis"], name
    assert found["hours"]["likely"] is None
    assert "unknown without --probe" in found["hours"]["basis"]
    assert found["usd"]["basis"].startswith("prices.toml")


def test_the_table_for_people_has_every_figure() -> None:
    done = foreseen("--model", "gpt-4o-mini", "--rpm", "60")
    assert done.code == 0
    for word in ("low", "likely", "high", "basis", "requests", "prompt tokens", "dollars", "--rpm"):
        assert word in done.out
    assert "Traceback" not in done.err


def test_dollars_are_tokens_times_price() -> None:
    found = figures(model="m", price_in=2.0, price_out=10.0)
    cost = (2 * likely(found, "prompt_tokens") + 10 * likely(found, "completion_tokens")) / 1e6
    assert likely(found, "usd") == pytest.approx(cost, abs=1)
    half = figures(batch_api=True)
    assert likely(half, "usd") == pytest.approx(likely(figures(), "usd") / 2, rel=0.01)
    assert "batch API" in half["usd"]["basis"]
    assert half["hours"]["likely"] is None


def test_an_unknown_price_is_said_whatever_the_cap() -> None:
    done = foreseen("--model", "nobody-knows-it", "--max-cost", "5", "--json", n=100)
    assert done.code == 0
    assert done.json["usd"] == {
        "low": None, "likely": None, "high": None,
        "basis": "unknown: give --price-in and --price-out",
    }  # fmt: skip


def test_two_models_cost_their_mean() -> None:
    dear, cheap, both = (
        likely(figures(model=model), "usd")
        for model in (["gpt-4.1"], ["gpt-4o-mini"], ["gpt-4.1", "gpt-4o-mini"])
    )
    assert both == pytest.approx((dear + cheap) / 2, rel=0.01)
    assert figures(model=["gpt-4o-mini", "nobody"])["usd"]["likely"] is None


def test_the_limit_that_binds_gives_the_hours() -> None:
    by_requests = figures(rpm=60)
    hours = likely(by_requests, "requests") / 3600
    assert likely(by_requests, "hours") == pytest.approx(hours, rel=0.01)
    both = figures(rpm=1e9, tpm=10_000)
    tokens = likely(both, "prompt_tokens") + likely(both, "completion_tokens")
    assert likely(both, "hours") == pytest.approx(tokens / 600_000, rel=0.01)
    assert both["hours"]["basis"] == "--tpm"
    two = figures(rpm=60, base_url=["http://a/v1", "http://b/v1"])
    assert likely(two, "hours") == pytest.approx(hours / 2, rel=0.01)


def test_choices_pay_the_prompt_once() -> None:
    one, four = figures(), figures(choices=4)
    assert likely(four, "requests") == pytest.approx(likely(one, "requests") / 4, abs=2)
    assert likely(four, "prompt_tokens") == pytest.approx(
        likely(one, "prompt_tokens") / 4, rel=0.01
    )
    assert likely(four, "completion_tokens") == pytest.approx(
        likely(one, "completion_tokens"), rel=0.01
    )


def test_fewer_tasks_a_request_take_more_requests() -> None:
    assert likely(figures(tasks=2), "requests") > 5 * likely(figures(), "requests")
    # What does not fit into the answer is never received.
    assert likely(figures(max_tokens=200), "requests") > 5 * likely(figures(), "requests")


def test_rows_of_two_languages_add_up() -> None:
    both, en, zh = (figures(lang=lang) for lang in (["en", "zh"], ["en"], ["zh"]))
    for name in FIGURES[:3]:
        assert likely(both, name) == pytest.approx(likely(en, name) + likely(zh, name), abs=2)
    assert both["languages"]["zh"]["tasks_per_reply"]["high"] == 7


@pytest.mark.parametrize("structured", [None, True])
def test_structured_answers_are_estimated(structured: bool | None) -> None:
    found = figures(n=100, structured=structured)
    assert likely(found, "completion_tokens") > 100 * 60


def test_the_embedded_model_costs_nothing() -> None:
    found = foreseen("--json", n=100).json
    assert found["usd"]["high"] == 0
    assert found["languages"]["en"]["tasks_per_reply"]["high"] == 3


def test_a_translation_is_a_request_a_row(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ServerProcess() as server:
        assert generate(server, out, n=30).code == 0
    translate: list[str | Path] = [
        "--recipe",
        "translate",
        "--from",
        out,
        "--lang",
        "zh",
        "--model",
        "m",
        "--json",
    ]
    done = run("estimate", *translate, env=environment())
    assert done.code == 0
    found = done.json
    assert [found["requests"][end] for end in ("low", "likely", "high")] == [30, 30, 30]
    assert found["requests"]["basis"] == "one for each row of the source"
    assert found["completion_tokens"]["likely"] > 30 * 20
    some = run("estimate", "--n", "10", *translate, env=environment()).json
    assert 10 < some["requests"]["likely"] < 20
    assert some["requests"]["high"] <= 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--n: needed"),
        (["--n", "5", "--base-url", "http://host/v1"], "--model: needed"),
        (["--n", "5", "--probe", "3", "--model", "m"], "--probe and --out go together"),
        (["--n", "5", "--out", "x", "--model", "m"], "--probe and --out go together"),
        (["--n", "5", "--model", "m", "--price-in", "1"], "--price-in and --price-out go together"),
        (["--n", "5", "--model", "m", "--config", "/nowhere.toml"], "cannot read /nowhere.toml"),
        (["--n", "5", "--probe", "0", "--out", "x", "--model", "m"], "at least one request"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = run("estimate", *arguments, env=environment())
    assert done.code == 2
    assert said in done.complaint
    assert len(done.err.splitlines()) == 1


# ── the arithmetic ───────────────────────────────────────────────────────────────────────────


def test_the_interval_is_wilsons() -> None:
    """Values of statsmodels.stats.proportion.proportion_confint(…, method="wilson")."""
    assert wilson(8, 10) == pytest.approx((0.9433, 0.8, 0.4902), abs=1e-3)
    assert wilson(0, 10) == pytest.approx((0.2775, 0.0, 0.0), abs=1e-3)
    assert wilson(0, 0) == (1.0, 0.0, 0.0)


@given(st.integers(1, 10_000), st.data())
def test_an_interval_holds_its_share(trials: int, drawn: st.DataObject) -> None:
    hits = drawn.draw(st.integers(0, trials))
    high, share, low = wilson(hits, trials)
    assert 0 <= low <= share + 1e-9
    assert share <= high + 1e-9 <= 1 + 2e-9


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(selfinstruct.rates).failed == 0


def test_novelty_falls_and_never_ends() -> None:
    shares = [novelty(pool) for pool in (0, 500, 3500, 50_000, 10**6, 10**9)]
    assert shares[0] == shares[1] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > 0
    assert novelty(43_500) == pytest.approx(0.808 / 0.909)


@given(st.text())
def test_tokens_are_in_order(text: str) -> None:
    low, between, high = tokens_of(text)
    assert 0 <= low <= between <= high


def rates(**changed: Any) -> Rates:
    one = Range(1.0, 1.0, 1.0)
    given: dict[str, Any] = {
        "lang": "en", "wanted": 100, "most": None, "tasks": Range(4.0, 4.0, 4.0),
        "kept": Range(0.5, 0.5, 0.5), "falls": False, "prompt": one, "completion": one,
    }  # fmt: skip
    for name in ("tasks", "kept", "prompt", "completion"):
        given[f"{name}_basis"] = ""
    return Rates(**{**given, **changed})


def test_requests_still_to_be_sent() -> None:
    assert rates().more() == (50, 50, 50)
    assert rates(pool=60).more() == (20, 20, 20)
    assert rates(pool=100).more() == (0, 0, 0)
    assert rates(most=30, requests=10).more() == (20, 20, 20)
    assert rates(most=100, requests=10).more() == (90, 90, 90), "all rows of the source"
    assert rates(kept=Range(0.5, 0.25, 0.0)).more() == (50, 100, math.inf)
    falling = rates(wanted=50_000, falls=True).more()
    assert 25_000 < falling.low < falling.likely < falling.high


# ── with a probe ─────────────────────────────────────────────────────────────────────────────


def probed(server: ServerProcess, out: Path, *more: str | Path, n: int = 400) -> Done:
    command = ["estimate", *asked(server, out, *more, n=n)[1:], "--json"]
    return run(*command, env=environment(OPENAI_API_KEY=KEY))


def test_a_probe_is_the_beginning_of_the_run(tmp_path: Path) -> None:
    out, whole = tmp_path / "probed", tmp_path / "whole"
    with ServerProcess(Script(**{**MIXED, "latency": 0.1})) as server:
        done = probed(server, out, "--probe", "12", "--price-in", "1", "--price-out", "2", n=150)
        assert done.code == 0
        assert server.ledger().requests == server.ledger().sold == 12
        stated, found = manifest(out), done.json
        assert stated["requests"] == {"decided": 12, "paid": 12, "sent": 12, "failed": 0}
        assert not stated["complete"]
        assert found["probe"]["requests"] == 12
        assert found["probe"]["kept"] == stated["kept"]
        assert found["probe"]["cached_share"] == pytest.approx(
            stated["tokens"]["cached"] / stated["tokens"]["prompt"]
        )
        assert found["probe"]["seconds_per_request"] > 0
        share = found["languages"]["en"]["kept_share"]
        assert share["low"] < stated["kept"] / stated["candidates"] < share["high"]
        assert "Wilson" in share["basis"]

        # A second one adds nothing where as many are there already.
        again = probed(server, out, "--probe", "12", "--price-in", "1", "--price-out", "2", n=150)
        assert again.code == 0
        assert server.ledger().requests == 12
        assert again.json["requests"] == found["requests"]
        assert again.json["usd"] == found["usd"]
        assert again.json["hours"]["likely"] > 0

        # `generate` goes on, and the rows are those that it gives alone.
        sold = generate(server, out, n=150)
        assert sold.code == 0
        needed = manifest(out)["requests"]["paid"]
        assert server.ledger().requests == needed
        assert generate(server, whole, n=150).code == 0
        assert data(out) == data(whole)
    for name, taken in (("requests", needed), ("prompt_tokens", manifest(out)["tokens"]["prompt"])):
        assert found[name]["low"] * 0.9 <= taken <= found[name]["high"] * 1.25 + 2, name


def test_a_larger_probe_buys_the_rest(tmp_path: Path) -> None:
    with ServerProcess(Script(**MIXED)) as server:
        assert probed(server, tmp_path / "run", "--probe", "3").code == 0
        assert probed(server, tmp_path / "run", "--probe", "7").json["probe"]["requests"] == 7
        assert server.ledger().requests == 7
        assert probed(server, tmp_path / "run", "--probe", "5").json["probe"]["requests"] == 7
        assert server.ledger().requests == 7


def test_retries_are_no_requests(tmp_path: Path) -> None:
    script = Script(fault_plan=("ok", "500", "ok", "truncated_json", "reset"))
    with ServerProcess(script) as server:
        assert probed(server, tmp_path / "run", "--probe", "6").code == 0
        assert len(server.ledger().prompts) == 6
        assert server.ledger().requests == 9


def test_a_probe_that_reaches_n_is_the_run(tmp_path: Path) -> None:
    with ServerProcess() as server:
        done = probed(server, tmp_path / "run", "--probe", "50", n=20)
        assert done.code == 0
        stated = manifest(tmp_path / "run")
        assert stated["complete"]
        paid = stated["requests"]["paid"]
        assert paid < 50
        ends = [done.json["requests"][end] for end in ("low", "likely", "high")]
        assert ends == [paid] * 3
        assert probed(server, tmp_path / "run", "--probe", "50", n=20).code == 0
        assert server.ledger().requests == paid


def test_two_languages_share_a_probe(tmp_path: Path) -> None:
    with ServerProcess(Script(reply_hook="tests.test_estimate:either")) as server:
        done = probed(server, tmp_path / "run", "--lang", "zh", "--lang", "en", "--probe", "5")
        assert done.code == 0
        assert server.ledger().requests == 5
        settled = [fact["lang"] for fact in facts(tmp_path / "run", "reply")]
        assert sorted(settled) == ["en", "en", "en", "zh", "zh"]
        one = probed(server, tmp_path / "run", "--lang", "zh", "--lang", "en", "--probe", "1")
        assert one.code == 2


def either(prompt: str, _rng: object) -> str:
    """Tasks that are all rejected in either language."""
    return " a\n5. Instruction: b\n"


def test_a_probe_that_keeps_nothing_says_so(tmp_path: Path) -> None:
    with ServerProcess(Script(reply_hook="tests.test_estimate:either")) as server:
        done = probed(
            server, tmp_path / "run", "--probe", "4", "--price-in", "1", "--price-out", "1"
        )
        assert done.code == 0
        assert done.json["requests"]["likely"] is None
        assert done.json["usd"]["likely"] is None
        assert rows(tmp_path / "run" / "records.jsonl") == []


def test_a_probe_ends_as_generate_does(tmp_path: Path) -> None:
    with ServerProcess(Script(api_key="another")) as server:
        done = probed(server, tmp_path / "refused", "--probe", "5")
        assert (done.code, done.json["exit_code"]) == (3, 3)
    with ServerProcess() as server:
        done = probed(server, tmp_path / "poor", "--probe", "9", "--max-total-tokens", "9000")
        assert done.code == 6
        assert server.ledger().requests < 9
        assert manifest(tmp_path / "poor")["kept"] > 0
    with ServerProcess(Script(latency=0.3)) as server:
        out = tmp_path / "stopped"
        command = ["estimate", *asked(server, out, "--probe", "40", n=400)[1:]]
        with running(*command, env=environment(OPENAI_API_KEY=KEY)) as process:
            server.wait(sold=4, in_flight=1)
            process.terminate()
            assert finish(process).code == 143
        bought = server.ledger().requests
        assert bought < 40
        assert probed(server, out, "--probe", "10").code == 0
        assert server.ledger().requests == max(10, bought)


def test_an_endpoint_without_counts_is_estimated_from_characters(tmp_path: Path) -> None:
    with ServerProcess(Script(usage=False)) as server:
        found = probed(server, tmp_path / "run", "--probe", "4").json
    assert "counts no tokens" in found["prompt_tokens"]["basis"]
    assert found["prompt_tokens"]["likely"] > 0
