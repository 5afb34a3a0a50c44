"""`selfinstruct generate` and its sister commands, from outside: real processes, a real socket."""

from __future__ import annotations

import re
import shutil
import signal
import stat
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from selfinstruct.verify import verify
from tests.cli import (
    DATA,
    KEY,
    Done,
    asked,
    bytes_under,
    data,
    environment,
    facts,
    finish,
    generate,
    manifest,
    rows,
    run,
    run_together,
    running,
    server_closed,
)
from tests.scripted_server import ROOT, Script, ServerProcess

# Few tasks a reply, some of them bad: many requests, every kind of verdict.
MIXED: dict[str, Any] = {"tasks_per_reply": (2, 8), "bad_share": 0.15, "duplicate_share": 0.15}
MIXED_ROWS = 60
# At most 12 characters, which the scripted 401 echoes in full.
CANARY = "sk-canary-42"
USER, PASSWORD, TOKEN = "alice-canary", "pw-canary", "query-canary"


@pytest.fixture(scope="module")
def shared() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server


@pytest.fixture(scope="module")
def finished(shared: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of MIXED at concurrency 1: the bytes that all others must have. Read only."""
    shared.reset(Script(**MIXED))
    out = tmp_path_factory.mktemp("finished") / "run"
    assert generate(shared, out, "--concurrency", "1", n=MIXED_ROWS).code == 0
    assert shared.ledger().peak_in_flight == 1
    return out


@pytest.fixture
def server(shared: ServerProcess) -> ServerProcess:
    """The scripted server, MIXED, with an empty ledger."""
    shared.reset(Script(**MIXED))
    return shared


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def copy(finished: Path, out: Path) -> Path:
    """A finished run that a test may spoil."""
    shutil.copytree(finished, out)
    return out


def bought_twice(server: ServerProcess) -> int:
    """Requests whose prompt had been sold before."""
    return sum(count.sold - 1 for count in server.ledger().prompts.values() if count.sold)


def seed_file(path: Path, *, count: int = 12, broken: int = 0) -> Path:
    """The project's first seeds as a file; line `broken` (1-based) is no JSON."""
    lines = (ROOT / "seeds/en.jsonl").read_text("utf-8").split("\n")[:count]
    if broken:
        lines[broken - 1] = lines[broken - 1][:-20]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


# ---------------------------------------------------------------- the run directory


def test_exactly_n_rows_and_what_is_said_of_them(
    server: ServerProcess, finished: Path, out: Path
) -> None:
    env = environment(OPENAI_API_KEY=CANARY)
    done = generate(server, out, "--json", "--seed", "1", n=50, env=env)
    ledger, stated = server.ledger(), manifest(out)
    assert done.code == 0
    assert (stated["kept"], stated["n"], stated["complete"]) == (50, 50, True)
    assert stated["requests"]["paid"] == stated["requests"]["sent"] == ledger.sold
    assert stated["tokens"]["prompt"] + stated["tokens"]["completion"] == ledger.tokens
    assert stated["seconds"] > 0
    assert {"fingerprint", "versions", "config", "started_at"} <= stated.keys()
    assert stated["fingerprint"]["temperature"] == 1.0
    assert sum(stated["rejected"].values()) > 0

    summary = done.json
    assert summary["exit_code"] == 0
    for key in ("complete", "n", "kept", "candidates", "rejected", "requests", "tokens"):
        assert summary[key] == stated[key]
    assert summary["files"] == {name: str(out / name) for name in DATA}
    assert {entry.authorization for entry in server.entries()} == {f"Bearer {CANARY}"}
    assert_secret(done, out)
    # Another seed asks for, and gets, other rows.
    assert rows(out / "alpaca.en.jsonl")[0] not in rows(finished / "alpaca.en.jsonl")


def test_fields_and_order_of_the_rows(finished: Path) -> None:
    records, rejected = rows(finished / "records.jsonl"), rows(finished / "rejected.jsonl")
    alpaca = rows(finished / "alpaca.en.jsonl")
    assert [list(row) for row in alpaca] == [["instruction", "input", "output"]] * MIXED_ROWS
    assert alpaca == [{key: row[key] for key in alpaca[0]} for row in records]
    assert all(isinstance(value, str) for row in alpaca for value in row.values())
    assert all(row["output"] for row in alpaca)
    assert any(row["input"] for row in alpaca)
    assert not all(row["input"] for row in alpaca)

    seeds = {f["id"] for f in rows(ROOT / "seeds/en.jsonl")}
    earlier = {f"seed:{id}" for id in seeds}
    for row in records:
        assert (row["lang"], row["recipe"], row["model"]) == ("en", "alpaca", "scripted-model")
        assert len(set(row["example_ids"])) == 3
        assert set(row["example_ids"]) <= seeds
        assert row["nearest"]["id"] in earlier
        assert 0 <= row["nearest"]["rouge_l"] <= 0.7
        earlier.add(row["id"])
    assert len(earlier) == len(seeds) + len(records)

    for kind in (records, rejected):
        places = [(row["request"], row["position"]) for row in kind]
        assert places == sorted(set(places))
    every = sorted((row["request"], row["position"]) for row in records + rejected)
    assert len(set(every)) == len(every) == manifest(finished)["candidates"]
    for row in rejected:
        assert row.keys() == {"reason", "evidence"} | records[0].keys()
        assert row["reason"]
        assert row["evidence"]
    reasons = manifest(finished)["rejected"]
    assert reasons == {r: sum(row["reason"] == r for row in rejected) for r in reasons}
    assert {"blocked_word", "instruction_length", "echo", "near_duplicate"} <= reasons.keys()


def test_the_directory_holds_these_files_and_no_others(finished: Path) -> None:
    visible = {path.name for path in finished.iterdir() if path.name != ".lock"}
    assert visible == {*DATA, "journal.jsonl", "manifest.json"}
    assert stat.S_IMODE((finished / "journal.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE((finished / ".lock").stat().st_mode) == 0o600
    assert [fact["type"] for fact in facts(finished)].count("run") == 1
    settled = facts(finished, "intent"), facts(finished, "reply")
    assert [f["k"] for f in settled[0]] == [f["k"] for f in settled[1]]


# ---------------------------------------------------------------- the same bytes


def test_same_bytes_at_any_concurrency(server: ServerProcess, tmp_path: Path) -> None:
    # 200 rows, 3 tasks asked for in a request: 67 are needed for sure, so 64 can be in flight.
    mixed = {**MIXED, "tasks_per_reply": (1, 4)}
    server.reset(Script(**mixed, latency=0.02, jitter=1, tail_share=0.05))
    more = ("--tasks", "3", "--quiet")
    outs = [tmp_path / width for width in ("1", "8", "64")]
    commands = [asked(server, out, "--concurrency", out.name, *more, n=200) for out in outs]
    assert [done.code for done in run_together(*commands)] == [0, 0, 0]
    assert server.ledger().peak_in_flight > 16
    first, *others = map(data, outs)
    assert others == [first, first]


# ---------------------------------------------------------------- again, more, less, otherwise


def test_the_same_command_again_buys_nothing(server: ServerProcess, copy: Path) -> None:
    before = bytes_under(copy)
    again = generate(server, copy, n=MIXED_ROWS)
    assert again.code == 0
    assert f"already holds the {MIXED_ROWS} rows" in again.err
    assert generate(server, copy, "--json", "--quiet", n=MIXED_ROWS).json["kept"] == MIXED_ROWS
    assert run("resume", copy).code == 0
    assert server.ledger().requests == 0
    assert bytes_under(copy) == before


def test_a_larger_n_goes_on_and_uses_what_was_in_flight(server: ServerProcess, out: Path) -> None:
    # Poor replies make the demand ask for more; a rich one then leaves some of it over.
    server.reset(Script(tasks_per_reply=(1, 17), latency=0.05))
    assert generate(server, out, "--concurrency", "64", n=60).code == 0
    first, stated = data(out), manifest(out)
    left_over = stated["requests"]["paid"] - stated["requests"]["decided"]
    assert left_over > 0
    assert server.ledger().sold == stated["requests"]["paid"]
    # What does not decide the data may change.
    more = ("--concurrency", "32", "--timeout", "60", "--durability", "strict")
    assert generate(server, out, *more, n=150).code == 0
    second = data(out)
    assert manifest(out)["kept"] == 150
    assert second["alpaca.en.jsonl"].startswith(first["alpaca.en.jsonl"])
    assert second["records.jsonl"].startswith(first["records.jsonl"])
    assert bought_twice(server) == 0
    assert server.ledger().sold == manifest(out)["requests"]["paid"]


def test_a_smaller_n_is_refused(server: ServerProcess, finished: Path) -> None:
    before = bytes_under(finished)
    done = generate(server, finished, "--json", n=MIXED_ROWS - 1)
    assert done.code == done.json["exit_code"] == 2
    assert f"already holds {MIXED_ROWS} rows" in done.complaint
    assert done.json["error"] in done.complaint
    assert bytes_under(finished) == before


@pytest.mark.parametrize("field", ["temperature", "seed", "model", "seeds"])
def test_another_run_in_the_same_directory_is_refused(
    server: ServerProcess, copy: Path, tmp_path: Path, field: str
) -> None:
    values: dict[str, str | Path] = {"temperature": "0.5", "seed": "7", "model": "other-model"}
    values["seeds"] = seed_file(tmp_path / "mine.jsonl")
    if field in ("temperature", "seeds"):
        # Without a manifest it is the journal that knows.
        (copy / "manifest.json").unlink()
    before = bytes_under(copy)
    done = generate(server, copy, f"--{field}", values[field], n=MIXED_ROWS + 1)
    assert done.code == 2
    assert f"was made with {field} = " in done.complaint
    assert server.ledger().requests == 0
    assert bytes_under(copy) == before


# ---------------------------------------------------------------- stopped


def test_a_signal_keeps_what_is_paid_for(server: ServerProcess, finished: Path, out: Path) -> None:
    server.reset(Script(**MIXED, latency=0.2))
    env = environment(OPENAI_API_KEY=KEY)
    commands: list[list[str | Path]] = [asked(server, out, n=MIXED_ROWS), ["resume", out]]
    signals = ((signal.SIGINT, 130), (signal.SIGTERM, 143))
    for command, (number, code) in zip(commands, signals, strict=True):
        before = server.ledger().sold
        with running(*command, env=env) as process:
            server.wait(sold=before + 4, in_flight=1)
            process.send_signal(number)
            done = finish(process)
        assert done.code == code
        assert "goes on from here" in done.complaint
        sold = server.ledger().sold
        assert before < sold == len(facts(out, "reply"))
        stated = manifest(out)
        assert not stated["complete"]
        assert stated["requests"]["decided"] == sold
        assert data(finished)["alpaca.en.jsonl"].startswith(data(out)["alpaca.en.jsonl"])
        assert verify(out) == []
    assert run("resume", out, env=env).code == 0
    assert data(out) == data(finished)
    assert bought_twice(server) == 0


def test_sigkill_loses_no_more_than_what_is_in_flight(
    server: ServerProcess, finished: Path, out: Path
) -> None:
    server.reset(Script(**MIXED, latency=0.1))
    with running(*asked(server, out, n=MIXED_ROWS)) as process:
        for sold in (3, 7):
            server.wait(sold=sold)
        process.kill()
        process.communicate()
    done = run("verify", out)
    assert done.code == 1
    assert f"selfinstruct resume {out}" in done.out
    assert run("resume", out).code == 0
    assert data(out) == data(finished)
    assert bought_twice(server) <= 4
    assert verify(out) == []


def test_half_a_line_at_the_end_is_set_aside(
    server: ServerProcess, finished: Path, copy: Path
) -> None:
    journal = copy / "journal.jsonl"
    offset = journal.read_bytes().rindex(b"\n", 0, -1) + 1
    journal.write_bytes(journal.read_bytes()[: offset + 9])
    done = generate(server, copy, n=MIXED_ROWS)
    assert done.code == 0
    assert "9 bytes that a crash left half-written were moved to journal.tail" in done.err
    assert (copy / "journal.tail").stat().st_size == 10
    assert server.ledger().requests == 0
    assert data(copy) == data(finished)


def test_damage_before_the_end_is_refused(server: ServerProcess, copy: Path) -> None:
    journal = copy / "journal.jsonl"
    content = bytearray(journal.read_bytes())
    line = content.index(b"\n", len(content) // 2) + 1
    content[line + 30] ^= 1
    journal.write_bytes(content)
    for command in ("resume", "status", "verify"):
        done = run(command, copy)
        assert done.code == 2
        assert f"{journal}: damaged at byte {line} " in done.complaint
    assert journal.read_bytes() == content


def test_beside_a_writer_that_then_leaves_at_once(
    server: ServerProcess, finished: Path, out: Path
) -> None:
    server.reset(Script(**MIXED, fault_plan=("ok",) * 4 + ("hang",) * 50))
    with running(*asked(server, out, n=MIXED_ROWS)) as process:
        server.wait(requests=8)
        second = generate(server, out, n=MIXED_ROWS)
        assert second.code == 2
        assert f"is being written by process {process.pid} " in second.complaint
        found = run("status", out, "--json").json
        assert (found["state"], found["writer_pid"]) == ("running", process.pid)
        assert found["n"] == MIXED_ROWS
        assert found["kept"] is None
        assert found["requests"]["sent"] == 8
        assert found["requests"]["settled"] == found["requests"]["paid"] == 4
        assert f"running (process {process.pid})" in run("status", out).out
        assert server.ledger().requests == 8

        # The first signal waits for what is paid for, the second does not.
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "SIGINT: waiting for 4 paid replies" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 130
    assert len(facts(out, "reply")) == 4
    assert run("status", out, "--json").json["state"] == "interrupted"
    server.use(Script(**MIXED))
    assert generate(server, out, n=MIXED_ROWS).code == 0
    assert data(out) == data(finished)


@pytest.mark.parametrize("command", ["resume", "status", "verify", "show"])
def test_no_run_here(tmp_path: Path, command: str) -> None:
    place = tmp_path / "missing" if command == "resume" else tmp_path
    done = run(command, place)
    assert done.code == 2
    assert str(place) in done.complaint
    assert not done.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["resume", "status", "verify"])
def test_a_run_that_died_before_its_first_fact(tmp_path: Path, command: str) -> None:
    (tmp_path / "journal.jsonl").touch()
    done = run(command, tmp_path)
    assert done.code in (1, 2)
    assert str(tmp_path) in done.err + done.out


# ---------------------------------------------------------------- stdout, stderr


def test_quiet_then_more_and_plain(server: ServerProcess, finished: Path, out: Path) -> None:
    quiet = generate(server, out, "--quiet", n=10)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    plain = generate(server, out, "--concurrency", "auto", n=MIXED_ROWS)
    assert (plain.code, plain.out) == (0, "")
    assert "kept" in plain.err
    assert f"{MIXED_ROWS} rows in {out}" in plain.err
    # Growing gives what asking for all at once gives.
    assert data(out) == data(finished)


# ---------------------------------------------------------------- status, verify, show


def test_status_of_a_finished_run(server: ServerProcess, finished: Path) -> None:
    found, stated = run("status", finished, "--json").json, manifest(finished)
    assert (found["state"], found["writer_pid"]) == ("complete", None)
    for key in ("n", "kept", "candidates", "rejected", "tokens", "seconds"):
        assert found[key] == stated[key]
    assert found["base_url"] == server.base_url
    done = run("status", finished)
    assert done.code == 0
    assert f"{finished}: complete" in done.out
    assert f"rows: {MIXED_ROWS} of {MIXED_ROWS}" in done.out


def test_verify_finds_a_flipped_byte(server: ServerProcess, finished: Path, copy: Path) -> None:
    assert run("verify", copy).code == 0
    assert run("verify", copy, "--json").json == {"run": str(copy), "ok": True, "problems": []}
    content = bytearray((copy / "alpaca.en.jsonl").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "alpaca.en.jsonl").write_bytes(content)
    done = run("verify", copy, "--json")
    assert done.code == 1
    assert not done.json["ok"]
    assert [problem.split(":")[0] for problem in done.json["problems"]] == ["alpaca.en.jsonl"]
    plain = run("verify", copy)
    assert plain.code == 1
    assert "alpaca.en.jsonl" in plain.out
    assert plain.err == f"selfinstruct resume {copy} writes the files again\n"


def test_deleted_files_are_made_again(server: ServerProcess, finished: Path, copy: Path) -> None:
    (copy / "records.jsonl").unlink()
    done = run("verify", copy)
    assert done.code == 1
    assert "records.jsonl" in done.out
    for name in ("alpaca.en.jsonl", "rejected.jsonl", "manifest.json"):
        (copy / name).unlink()
    done = run("verify", copy)
    assert done.code == 1
    assert f"selfinstruct resume {copy}" in done.out
    assert run("resume", copy).code == 0
    assert server.ledger().requests == 0
    assert data(copy) == data(finished)
    assert verify(copy) == []


def test_show(finished: Path, out: Path) -> None:
    done = run("show", finished, "-n", "3")
    assert done.code == 0
    titles = re.findall(r"^╭─ (\S+) ", done.out, re.MULTILINE)
    shown = [row for row in rows(finished / "records.jsonl") if row["id"] in titles]
    assert len(shown) == len(titles) == 3
    assert all(row["instruction"].split()[0] in done.out for row in shown)
    done = run("show", finished, "--rejected")
    assert done.code == 0
    assert done.out.count("rejected: ") == 5
    out.mkdir()
    for flags in ([], ["--rejected"]):
        done = run("show", out, *flags)
        assert done.code == 2
        assert "selfinstruct status" in done.complaint


# ---------------------------------------------------------------- where the settings come from


def test_flags_beat_the_file_and_the_file_beats_the_environment(
    server: ServerProcess, out: Path, tmp_path: Path
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f'n = 12\nbase-url = "{server.base_url}"\ntemperature = 0.3\ntop_p = 0.8\n')
    nowhere = environment(OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    command = ("generate", "--config", file, "--out", out, "--temperature", "0.6", "--model", "m")
    assert run(*command, env=nowhere).code == 0
    config = manifest(out)["config"]
    assert (config["n"], config["temperature"], config["top_p"]) == (12, 0.6, 0.8)


def test_the_environment_and_the_servers_only_model(server: ServerProcess, out: Path) -> None:
    env = environment(OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY=KEY)
    assert run("generate", "--n", "10", "--out", out, env=env).code == 0
    assert manifest(out)["config"]["model"] == "scripted-model"
    assert server.ledger().paths["/v1/models"] == 1
    assert {entry.authorization for entry in server.entries()} == {f"Bearer {KEY}"}
    # The run knows its model now.
    assert run("generate", "--n", "20", "--out", out, env=env).code == 0
    assert server.ledger().paths["/v1/models"] == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("n = 5\ntemprature = 1.0\n", "run.toml: temprature: unknown key"),
        ("n = 5\ntemperature = 3\n", "run.toml: temperature: "),
        ("n = \n", "run.toml: not TOML"),
    ],
)
def test_a_bad_config_file(
    server: ServerProcess, out: Path, tmp_path: Path, content: str, complaint: str
) -> None:
    (tmp_path / "run.toml").write_text(content)
    done = generate(server, out, "--config", tmp_path / "run.toml")
    assert done.code == 2
    assert complaint in done.complaint
    assert not out.exists()


def test_seeds_broken_at_line_7(server: ServerProcess, out: Path, tmp_path: Path) -> None:
    seeds = seed_file(tmp_path / "mine.jsonl", broken=7)
    done = generate(server, out, "--seeds", seeds)
    assert done.code == 2
    assert f"{seeds}:7: " in done.complaint
    assert server.ledger().requests == 0
    seed_file(seeds)
    assert generate(server, out, "--seeds", seeds).code == 0
    shown = {id for row in rows(out / "records.jsonl") for id in row["example_ids"]}
    assert shown <= {row["id"] for row in rows(seeds)}
    # The run directory holds its seeds: the file is not needed again.
    seeds.unlink()
    (out / "manifest.json").unlink()
    assert run("resume", out).code == 0


# ---------------------------------------------------------------- the model's own ways


def test_completions_first_else_chat(server: ServerProcess, out: Path) -> None:
    server.reset(Script(**MIXED, api="chat", latency=0.02))
    done = generate(server, out, n=100)
    assert done.code == 0
    assert manifest(out)["kept"] == 100
    assert [fact["change"] for fact in facts(out, "adapt")] == ["api=chat"]
    assert done.err.count("chat") == 1
    before = server.ledger().paths
    assert before["/v1/completions"] <= 4
    again = generate(server, out, n=120)
    assert again.code == 0
    assert "chat" not in again.err
    assert server.ledger().paths["/v1/completions"] == before["/v1/completions"]
    assert server.ledger().paths["/v1/chat/completions"] > before["/v1/chat/completions"]


def test_chat_where_completions_is_not_found(server: ServerProcess, out: Path) -> None:
    server.reset(Script(**MIXED, api="chat", missing_api="vllm"))
    assert generate(server, out, "--concurrency", "1").code == 0
    assert server.ledger().kinds["missing_api"] == 1
    assert [fact["change"] for fact in facts(out, "adapt")] == ["api=chat"]


def test_refused_parameters_are_adapted_once_and_said_once(
    server: ServerProcess, out: Path
) -> None:
    refused: dict[str, str | float | None] = {
        "max_tokens": "max_completion_tokens",
        "temperature": 1.0,
        "seed": None,
    }
    server.reset(Script(**MIXED, api="chat", refuse_params=refused, latency=0.02))
    done = generate(server, out, "--api", "chat", "--temperature", "0.7", n=100)
    assert done.code == 0
    assert manifest(out)["kept"] == 100
    changes = [fact["change"] for fact in facts(out, "adapt")]
    assert changes == ["max_tokens=max_completion_tokens", "drop temperature", "drop seed"]
    for name in ("max_completion_tokens", "temperature", "seed"):
        assert done.err.count(name) == 1
    adapted = server.ledger().kinds["refused_param"]
    assert 3 <= adapted <= 3 * 4
    again = generate(server, out, "--api", "chat", "--temperature", "0.7", n=120)
    assert again.code == 0
    assert "the model wants" not in again.err
    assert server.ledger().kinds["refused_param"] == adapted


# ---------------------------------------------------------------- secrets


def secretive(url: str) -> str:
    """`url` with a query, as a gateway's address may have one."""
    return f"{url}?token={TOKEN}"


def assert_secret(done: Done, out: Path) -> None:
    kept = bytes_under(out) if out.exists() else b""
    for secret in (CANARY, PASSWORD, USER, TOKEN):
        assert secret not in done.out + done.err
        assert secret.encode() not in kept


def test_a_401_that_echoes_the_key(server: ServerProcess, out: Path) -> None:
    server.reset(Script(**MIXED, api_key="another-key"))
    done = generate(server, out, "--json", env=environment(OPENAI_API_KEY=CANARY))
    assert done.code == 3
    assert "Incorrect API key provided: ***" in done.complaint
    assert_secret(done, out)
    assert server.ledger().requests <= 4


def test_user_info_in_the_base_url_is_refused(server: ServerProcess, out: Path) -> None:
    url = server.base_url.replace("//", f"//{USER}:{PASSWORD}@")
    done = generate(server, out, "--base-url", url)
    assert done.code == 2
    assert done.complaint.startswith("selfinstruct: --base-url: must not hold a user name")
    assert_secret(done, out)


def test_a_query_in_the_base_url(server: ServerProcess, out: Path) -> None:
    env = environment(OPENAI_API_KEY=CANARY)
    where = ("--base-url", secretive(server.base_url))
    done = generate(server, out, *where, env=env)
    assert done.code == 0
    assert manifest(out)["config"]["base_url"] == server.base_url
    assert facts(out, "run")[0]["config"]["base_url"] == server.base_url
    assert {entry.authorization for entry in server.entries()} == {f"Bearer {CANARY}"}
    assert {entry.path for entry in server.entries()} == {"/v1/completions"}
    assert_secret(done, out)


@pytest.mark.parametrize("trouble", ["route_404", "closed"])
def test_secrets_in_the_base_url_stay_out_of_complaints(
    server: ServerProcess, out: Path, tmp_path: Path, trouble: str
) -> None:
    (tmp_path / "run.toml").write_text("patience = 0.1\n")
    where = ("--base-url", secretive(server.base_url), "--config", tmp_path / "run.toml")
    env = environment(OPENAI_API_KEY=CANARY)
    server.reset(Script(faults={} if trouble == "closed" else {trouble: 1.0}))
    with server_closed(server) if trouble == "closed" else nullcontext():
        done = generate(server, out, *where, env=env)
    assert done.code == (5 if trouble == "closed" else 3)
    assert_secret(done, out)


# ---------------------------------------------------------------- economy and novelty


@pytest.mark.parametrize(
    ("n", "widths"), [(20, (1, 8, 64, 256)), (500, (1, 8, 64, 256)), (5000, (64,))]
)
def test_economy(server: ServerProcess, tmp_path: Path, n: int, widths: tuple[int, ...]) -> None:
    # Small requests, so that many are needed and the widths matter; large ones where time does.
    most = 17 if n == 5000 else 4
    server.reset(Script(tasks_per_reply=(most // 3, most), bad_share=0.1, latency=0.005, jitter=1))
    more = ("--quiet", "--tasks", f"{most}")
    commands = [
        asked(server, tmp_path / f"{width}", "--concurrency", f"{width}", *more, n=n)
        for width in widths
    ]
    assert all(done.code == 0 for done in run_together(*commands))
    total = 0
    for width in widths:
        stated = manifest(tmp_path / f"{width}")
        paid, needed = stated["requests"]["paid"], stated["requests"]["decided"]
        assert stated["kept"] == n
        assert paid <= 1.25 * needed + 2
        total += paid
    assert server.ledger().sold == server.ledger().requests == total


def test_no_near_duplicates_among_2000_rows(server: ServerProcess, out: Path) -> None:
    server.reset(Script(tasks_per_reply=17, duplicate_share=0.25))
    assert generate(server, out, "--concurrency", "16", "--quiet", n=2000).code == 0
    scorer = RougeScorer(["rougeL"])
    records = rows(out / "records.jsonl")
    assert len(records) == 2000
    text = {f"seed:{row['id']}": row["instruction"] for row in rows(ROOT / "seeds/en.jsonl")}
    text |= {row["id"]: row["instruction"] for row in records}
    ids = list(text)
    suspects = pairs_above(0.7, [DefaultTokenizer(False).tokenize(text[id]) for id in ids])
    for i, j in suspects:
        score = scorer.score(text[ids[i]], text[ids[j]])["rougeL"].fmeasure
        assert score <= 0.7, (ids[i], ids[j])
    # And what was rejected was rejected rightly, with the true score.
    duplicates = [r for r in rows(out / "rejected.jsonl") if r["reason"] == "near_duplicate"]
    assert len(duplicates) > 400
    for row in duplicates:
        score = scorer.score(text[row["nearest"]["id"]], row["instruction"])["rougeL"].fmeasure
        assert score == row["nearest"]["rouge_l"] > 0.7


def pairs_above(threshold: float, tokens: list[list[str]]) -> list[tuple[int, int]]:
    """All pairs whose ROUGE-L may be above the threshold: F = 2·lcs/(m+n) ≤ 2·overlap/(m+n)."""
    columns: dict[tuple[str, int], int] = {}
    bags = np.zeros((len(tokens), sum(map(len, tokens))), np.float32)
    for row, words in enumerate(tokens):
        for at, word in enumerate(words):
            occurrence = words[:at].count(word)
            bags[row, columns.setdefault((word, occurrence), len(columns))] = 1
    bags = bags[:, : len(columns)]
    lengths = np.array([len(words) for words in tokens], np.float32)
    bound = 2 * (bags @ bags.T) / np.maximum(lengths[:, None] + lengths[None, :], 1)
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(bound > threshold - 1e-4, k=1))]


def test_pairs_above_leaves_nothing_out() -> None:
    texts = ["a b c d", "a b c e", "d c b a", "a a b c", "x y", "a b c d e f"]
    tokens = [text.split() for text in texts]
    scorer = RougeScorer(["rougeL"])
    for limit in (0.3, 0.5, 0.7):
        found = pairs_above(limit, tokens)
        for i in range(len(texts)):
            for j in range(i + 1, len(texts)):
                if scorer.score(texts[i], texts[j])["rougeL"].fmeasure > limit:
                    assert (i, j) in found


# ---------------------------------------------------------------- what a user may get wrong


def test_a_wrong_model_name_does_not_hold_the_directory(server: ServerProcess, out: Path) -> None:
    server.reset(Script(**MIXED, faults={"model_404": 1.0}))
    assert generate(server, out, n=10).code == 3
    server.reset(Script(**MIXED))
    done = run(
        "generate", "--n", "10", "--out", out, "--base-url", server.base_url, "--model", "right"
    )
    assert done.code == 0
    assert manifest(out)["config"]["model"] == "right"
    assert run("verify", out).code == 0


def test_files_of_someone_else_are_not_overwritten(server: ServerProcess, out: Path) -> None:
    server.reset(Script(**MIXED))
    out.mkdir(parents=True, exist_ok=True)
    (out / "alpaca.en.jsonl").write_text("mine\n")
    done = generate(server, out, n=10)
    assert done.code == 2
    assert "alpaca.en.jsonl" in done.complaint
    assert (out / "alpaca.en.jsonl").read_text() == "mine\n"
    assert server.ledger().requests == 0


@pytest.mark.parametrize("key", [f"{CANARY}\x07", f"{CANARY}…"])
def test_a_key_that_no_header_can_carry(server: ServerProcess, out: Path, key: str) -> None:
    server.reset(Script(**MIXED))
    done = generate(server, out, "--json", n=10, env=environment(OPENAI_API_KEY=key))
    assert done.code == 2
    assert "OPENAI_API_KEY" in done.complaint
    assert_secret(done, out)
    assert server.ledger().requests == 0


def test_a_line_end_after_the_key_means_nothing(server: ServerProcess, out: Path) -> None:
    server.reset(Script(**MIXED))
    done = generate(server, out, n=10, env=environment(OPENAI_API_KEY=f"{CANARY}\n"))
    assert done.code == 0
    assert {entry.authorization for entry in server.entries()} == {f"Bearer {CANARY}"}
