"""Several endpoints and models through real sockets: balance, death, return, refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfinstruct.verify import verify
from tests.cli import (
    KEY,
    asked,
    data,
    environment,
    facts,
    finish,
    generate,
    manifest,
    run,
    running,
    server_closed,
)
from tests.scripted_server import Script, ServerProcess

REPLIES = Script(tasks_per_reply=(3, 7), duplicate_share=0.05, bad_share=0.05)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with ServerProcess() as one, ServerProcess() as two:
        yield one, two


@pytest.fixture
def pair(servers: tuple[ServerProcess, ServerProcess]) -> tuple[ServerProcess, ServerProcess]:
    """Two servers that give the same answers, with empty ledgers."""
    for server in servers:
        server.reset(REPLIES)
    return servers


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def both(pair: tuple[ServerProcess, ServerProcess]) -> list[str]:
    return ["--base-url", pair[0].base_url, "--base-url", pair[1].base_url]


def test_the_load_is_shared_and_the_rows_are_the_same(
    pair: tuple[ServerProcess, ServerProcess], out: Path, tmp_path: Path
) -> None:
    one, two = pair
    slow = Script(**{**REPLIES.to_json(), "latency": 0.02})
    one.reset(slow)
    two.reset(slow)
    assert generate(one, out, *both(pair), "--concurrency", "8", n=300).code == 0
    sold = [server.ledger().sold for server in pair]
    assert min(sold) >= 0.35 * sum(sold)
    assert max(server.ledger().peak_in_flight for server in pair) <= 8
    alone = tmp_path / "alone"
    one.reset(REPLIES)
    assert generate(one, alone, n=300).code == 0
    assert data(out) == data(alone)
    assert verify(out) == []
    stated = manifest(out)["endpoints"]
    assert [taken["paid"] for taken in stated] == sold
    assert [taken["url"] for taken in stated] == [server.base_url for server in pair]


def test_status_counts_by_endpoint(pair: tuple[ServerProcess, ServerProcess], out: Path) -> None:
    assert generate(pair[0], out, *both(pair), n=100).code == 0
    found = run("status", out, "--json").json["endpoints"]
    assert [taken["paid"] for taken in found] == [s.ledger().sold for s in pair]
    shown = run("status", out).out
    for server in pair:
        assert f"{server.base_url} asked-model: " in shown


def test_one_of_two_is_killed_and_brought_back(
    pair: tuple[ServerProcess, ServerProcess], out: Path, tmp_path: Path
) -> None:
    one, two = pair
    slow = Script(**{**REPLIES.to_json(), "latency": 0.1})
    one.reset(slow)
    two.reset(slow)
    command = asked(one, out, *both(pair), "--concurrency", "4", n=900)
    with running(*command, env=environment(OPENAI_API_KEY=KEY)) as process:
        two.wait(sold=10)
        with server_closed(two):
            seen = one.ledger().sold
            one.wait(sold=seen + 40)
        back = two.ledger().sold
        two.wait(sold=back + 15)
        done = finish(process)
    assert done.code == 0, done.err
    assert f"{two.base_url} fails: left alone for now" in done.err
    assert f"{two.base_url} answers again" in done.err
    assert facts(out, "outcome") == []
    assert verify(out) == []
    # While it was away it was hardly asked.
    refused = [f for f in facts(out, "failure") if "onnect" in f["message"]]
    assert len(refused) <= 4 * 4
    alone = tmp_path / "alone"
    one.reset(REPLIES)
    assert generate(one, alone, n=900).code == 0
    assert data(out) == data(alone)


def test_an_endpoint_that_refuses_for_good_is_left_out(
    pair: tuple[ServerProcess, ServerProcess], out: Path
) -> None:
    one, two = pair
    two.reset(Script(**{**REPLIES.to_json(), "api_key": "another"}))
    done = generate(one, out, *both(pair), n=100)
    assert done.code == 0, done.err
    assert done.err.count(f"going on without {two.base_url}") == 1
    assert two.ledger().requests <= 4
    assert {f["class"] for f in facts(out, "failure")} == {"refused"}
    assert facts(out, "outcome") == []
    # No endpoint left: the run stops and says why.
    one.reset(Script(**{**REPLIES.to_json(), "api_key": "another"}))
    done = generate(one, out, *both(pair), n=200)
    assert done.code == 3
    assert "check OPENAI_API_KEY" in done.complaint


def test_an_endpoint_to_which_every_request_is_bad_is_left_out(
    pair: tuple[ServerProcess, ServerProcess], out: Path, tmp_path: Path
) -> None:
    """Which endpoint is asked must not decide which requests are given up."""
    one, two = pair
    two.reset(Script(**{**REPLIES.to_json(), "refuse_params": {"model": None}}))
    done = generate(one, out, *both(pair), n=100)
    assert done.code == 0, done.err
    assert done.err.count(f"going on without {two.base_url}: HTTP 400") == 1
    assert facts(out, "outcome") == []
    alone = tmp_path / "alone"
    assert generate(one, alone, n=100).code == 0
    assert data(out) == data(alone)


def test_each_endpoint_may_have_its_own_key(
    pair: tuple[ServerProcess, ServerProcess], out: Path
) -> None:
    one, two = pair
    one.reset(Script(**{**REPLIES.to_json(), "api_key": KEY}))
    two.reset(Script(**{**REPLIES.to_json(), "api_key": "key-of-two"}))
    env = environment(OPENAI_API_KEY=KEY, OPENAI_API_KEY_2="key-of-two")
    assert generate(one, out, *both(pair), n=60, env=env).code == 0
    assert facts(out, "failure") == []
    assert {entry.authorization for entry in one.entries()} == {f"Bearer {KEY}"}
    assert {entry.authorization for entry in two.entries()} == {"Bearer key-of-two"}


def test_models_take_turns_by_request_number_wherever_they_are(
    pair: tuple[ServerProcess, ServerProcess], out: Path, tmp_path: Path
) -> None:
    one, two = pair
    one.reset(Script(**{**REPLIES.to_json(), "model": "a", "check_model": True}))
    two.reset(Script(**{**REPLIES.to_json(), "model": "b", "check_model": True}))
    more = ("--base-url", one.base_url, "--base-url", two.base_url)
    base: list[str | Path] = ["generate", "--n", "120", "--out", out, *more, "--concurrency", "4"]
    assert run(*base, "--model", "a", "--model", "b").code == 0
    asked_of = {fact["k"]: fact["to"] for fact in facts(out, "intent")}
    assert {k % 2 for k, to in asked_of.items() if to == 0} == {0}
    assert {k % 2 for k, to in asked_of.items() if to == 1} == {1}
    # Given the other way round it is the same run.
    swapped = tmp_path / "swapped"
    more = ("--base-url", two.base_url, "--base-url", one.base_url)
    base = ["generate", "--n", "120", "--out", swapped, *more, "--concurrency", "1"]
    assert run(*base, "--model", "b", "--model", "a").code == 0
    assert data(out) == data(swapped)


def test_models_are_asked_of_the_servers(
    pair: tuple[ServerProcess, ServerProcess], out: Path
) -> None:
    pair[0].reset(Script(**{**REPLIES.to_json(), "model": "same"}))
    pair[1].reset(Script(**{**REPLIES.to_json(), "model": "same"}))
    done = run("generate", "--n", "20", "--out", out, *both(pair))
    assert done.code == 0, done.err
    assert manifest(out)["config"]["model"] == "same"


def test_resume_goes_on_at_another_endpoint(
    pair: tuple[ServerProcess, ServerProcess], out: Path
) -> None:
    one, two = pair
    assert generate(one, out, n=40).code == 0
    assert generate(two, out, n=80).code == 0
    paid = Counter({taken["url"]: taken["paid"] for taken in manifest(out)["endpoints"]})
    assert paid == {server.base_url: server.ledger().sold for server in pair}
    assert verify(out) == []


def test_what_a_dialect_taught_belongs_to_its_endpoint(
    pair: tuple[ServerProcess, ServerProcess], out: Path
) -> None:
    """A chat-only server and a completions-only one, side by side and one after the other."""
    one, two = pair
    one.reset(Script(**{**REPLIES.to_json(), "api": "chat"}))
    two.reset(Script(**{**REPLIES.to_json(), "api": "completions"}))
    assert generate(one, out, n=20).code == 0
    assert generate(two, out, n=60).code == 0
    assert two.ledger().paths.keys() == {"/v1/completions"}
    one.reset()
    assert generate(one, out, n=100).code == 0
    # What it taught was not forgotten either.
    assert one.ledger().paths.keys() == {"/v1/chat/completions"}
