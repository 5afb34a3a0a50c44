"""The fault table of DESIGN §4 through a real socket, and the faults of the machine itself.

Concurrency 1 where the order of arrival matters, so that `fault_plan` names request 0's attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from selfinstruct.config import make_config
from selfinstruct.errors import TransportFailed
from selfinstruct.journal import Fact, body_of
from selfinstruct.records import Prompt
from selfinstruct.routes import Endpoint, make_provider
from selfinstruct.verify import verify
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
    server_closed,
)
from tests.scripted_server import FAULTS, Script, ServerProcess

ONE = ("--concurrency", "1")
FATAL = {
    "401": "check OPENAI_API_KEY",
    "403": "check OPENAI_API_KEY",
    "model_404": "check --model",
    "insufficient_quota": "no credit",
    # No key goes to the new place: it is never asked.
    "redirect": "moved to /elsewhere/v1/completions",
    "route_404": "is '/v1' missing in --base-url?",
}
OUTCOMES = {
    "refusal": "refusal",
    "content_filter": "content_filter",
    "content_filter_400": "content_filter",
    "context_400": "context_length",
    "context_400_vllm": "context_length",
    "empty_text": "empty",
}
MALFORMED = (
    "truncated_json",
    "invalid_utf8",
    "html_200",
    "null_body",
    "empty_choices",
    "no_choices",
)
SERVER = ("408", "500", "502", "503", "529")
TRANSPORT = ("reset", "reset_before", "short_body", "hang", "slow_loris")
# Sold, though no whole answer arrived.
LOST_SALES = ("reset", "short_body", "slow_loris")


@pytest.fixture(scope="module")
def shared() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server


@pytest.fixture
def server(shared: ServerProcess) -> ServerProcess:
    """The scripted server without faults, with an empty ledger."""
    shared.reset(Script(tasks_per_reply=17))
    return shared


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def script(**more: Any) -> Script:
    """17 tasks a reply; a 429's Retry-After is short."""
    return Script(**{"tasks_per_reply": 17, "retry_after": 0.05, **more})


def failures(out: Path) -> Counter[tuple[str, int | None]]:
    """(class, status) of the failed attempts in the journal."""
    return Counter((fact["class"], fact["status"]) for fact in facts(out, "failure"))


def attempts(found: list[Fact], request: int) -> list[int]:
    return [fact["attempt"] for fact in found if fact["k"] == request]


def assert_all_there(done: Done, out: Path, n: int) -> dict[str, Any]:
    """The run ended well with n rows, and its files are what its journal gives."""
    assert done.code == 0, done.err
    stated = manifest(out)
    assert (stated["kept"], stated["complete"]) == (n, True)
    assert stated["requests"]["sent"] == len(facts(out, "intent"))
    assert stated["requests"]["failed"] == len(facts(out, "failure"))
    assert stated["requests"]["paid"] == len(facts(out, "reply"))
    assert verify(out) == []
    return stated


def test_every_fault_has_its_row() -> None:
    """The tests below name all kinds that the scripted server has."""
    rest = {"429", "length"}
    assert FATAL.keys() | OUTCOMES.keys() | {*MALFORMED, *SERVER, *TRANSPORT} | rest == FAULTS


# ---------------------------------------------------------------- fatal


def test_refused_for_good(server: ServerProcess, out: Path) -> None:
    """Each refusal in turn in the same directory, until the server has a change of heart."""
    for round, (kind, hint) in enumerate(FATAL.items(), start=1):
        server.reset(script(faults={kind: 1.0}, latency=0.05))
        done = generate(server, out, "--api", "completions", n=100)
        assert done.code == 3, kind
        assert hint in done.complaint
        assert server.ledger().requests <= 4
        assert server.ledger().paths.keys() == {"/v1/completions"}
        assert facts(out, "reply", "outcome", "adapt") == []
        assert {fact["class"] for fact in facts(out, "failure")} == {"refused"}
        assert (manifest(out)["kept"], manifest(out)["complete"]) == (0, False)
        assert len(facts(out, "session")) == round
    server.use(script())
    stated = assert_all_there(generate(server, out, "--api", "completions", n=100), out, 100)
    assert stated["requests"]["paid"] == server.ledger().sold


def test_refused_for_good_in_the_middle(server: ServerProcess, out: Path) -> None:
    bad = 12
    server.reset(script(fault_plan=("ok",) * bad + ("insufficient_quota",) * 99, latency=0.05))
    done = generate(server, out, n=400)
    assert done.code == 3
    assert server.ledger().requests <= bad + 4
    assert server.ledger().sold == len(facts(out, "reply")) == bad
    kept = manifest(out)["kept"]
    assert 0 < kept <= 17 * bad
    before = data(out)["alpaca.en.jsonl"]
    server.use(script())
    assert_all_there(generate(server, out, n=400), out, 400)
    assert data(out)["alpaca.en.jsonl"].startswith(before)
    assert all(count.sold == 1 for count in server.ledger().prompts.values())


def test_a_base_url_without_v1(server: ServerProcess, out: Path) -> None:
    wrong = server.base_url.removesuffix("/v1")
    done = generate(server, out, "--base-url", wrong, n=20)
    assert done.code == 3
    assert "is '/v1' missing in --base-url?" in done.complaint
    assert server.ledger().sold == 0
    # The wrong address had neither API: that says nothing of the right one.
    server.reset()
    assert_all_there(generate(server, out, n=20), out, 20)
    assert server.ledger().paths.keys() == {"/v1/completions"}


# ---------------------------------------------------------------- rate


def test_429_does_not_use_up_attempts(server: ServerProcess, out: Path) -> None:
    # Nine in a row for one request: more than the eight attempts that any other failure has.
    server.reset(script(fault_plan=("429",) * 9))
    stated = assert_all_there(generate(server, out, *ONE, n=17), out, 17)
    assert stated["requests"] == {"decided": 1, "paid": 1, "sent": 10, "failed": 9}
    assert failures(out) == {("rate", 429): 9}
    assert attempts(facts(out, "intent"), 0) == list(range(1, 11))
    assert server.ledger().sold == 1


@pytest.mark.parametrize("date", [False, True])
def test_retry_after_is_waited_for_by_all(server: ServerProcess, out: Path, date: bool) -> None:
    server.reset(script(fault_plan=("429",), retry_after=1.0, retry_after_date=date, latency=0.05))
    stated = assert_all_there(generate(server, out, "--concurrency", "1", n=34), out, 34)
    assert stated["requests"]["failed"] == 1
    entries = server.entries()
    # Without Retry-After the pause is at most half a second.
    assert entries[1].started - entries[0].started >= 0.99


# ---------------------------------------------------------------- server, transport, malformed


def test_server_errors_are_retried(server: ServerProcess, out: Path) -> None:
    server.reset(script(fault_plan=SERVER, latency=0.05))
    stated = assert_all_there(generate(server, out, "--concurrency", "6", n=100), out, 100)
    assert failures(out) == {("server", int(status)): 1 for status in SERVER}
    failed, bought = facts(out, "failure"), facts(out, "reply")
    for fact in failed:
        assert attempts(bought, fact["k"]) == [fact["attempt"] + 1]
    assert server.ledger().sold == stated["requests"]["paid"]
    assert facts(out, "outcome") == []


def test_a_broken_connection_is_retried(server: ServerProcess, out: Path) -> None:
    server.reset(script(fault_plan=TRANSPORT))
    more = ("--concurrency", "6", "--timeout", "3")
    stated = assert_all_there(generate(server, out, *more, n=100), out, 100)
    assert failures(out) == {("transport", None): len(TRANSPORT)}
    messages = Counter(fact["message"] for fact in facts(out, "failure"))
    assert messages["no complete answer in 3 s"] == 2  # hang, slow_loris
    assert server.ledger().sold == stated["requests"]["paid"] + len(LOST_SALES)
    assert facts(out, "outcome") == []


def test_an_answer_that_goes_on_and_on_does_not_fill_the_memory() -> None:
    """At full speed: the deadline alone would let it grow for ten minutes."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for _mebibyte in range(100):
                writer.write(b"100000\r\n%b\r\n" % (b" " * (1 << 20)))
                await writer.drain()
            writer.write(b"0\r\n\r\n")

    async def ask() -> None:
        server = await asyncio.start_server(flood, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        config = make_config({"n": 1, "base_url": url, "model": "m"}, environment={})
        async with server, make_provider(config, Endpoint(url, KEY, "m"), ()) as provider:
            await provider.send(Prompt("Go on.", (), (), 1, 1, 1))

    with pytest.raises(TransportFailed, match="more than 64 MiB") as failed:
        asyncio.run(ask())
    assert failed.value.billed


def test_malformed_answers_are_kept_and_asked_for_again(server: ServerProcess, out: Path) -> None:
    server.reset(script(fault_plan=MALFORMED, latency=0.05))
    stated = assert_all_there(generate(server, out, "--concurrency", "6", n=100), out, 100)
    assert failures(out) == {("malformed", 200): len(MALFORMED)}
    assert stated["requests"]["paid"] == server.ledger().sold
    assert stated["requests"]["paid"] - len(MALFORMED) >= stated["requests"]["decided"]
    bad = {(fact["k"], fact["attempt"]) for fact in facts(out, "failure")}
    bodies = [body_of(f) for f in facts(out, "reply") if (f["k"], f["attempt"]) in bad]
    assert len(bodies) == len(MALFORMED)
    assert any(b"\xff" in body for body in bodies)
    assert any(body.startswith(b"<!DOCTYPE html>") for body in bodies)
    assert b"null" in bodies
    assert facts(out, "outcome") == []


def test_a_third_malformed_answer_settles_the_request(server: ServerProcess, out: Path) -> None:
    server.reset(script(fault_plan=("html_200", "empty_choices", "null_body")))
    # n is what one reply gives: request 1 is not sent before request 0 is settled.
    stated = assert_all_there(generate(server, out, *ONE, n=17), out, 17)
    assert [(fact["k"], fact["reason"]) for fact in facts(out, "outcome")] == [(0, "malformed")]
    assert stated["unusable_replies"] == {"malformed": 1}
    assert stated["requests"]["paid"] == server.ledger().sold == 4
    # Settled is settled, also for the process that comes next.
    assert_all_there(generate(server, out, n=40), out, 40)
    assert attempts(facts(out, "intent"), 0) == [1, 2, 3]
    assert attempts(facts(out, "intent"), 1) == [1]


# ---------------------------------------------------------------- outcomes


def test_outcomes_are_recorded_once_and_never_retried(server: ServerProcess, out: Path) -> None:
    server.reset(script(fault_plan=tuple(OUTCOMES), latency=0.05))
    more = ("--api", "chat", "--concurrency", "6")
    stated = assert_all_there(generate(server, out, *more, n=100), out, 100)
    assert stated["unusable_replies"] == Counter(OUTCOMES.values())
    assert all(count.requests == 1 for count in server.ledger().prompts.values())
    assert server.ledger().sold == stated["requests"]["paid"]
    # A 200 is its own record; the 400s leave a failure and an outcome.
    assert failures(out) == {("outcome", 400): 3}
    reasons = Counter(fact["reason"] for fact in facts(out, "outcome"))
    assert reasons == {"content_filter": 1, "context_length": 2}


def test_outcomes_before_any_good_answer(server: ServerProcess, out: Path) -> None:
    # With the completions API, where a refusal is only a text in which there is no task.
    server.reset(script(fault_plan=tuple(OUTCOMES)))
    stated = assert_all_there(generate(server, out, *ONE, n=17), out, 17)
    assert stated["rejected"] == {"incomplete": 1}
    assert stated["unusable_replies"] == Counter(OUTCOMES.values()) - Counter(["refusal"])
    assert stated["requests"]["sent"] == len(OUTCOMES) + 1
    assert {row["request"] for row in rows(out / "records.jsonl")} == {len(OUTCOMES)}


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_cut_by_length_loses_the_last_block_only(
    server: ServerProcess, out: Path, api: Literal["completions", "chat"]
) -> None:
    server.reset(script(fault_plan=("length",)))
    stated = assert_all_there(generate(server, out, *ONE, "--api", api, n=20), out, 20)
    assert stated["rejected"] == {"unclosed": 1}
    (lost,) = rows(out / "rejected.jsonl")
    assert (lost["request"], lost["position"]) == (0, 16)
    kept = [row["position"] for row in rows(out / "records.jsonl") if row["request"] == 0]
    assert kept == list(range(16))
    assert server.ledger().sold == stated["requests"]["decided"]
    assert failures(out) == {}


# ---------------------------------------------------------------- nothing helps


def test_an_endpoint_that_is_dead_or_only_fails(
    server: ServerProcess, out: Path, tmp_path: Path
) -> None:
    patience = tmp_path / "run.toml"
    patience.write_text("patience = 0.3\n")
    with server_closed(server):
        done = generate(server, out, "--config", patience, n=100)
    assert done.code == 5
    assert server.base_url in done.complaint
    assert facts(out, "reply", "outcome") == []
    assert failures(out).keys() == {("transport", None)}

    server.reset(script(fault_plan=("ok",), faults={"500": 1.0}))
    done = generate(server, out, "--config", patience, n=100)
    assert done.code == 5
    assert server.base_url in done.complaint
    assert "HTTP 500" in done.complaint
    assert server.ledger().sold == len(facts(out, "reply")) == 1
    server.use(script())
    assert_all_there(generate(server, out, n=100), out, 100)


def test_a_dead_endpoint_is_named_when_asked_for_its_model(
    server: ServerProcess, out: Path
) -> None:
    with server_closed(server):
        done = run("generate", "--n", "5", "--out", out, "--base-url", server.base_url)
    assert done.code == 5
    assert server.base_url in done.complaint
    assert not out.exists()


def garbage(prompt: str, rng: random.Random) -> str:
    """What a model says that has not understood."""
    return " ".join(rng.choices(("lorem", "ipsum", "###", "5.", "Output", "dolor\n"), k=40))


def test_garbage_for_ever_is_given_up(server: ServerProcess, out: Path, tmp_path: Path) -> None:
    barren = tmp_path / "run.toml"
    barren.write_text("max_barren = 6\n")
    server.reset(script(reply_hook="tests.test_faults:garbage"))
    done = generate(server, out, "--config", barren, n=20)
    assert done.code == 5
    assert "the last 6 replies gave no new row" in done.complaint
    assert "incomplete" in done.complaint
    assert "rejected.jsonl" in done.complaint
    stated = manifest(out)
    assert (stated["kept"], stated["complete"]) == (0, False)
    assert stated["rejected"]["incomplete"] >= 6
    # Six decided, and 20 missing rows would have needed two more.
    assert server.ledger().sold <= 1.25 * (6 + 2) + 2
    assert all(count.sold == 1 for count in server.ledger().prompts.values())


# ---------------------------------------------------------------- all at once


def test_all_faults_at_once(server: ServerProcess, out: Path) -> None:
    passing = sorted(FAULTS - FATAL.keys())
    server.reset(
        script(
            tasks_per_reply=(2, 6),
            bad_share=0.1,
            duplicate_share=0.1,
            faults={kind: 0.9 / len(passing) for kind in passing},
            fault_attempts=2,
        )
    )
    more = ("--api", "chat", "--concurrency", "64", "--timeout", "2", "--quiet")
    assert_all_there(generate(server, out, *more, n=150), out, 150)
    assert server.ledger().kinds.keys() >= {"hang", "429", "503", "reset", "html_200", "length"}


def test_every_fault_at_four_percent(server: ServerProcess, out: Path, tmp_path: Path) -> None:
    """24 faults, as often as all of them fit at once: one first attempt of 25 goes well."""
    passing = sorted(FAULTS - FATAL.keys())
    assert len(passing) == 24
    calm = {"tasks_per_reply": (4, 8), "bad_share": 0.1, "duplicate_share": 0.1}
    server.reset(script(**calm, faults=dict.fromkeys(passing, 0.04), fault_attempts=1))
    width = 64
    more = ("--api", "chat", "--concurrency", str(width), "--timeout", "2", "--quiet")
    files, memory = 0, 0
    with running(*asked(server, out, *more, n=2000), env=environment(OPENAI_API_KEY=KEY)) as run_:
        while run_.poll() is None:
            with contextlib.suppress(OSError, StopIteration):
                files = max(files, sum(1 for _ in Path(f"/proc/{run_.pid}/fd").iterdir()))
                status = Path(f"/proc/{run_.pid}/status").read_text().splitlines()
                peak = next(line for line in status if line.startswith("VmHWM"))
                memory = max(memory, int(peak.split()[1]))
            time.sleep(0.05)
        done = finish(run_)
    assert_all_there(done, out, 2000)
    assert server.ledger().kinds.keys() >= set(passing)
    # A socket a request, and what a process has open anyway.
    assert width / 2 < files <= width + 40
    assert 0 < memory < 400_000
    # What arrived whole is what the run without faults gets, row for row.
    quiet = tmp_path / "quiet"
    server.reset(script(**calm))
    assert generate(server, quiet, *more, n=2000).code == 0
    fields = ("id", "instruction", "input", "output")
    found = {tuple(row[f] for f in fields) for row in judged(quiet)}
    cut = {fact["k"] for fact in facts(out, "reply") if b'"length"' in body_of(fact)}
    theirs = max(row["request"] for row in judged(quiet))
    mine = [row for row in judged(out) if row["request"] <= theirs and row["request"] not in cut]
    assert len(mine) > 1000
    assert all(tuple(row[f] for f in fields) in found for row in mine)


def judged(out: Path) -> list[dict[str, Any]]:
    """Every candidate, kept or not."""
    return rows(out / "records.jsonl") + rows(out / "rejected.jsonl")


# ---------------------------------------------------------------- the machine


def limited_to(size: int) -> None:
    """No file of this process may grow beyond `size` bytes: write(2) then says EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_full_disk(server: ServerProcess, out: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert generate(server, whole, "--quiet", n=300).code == 0
    full = (whole / "journal.jsonl").stat().st_size
    header = (whole / "journal.jsonl").read_bytes().index(b"\n") + 1
    server.reset(script(latency=0.05))
    # Too small for the first line: nothing is bought.
    done = generate(server, out, n=300, before=lambda: limited_to(10_000))
    assert done.code == 4
    assert "cannot write" in done.complaint
    assert server.ledger().requests == 0
    assert facts(out) == []

    size = header + (full - header) // 2
    done = generate(server, out, n=300, before=lambda: limited_to(size))
    assert done.code == 4
    assert f"cannot write {out / 'journal.jsonl'}: File too large" in done.complaint
    assert 0 < (out / "journal.jsonl").stat().st_size <= size
    assert 0 < len(facts(out, "reply")) < server.ledger().sold
    assert not list(out.glob(".*.tmp"))

    # What was on the wire is in the room set aside, and moves when there is room again.
    again = generate(server, out, n=300, before=lambda: limited_to(size))
    assert again.code == 4
    assert (out / "journal.spill").stat().st_size > 0
    server.use(script())
    done = generate(server, out, n=300)
    assert done.code == 0
    assert "were kept beside the journal and are back in it" in done.err
    assert not (out / "journal.spill").exists()
    assert data(out) == data(whole)
    assert len(facts(out, "reply")) == server.ledger().sold
    assert all(count.sold == 1 for count in server.ledger().prompts.values())
    assert verify(out) == []


def test_a_directory_that_cannot_be_made(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = generate(server, tmp_path / "file" / "run")
    assert done.code == 2
    assert str(tmp_path / "file" / "run") in done.complaint
    assert server.ledger().requests == 0


def test_the_server_goes_away_and_comes_back(server: ServerProcess, out: Path) -> None:
    server.reset(script(latency=0.05))
    with running(*asked(server, out, n=300)) as process:
        server.wait(sold=5)
        with server_closed(server):
            assert process.poll() is None
        assert_all_there(finish(process), out, 300)
