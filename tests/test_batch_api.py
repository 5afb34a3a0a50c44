"""Runs through the Batch API: the same rows as online, nothing lost, nothing bought twice."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from selfinstruct.batches import batch_token, poll_seconds, result_path
from selfinstruct.batches.ledger import Ledger
from selfinstruct.budget import Budget
from selfinstruct.errors import UsageError
from selfinstruct.history import History
from selfinstruct.journal import Journal
from selfinstruct.providers.batch_api import Seen, read_lines
from tests.cli import (
    KEY,
    Done,
    bytes_under,
    data,
    environment,
    facts,
    finish,
    generate,
    manifest,
    run,
    running,
)
from tests.fake_batches import Ending, FakeBatches
from tests.scripted_server import ROOT, Script, ServerProcess

TEXTS = Script(tasks_per_reply=4, duplicate_share=0.1, bad_share=0.1)
ENV = environment(OPENAI_API_KEY=KEY, SELFINSTRUCT_BATCH_POLL="0.005")
N = 40
LIMIT = "token_limit_exceeded"
SIGNALLED = 128 + signal.SIGINT


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The row files of an online run."""
    out = tmp_path_factory.mktemp("online") / "run"
    with ServerProcess(TEXTS) as server:
        done = generate(server, out, "--tasks", "4", n=N)
    assert done.code == 0, done.err
    return data(out)


def asked(fake: FakeBatches, out: Path, *more: str, n: int = N) -> list[str]:
    where = ["--base-url", fake.base_url, "--model", "asked-model", "--tasks", "4"]
    return ["generate", "--n", str(n), "--out", str(out), *where, "--batch-api", *more]


def buy(fake: FakeBatches, out: Path, *more: str, n: int = N) -> Done:
    return run(*asked(fake, out, *more, n=n), env=ENV)


def finished(fake: FakeBatches, out: Path, online: dict[str, bytes]) -> None:
    """What must be true of every run in the end, however it came about."""
    assert data(out) == online
    stated = manifest(out)
    assert stated["complete"]
    assert stated["kept"] == N
    assert max(fake.sold().values()) == 1, fake.sold()
    assert stated["requests"]["paid"] == fake.sold().total()
    assert verify(out) == []
    # Every batch that was created was read: none was made beside another one.
    ends = [fact for fact in facts(out, "batch_ended") if fact["status"] != "never submitted"]
    assert len(ends) == len(fake.batches)
    assert not History.load(out).batches
    assert KEY.encode() not in bytes_under(out)
    assert fake.keys == {f"Bearer {KEY}"}


def verify(out: Path) -> list[str]:
    problems = run("verify", out, "--json").json["problems"]
    assert isinstance(problems, list)
    return problems


def waiting(fake: FakeBatches) -> bool:
    return fake.calls["look"] >= 3


# ── the whole way ────────────────────────────────────────────────────────────────────────────


def test_a_run_gives_the_rows_of_an_online_run(tmp_path: Path, online: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS) as fake:
        done = buy(fake, out, "--json")
        assert done.code == 0, done.err
        assert done.json["kept"] == N
        finished(fake, out, online)
        assert "online" not in fake.calls
        again = buy(fake, out)
        assert again.code == 0
        assert fake.sold().total() == manifest(out)["requests"]["sent"], "nothing more is sent"
    held = {fact["b"]: fact for fact in facts(out, "batch")}
    assert len(held) >= 2, "what the first round did not give is asked for in another one"
    header = facts(out, "run")[0]
    assert [batch_token(header, b) for b in held] == [fact["token"] for fact in held.values()]
    assert len({fact["token"] for fact in held.values()}) == len(held)
    for fact in facts(out, "intent"):
        assert fact["batch"] in held
        assert fact["to"] == 0
    assert result_path(out, 0, "output").read_bytes() == fake.files["file-1"]


def test_the_bodies_are_those_of_an_online_run(tmp_path: Path) -> None:
    flags = ["--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "700", "--choices", "2"]
    for number, more in enumerate((flags, [*flags, "--structured"])):
        with FakeBatches(TEXTS) as fake:
            assert buy(fake, tmp_path / f"batch{number}", *more, n=24).code == 0
            sent = [request for batch in fake.batches.values() for request in batch.requests]
            plain = asked(fake, tmp_path / f"online{number}", *more, n=24)
            plain.remove("--batch-api")
            assert run(*plain, env=ENV).code == 0
        bodies = {body["seed"]: body for body in fake.online}
        same = [r for r in sent if r["body"]["seed"] in bodies]
        assert len(same) >= 3
        assert all(request["body"] == bodies[request["body"]["seed"]] for request in same)
        url = "/v1/chat/completions" if "--structured" in more else "/v1/completions"
        assert {request["url"] for request in sent} == {url}


def test_it_costs_half(tmp_path: Path) -> None:
    """Of the table's price; a price given by hand is what the user pays."""
    cost = {}
    for way in ([], ["--batch-api"]):
        out = tmp_path / f"run{len(way)}"
        with FakeBatches(TEXTS) as fake:
            where = ["--base-url", fake.base_url, "--model", "gpt-4o-mini", "--tasks", "4"]
            done = run("generate", "--n", "8", "--out", out, *where, *way, "--json", env=ENV)
        assert done.code == 0, done.err
        tokens = done.json["tokens"]["prompt"] + done.json["tokens"]["completion"]
        cost[bool(way)] = done.json["cost"]["usd"] / tokens
        assert cost[bool(way)] > 0
    assert cost[True] == pytest.approx(cost[False] / 2, rel=0.1)


def test_two_languages_and_two_models(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FakeBatches(Script(tasks_per_reply=4)) as fake:
        where = ["--base-url", fake.base_url, "--model", "a", "--model", "b", "--tasks", "4"]
        many = ["--n", "8", "--lang", "en", "--lang", "zh", "--out", str(out)]
        done = run("generate", *many, *where, "--batch-api", "--config", _barren(tmp_path), env=ENV)
        models = {b.id: {r["body"]["model"] for r in b.requests} for b in fake.batches.values()}
        assert all(len(found) == 1 for found in models.values()), "a batch is for one model"
        assert set.union(*models.values()) == {"a", "b"}
        assert max(fake.sold().values()) == 1
    assert done.code in (0, 5)  # The scripted texts are English: zh keeps none of them.
    assert manifest(out)["languages"]["en"]["kept"] == 8
    assert verify(out) == []


def _barren(folder: Path) -> str:
    path = folder / "few.toml"
    path.write_text("max_barren = 4\n")
    return str(path)


def test_the_first_endpoint_of_each_model_is_used(tmp_path: Path) -> None:
    with FakeBatches(TEXTS) as fake, FakeBatches(TEXTS) as other:
        done = buy(fake, tmp_path / "run", "--base-url", other.base_url)
        assert done.code == 0, done.err
        assert not other.calls
        assert "first endpoint" in done.err


# ── crashes ──────────────────────────────────────────────────────────────────────────────────

POINTS = (
    "after:write/run:1",
    "before:write/batch:1",
    "half:write/batch:1",
    "after:write/batch:1",
    "after:write/intent:3",
    "half:write/intent:12",
    "power-cut:fsync/journal.jsonl:2",
    "after:fsync/journal.jsonl:2",
    "before:write/batch_uploaded:1",
    "after:write/batch_uploaded:1",
    "before:write/batch_submitted:1",
    "half:write/batch_submitted:1",
    "after:write/batch_submitted:1",
    "power-cut:fsync/journal.jsonl:4",
    "after:write/batch_seen:2",
    "before:rename/0000.output.jsonl:1",
    "after:rename/0000.output.jsonl:1",
    "before:write/reply:5",
    "half:write/reply:5",
    "after:write/reply:7",
    "before:write/failure:1",
    "after:write/failure:1",
    "after:write/outcome:1",
    "power-cut:fsync/journal.jsonl:5",
    "before:write/batch_ended:1",
    "after:write/batch_ended:1",
    "before:write/batch:2",
    "before:write/batch_submitted:2",
    "before:write/session:1",
    "before:rename/manifest.json:1",
)


@pytest.fixture(scope="module")
def faulty() -> dict[str, Any]:
    """A first batch with an error line, one refused for its content and one without any line."""
    return {"endings": [Ending(faults={1: "500", 2: "context_400", 4: "silent"})]}


@pytest.fixture(scope="module")
def after_faults(
    tmp_path_factory: pytest.TempPathFactory, faulty: dict[str, Any]
) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("faulty") / "run"
    with FakeBatches(TEXTS, **faulty) as fake:
        assert buy(fake, out).code == 0
    return data(out)


@pytest.mark.parametrize(
    ("point", "keeps_metadata"),
    [
        *((point, True) for point in POINTS),
        # Only the search for a batch reads the metadata.
        *((point, False) for point in POINTS if "batch_submitted" in point),
    ],
)
def test_killed_at_any_point_nothing_is_lost_or_bought_twice(
    point: str,
    keeps_metadata: bool,
    tmp_path: Path,
    faulty: dict[str, Any],
    after_faults: dict[str, bytes],
) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, **faulty, keeps_metadata=keeps_metadata) as fake:
        command = [sys.executable, "-m", "tests.crash_child", point, "--", *asked(fake, out)]
        killed = subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        created = fake.calls["create"]
        done = buy(fake, out)
        assert done.code == 0, done.err
        finished(fake, out, after_faults)
        if "write/batch_submitted:1" in point:
            assert created == 1
            assert ("found at the provider" in done.err) == (not point.startswith("after"))


def test_a_batch_is_found_among_many(tmp_path: Path, online: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS) as fake:
        point = "before:write/batch_submitted:1"
        command = [sys.executable, "-m", "tests.crash_child", point, "--", *asked(fake, out)]
        subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True, check=False)
        for number in range(7):
            assert buy(fake, tmp_path / f"other{number}", n=1).code == 0
        assert buy(fake, out).code == 0
        assert data(out) == online
        assert fake.calls["list"] == 3, "three to a page, eight batches, newest first"


# ── how batches end ──────────────────────────────────────────────────────────────────────────


def test_what_an_expired_batch_has_is_kept(tmp_path: Path, online: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, endings=[Ending("expired", answered=6)]) as fake:
        done = buy(fake, out)
        assert done.code == 0, done.err
        assert "expired: 6 of" in done.err
        finished(fake, out, online)
        first, second = list(fake.batches.values())[:2]
        assert len(first.sold) == 6
        assert {r["custom_id"] for r in first.requests[6:]} <= {
            r["custom_id"] for r in second.requests
        }
    failures = facts(out, "failure")
    assert {fact["class"] for fact in failures} == {"batch"}
    assert not any(fact.get("billed") for fact in failures)
    assert manifest(out)["tokens"]["doubtful"] == 0


def test_a_batch_that_expires_empty_ends_the_run(tmp_path: Path, online: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, endings=[Ending("expired", answered=0)]) as fake:
        done = buy(fake, out)
        assert done.code == 5
        assert "expired: 0 of" in done.complaint
        assert fake.calls["create"] == 1
        assert verify(out) == []
        assert buy(fake, out).code == 0
        finished(fake, out, online)


def test_error_lines_go_into_the_next_round(tmp_path: Path, online: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    faults = {0: "429", 3: "500", 5: "no_response", 6: "503"}
    with FakeBatches(TEXTS, endings=[Ending(faults=faults)]) as fake:
        assert buy(fake, out).code == 0
        finished(fake, out, online)
    classes = [fact["class"] for fact in facts(out, "failure")]
    assert sorted(classes) == ["rate", "server", "server", "server"]
    again = [fact for fact in facts(out, "intent") if fact["attempt"] == 2]
    assert {fact["k"] for fact in again} == {0, 3, 5, 6}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("500", "exhausted"), ("429", "exhausted"), ("empty_choices", "malformed")],
)
def test_a_request_is_given_up_after_three_rounds(tmp_path: Path, fault: str, reason: str) -> None:
    out = tmp_path / "run"
    # In the second and later batches the request is the first one again: the lowest index.
    endings = [Ending(faults={0: fault})] * 3
    with FakeBatches(TEXTS, endings=endings) as fake:
        done = buy(fake, out)
        assert done.code == 0, done.err
        asked_for = [b for b in fake.batches.values() if b.requests[0]["custom_id"] == "en-0"]
        assert len(asked_for) == 3
    outcomes = facts(out, "outcome")
    assert [(fact["k"], fact["reason"]) for fact in outcomes] == [(0, reason)]
    stated = manifest(out)
    assert stated["unusable_replies"] == {reason: 1}
    assert (stated["tokens"]["doubtful"] > 0) == (fault == "empty_choices"), "it may be charged"
    assert verify(out) == []


def test_a_context_error_settles_the_request(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, endings=[Ending(faults={2: "context_400"})]) as fake:
        assert buy(fake, out).code == 0
        assert fake.sold()["en-2"] == 0
    assert [fact["k"] for fact in facts(out, "outcome")] == [2]
    assert manifest(out)["unusable_replies"] == {"context_length": 1}
    assert verify(out) == []


def test_what_a_model_refuses_is_sent_differently(tmp_path: Path) -> None:
    out = tmp_path / "run"
    script = Script(tasks_per_reply=4, refuse_params={"max_tokens": "max_completion_tokens"})
    with FakeBatches(script) as fake:
        done = buy(fake, out)
        assert done.code == 0, done.err
        assert max(fake.sold().values()) == 1
        assert "max_completion_tokens" in fake.batches["batch_1"].requests[0]["body"]
    changes = [fact["change"] for fact in facts(out, "adapt")]
    assert changes == ["max_tokens=max_completion_tokens"]
    assert {fact["class"] for fact in facts(out, "failure")} == {"adapt"}
    assert verify(out) == []


def test_a_chat_model_is_asked_by_chat(tmp_path: Path) -> None:
    """Whether the provider says so line by line or of the whole batch."""
    message = "This is a chat model and not supported in the v1/completions endpoint."
    whole = [Ending("failed", errors=({"code": "invalid_request", "message": message},))]
    for number, endings in enumerate(([], whole)):
        out = tmp_path / f"run{number}"
        with FakeBatches(Script(tasks_per_reply=4, api="chat"), endings=endings) as fake:
            done = buy(fake, out)
            assert done.code == 0, done.err
            urls = [batch.endpoint for batch in fake.batches.values()]
            assert urls[0] == "/v1/completions"
            assert set(urls[1:]) == {"/v1/chat/completions"}
        assert verify(out) == []


def test_a_batch_that_fails_its_validation_ends_the_run(
    tmp_path: Path, online: dict[str, bytes]
) -> None:
    out = tmp_path / "run"
    errors = ({"code": "invalid_json", "line": 3, "message": f"Line 3 is no JSON; key {KEY}"},)
    with FakeBatches(TEXTS, endings=[Ending("failed", errors=errors)]) as fake:
        done = buy(fake, out)
        assert done.code == 3
        assert "Line 3 is no JSON; key ***" in done.complaint
        assert verify(out) == []
        assert buy(fake, out).code == 0
        finished(fake, out, online)


def test_a_token_limit_halves_the_batches(tmp_path: Path, online: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, token_limit=3) as fake:
        done = buy(fake, out)
        assert done.code == 0, done.err
        finished(fake, out, online)
        sizes = [len(batch.requests) for batch in fake.batches.values() if batch.sold]
        assert max(sizes) <= 3
        assert len(sizes) >= 4
        tried = len(fake.batches) - len(sizes)
        assert tried <= 3, "each time half as many"
    assert {fact["code"] for fact in facts(out, "batch_ended")} == {"", LIMIT}


def test_a_token_limit_below_one_request_ends_the_run(tmp_path: Path) -> None:
    with FakeBatches(TEXTS, token_limit=0) as fake:
        done = buy(fake, tmp_path / "run")
        assert done.code == 3
        assert "Enqueued token limit" in done.complaint


@pytest.mark.parametrize("fault", ["401", "insufficient_quota", "model_404"])
def test_a_refusal_for_good_in_a_line_ends_the_run(
    tmp_path: Path, fault: str, online: dict[str, bytes]
) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, endings=[Ending(faults={1: fault})]) as fake:
        done = buy(fake, out)
        assert done.code == 3
        assert fake.calls["create"] == 1
        assert verify(out) == []
        assert buy(fake, out).code == 0
        finished(fake, out, online)


def test_a_provider_that_answers_nothing_settles_nothing(
    tmp_path: Path, online: dict[str, bytes]
) -> None:
    out = tmp_path / "run"
    broken = Ending(faults=dict.fromkeys(range(100), "500"))
    with FakeBatches(TEXTS, endings=[broken] * 4) as fake:
        for _ in range(4):
            done = buy(fake, out)
            assert done.code == 5
            assert "The server had an error" in done.complaint
        assert not facts(out, "outcome")
        assert buy(fake, out).code == 0
        finished(fake, out, online)


def test_unknown_double_and_unreadable_lines(tmp_path: Path) -> None:
    out = tmp_path / "run"
    body = b'{"choices":[{"text":"another","finish_reason":"stop"}]}'
    line = b'{"custom_id":"%s","response":{"status_code":200,"body":' + body + b"}}"
    extra = (line % b"en-999", line % b"en-1", line % b"de-1")
    with FakeBatches(TEXTS, endings=[Ending(faults={4: "garbage"}, extra=extra)]) as fake:
        done = buy(fake, out)
        assert done.code == 0, done.err
        assert "3 unknown lines" in done.err
        assert "1 unreadable lines" in done.err
        assert fake.sold()["en-4"] == 2, "it was charged, but nobody can read what it bought"
    assert len([fact for fact in facts(out, "reply") if fact["k"] == 1]) == 1
    [lost] = facts(out, "failure")
    assert (lost["k"], lost["class"], lost["billed"]) == (4, "batch", True)
    assert manifest(out)["tokens"]["doubtful"] > 0
    assert verify(out) == []


def test_a_counted_answer_without_a_line_may_have_been_charged(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, endings=[Ending(faults={2: "lost_line"})]) as fake:
        done = buy(fake, out)
        assert done.code == 0, done.err
        assert fake.sold()["en-2"] == 2
    [lost] = facts(out, "failure")
    assert (lost["k"], lost["class"], lost["billed"]) == (2, "batch", True)
    assert verify(out) == []


# ── leaving, coming back, cancelling ─────────────────────────────────────────────────────────


def leave(fake: FakeBatches, out: Path, number: int = signal.SIGINT) -> Done:
    with running(*asked(fake, out), env=ENV) as process:
        fake.wait(waiting)
        process.send_signal(number)
        return finish(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_batch_at_the_provider(
    tmp_path: Path, online: dict[str, bytes], number: int
) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True) as fake:
        left = leave(fake, out, number)
        assert left.code == 128 + number
        assert f"selfinstruct resume {out}" in left.complaint
        assert f"selfinstruct cancel {out}" in left.complaint
        assert "batch_0 goes on" in left.complaint
        assert verify(out) == []
        assert manifest(out)["tokens"]["doubtful"] == 0, "its answers are still to come"
        fake.release()
        done = run("resume", out, env=ENV)
        assert done.code == 0, done.err
        finished(fake, out, online)


def test_status_shows_open_batches_without_the_network(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True) as fake:
        leave(fake, out)
        requests = len(fake.batches["batch_0"].requests)
        calls = fake.calls.total()
        [batch] = run("status", out, "--json").json["batches"]
        said = run("status", out).out
        assert fake.calls.total() == calls
    assert (batch["id"], batch["status"], batch["requests"]) == ("batch_0", "in_progress", requests)
    assert f"open batch batch_0: in_progress when last seen, 0 of {requests}" in said


def test_a_signal_while_a_batch_is_created_waits_for_its_name(
    tmp_path: Path, online: dict[str, bytes]
) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True) as fake:
        point = "SIGINT:write/batch_uploaded:1"
        command = [sys.executable, "-m", "tests.crash_child", point, "--", *asked(fake, out)]
        done = subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True, check=False)
        assert done.returncode == SIGNALLED, done.stderr
        assert fake.calls["look"] == 0, "nothing after it"
        assert len(facts(out, "batch_submitted")) == fake.calls["create"] == 1
        fake.release()
        assert buy(fake, out).code == 0
        assert fake.calls["list"] == 0
        finished(fake, out, online)


def test_cancel_then_resume(tmp_path: Path, online: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True, endings=[Ending(answered=4)]) as fake:
        leave(fake, out)
        journal = (out / "journal.jsonl").read_bytes()
        [row] = run("cancel", out, "--json", env=ENV).json["batches"]
        assert (row["id"], row["status"]) == ("batch_0", "cancelling")
        assert (out / "journal.jsonl").read_bytes() == journal
        again = run("cancel", out, env=ENV)
        assert "batch_0" in again.out
        fake.release()
        done = run("resume", out, env=ENV)
        assert done.code == 0, done.err
        assert "cancelled: 4 of" in done.err
        finished(fake, out, online)
        assert "no open batches" in run("cancel", out, env=ENV).out


def test_cancel_while_a_process_waits_ends_it(tmp_path: Path, online: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True, endings=[Ending(answered=4)]) as fake:
        with running(*asked(fake, out), env=ENV) as process:
            fake.wait(waiting)
            assert run("cancel", out, env=ENV).code == 0
            done = finish(process)
        assert done.code == 5
        assert "was cancelled; 4 of" in done.complaint
        assert fake.calls["create"] == 1, "nothing more is bought"
        assert verify(out) == []
        fake.release()
        assert run("resume", out, env=ENV).code == 0
        finished(fake, out, online)


def test_cancel_finds_a_batch_whose_name_was_lost(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True) as fake:
        point = "before:write/batch_submitted:1"
        command = [sys.executable, "-m", "tests.crash_child", point, "--", *asked(fake, out)]
        subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True, check=False)
        [row] = run("cancel", out, "--json", env=ENV).json["batches"]
        assert (row["id"], row["status"]) == ("batch_0", "cancelling")
        assert fake.batches["batch_0"].status == "cancelling"


def test_going_on_online_fetches_the_open_batch_first(
    tmp_path: Path, online: dict[str, bytes]
) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True, endings=[Ending(answered=4)]) as fake:
        leave(fake, out)
        assert run("cancel", out, env=ENV).code == 0
        fake.release()
        command = asked(fake, out)
        command.remove("--batch-api")
        done = run(*command, env=ENV)
        assert done.code == 0, done.err
        assert data(out) == online
        assert fake.calls["create"] == 1
        assert len(fake.online) > 0
        bought = {(fact["k"], fact["lang"]) for fact in facts(out, "reply")}
        assert len(bought) == len(facts(out, "reply")), "none of them twice"
        assert verify(out) == []


def test_another_plan_does_not_throw_an_open_batch_away(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True) as fake:
        leave(fake, out)
        done = buy(fake, out, "--seed", "7")
        assert done.code == 2
        assert "seed" in done.complaint
        assert History.load(out).batches


def test_an_open_batch_elsewhere_is_named(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True) as fake, FakeBatches(TEXTS) as other:
        leave(fake, out)
        done = buy(other, out)
        assert done.code == 2
        assert fake.base_url in done.complaint
        assert not other.calls


# ── trouble on the wire ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "troubles",
    [
        {("look", 1): "500", ("look", 2): "reset", ("look", 4): "html"},
        {("upload", 1): "503"},
        {("upload", 1): "reset"},
        {("create", 1): "500"},
        {("create", 1): "lost"},
        {("create", 1): "lost", ("list", 1): "500"},
        {("create", 2): "html"},
        {("content", 1): "reset", ("content", 2): "500"},
    ],
    ids=lambda troubles: "+".join(f"{route}-{kind}" for (route, _), kind in troubles.items()),
)
def test_broken_calls_are_made_again(
    tmp_path: Path, troubles: dict[tuple[str, int], str], online: dict[str, bytes]
) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, troubles=troubles) as fake:
        done = buy(fake, out)
        assert done.code == 0, done.err
        finished(fake, out, online)
        assert not facts(out, "failure")


@pytest.mark.parametrize("route", ["upload", "create", "look", "content"])
def test_a_refused_key_ends_the_run(tmp_path: Path, route: str, online: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, troubles={(route, 1): "401"}) as fake:
        done = buy(fake, out)
        assert done.code == 3
        assert "OPENAI_API_KEY" in done.complaint
        assert KEY not in done.err
        assert buy(fake, out).code == 0
        finished(fake, out, online)


def test_a_redirect_is_not_followed_with_a_key(tmp_path: Path) -> None:
    with FakeBatches(TEXTS, troubles={("upload", 1): "redirect"}) as fake:
        done = buy(fake, tmp_path / "run")
        assert done.code == 3
        assert "moved to /elsewhere" in done.complaint
        assert fake.calls == {"upload": 1}


def test_a_server_that_is_gone(tmp_path: Path, online: dict[str, bytes]) -> None:
    out, hurry = tmp_path / "run", tmp_path / "hurry.toml"
    hurry.write_text("patience = 0.01\n")
    with FakeBatches(TEXTS, troubles={("look", n): "reset" for n in range(2, 9)}) as fake:
        done = buy(fake, out, "--config", str(hurry))
        assert done.code == 5
        assert "no answer for" in done.complaint
        assert verify(out) == []
        fake.troubles.clear()
        assert buy(fake, out).code == 0
        finished(fake, out, online)


def test_a_server_without_batches(tmp_path: Path) -> None:
    with ServerProcess(TEXTS) as server:
        done = run(
            "generate", "--n", "4", "--out", tmp_path / "run", "--base-url", server.base_url,
            "--model", "m", "--batch-api", env=ENV,
        )  # fmt: skip
    assert done.code == 3
    assert "/v1/batches" in done.complaint


# ── money ────────────────────────────────────────────────────────────────────────────────────


def test_the_budget_limits_a_round_and_is_never_passed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS) as fake:
        done = buy(fake, out, "--max-total-tokens", "9000", "--max-tokens", "1500")
        assert done.code == 6
        assert "9,000" in done.complaint
        sizes = [len(batch.requests) for batch in fake.batches.values()]
        assert len(sizes) >= 2, "what a round left over, the next one spends"
        for number in range(len(sizes)):
            intents = [fact for fact in facts(out, "intent") if fact["batch"] == number]
            assert sum(sum(fact["most"]) for fact in intents) <= 9000
        tokens = manifest(out)["tokens"]
        assert tokens["prompt"] + tokens["completion"] <= 9000
        assert verify(out) == []
        assert buy(fake, out, "--max-total-tokens", "9000000", "--max-tokens", "1500").code == 0
        assert max(fake.sold().values()) == 1


def test_what_an_open_batch_holds_counts_against_the_budget(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with FakeBatches(TEXTS, held=True, endings=[Ending("expired", answered=1)]) as fake:
        flags = ["--max-total-tokens", "9000", "--max-tokens", "1500"]
        with running(*asked(fake, out, *flags), env=ENV) as process:
            fake.wait(waiting)
            process.kill()
            process.communicate()
        history = History.load(out)
        assert history.totals.spent.tokens == 0
        held = sum(most.total for batch in history.batches.values() for most in batch.held.values())
        assert 5000 < held <= 9000
        budget = Budget(tokens=9000)
        Ledger(Journal(out), history, budget).balance()
        assert budget.held.tokens == held
        fake.release()
        assert buy(fake, out, *flags).code == 6
        assert len(fake.batches) >= 2, "what the expired batch gave back was spent again"
        assert verify(out) == []


def test_a_budget_too_small_for_one_request(tmp_path: Path) -> None:
    with FakeBatches(TEXTS) as fake:
        done = buy(fake, tmp_path / "run", "--max-total-tokens", "1000")
        assert done.code == 6
        assert not fake.calls


# ── small pieces ─────────────────────────────────────────────────────────────────────────────


def test_the_poll_variable() -> None:
    assert poll_seconds({}) == (30.0, 300.0)
    assert poll_seconds({"SELFINSTRUCT_BATCH_POLL": "2"}) == (2.0, 2.0)
    for wrong in ("0", "-1", "soon", "nan", "1e9"):
        with pytest.raises(UsageError, match="SELFINSTRUCT_BATCH_POLL"):
            poll_seconds({"SELFINSTRUCT_BATCH_POLL": wrong})


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        b'{"custom_id":"a","response":{}}',
        b'{"custom_id":"a","response":{"status_code":null}}',
        b'{"response":{"status_code":200}}',
        b'{"custom_id":"a","response":{"status_code":1e999}}',
    ],
)
def test_lines_that_nobody_can_read(raw: bytes) -> None:
    good = b'{"custom_id":"en-1","response":{"status_code":200,"body":{"a":"\\ud800"}}}'
    bad, line = read_lines([raw, b"\n", good])
    assert bad is None
    assert line is not None
    assert line.body == '{"a": "\\ud800"}'


@pytest.mark.parametrize("errors", [5, {"data": 5}, {"data": [5]}, {"data": "x"}, [], None])
def test_errors_of_a_batch_in_any_shape(errors: object) -> None:
    assert Seen.read({"id": "b", "status": "failed", "errors": errors}).errors == ()


def test_a_copied_token_is_no_other_runs(tmp_path: Path) -> None:
    """Two runs with the same flags have different tokens: their headers have different times."""
    tokens = set()
    with FakeBatches(TEXTS) as fake:
        for name in ("a", "b"):
            assert buy(fake, tmp_path / name, n=4).code == 0
            tokens |= {fact["token"] for fact in facts(tmp_path / name, "batch")}
            assert max(batch.sold.most_common(1)[0][1] for batch in fake.batches.values()) == 1
    assert all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)
    assert len(tokens) == sum(1 for _ in fake.batches)
