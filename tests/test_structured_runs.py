"""`--structured` and `--choices` from the command line, over a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfinstruct.verify import verify
from tests.cli import facts, generate, manifest, rows, run
from tests.scripted_server import Script, ServerProcess

REPLIES = Script(tasks_per_reply=(3, 7), duplicate_share=0.05, bad_share=0.05)


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


def with_changes(**changes: object) -> Script:
    return Script(**{**REPLIES.to_json(), **changes})


def answers(out: Path) -> list[str]:
    """The first text of every reply in the journal."""
    bodies = [json.loads(fact["body"]) for fact in facts(out, "reply")]
    return [body["choices"][0]["message"]["content"] for body in bodies]


def test_answers_by_schema(server: ServerProcess, out: Path) -> None:
    done = generate(server, out, "--structured", n=60)
    assert done.code == 0, done.err
    assert server.ledger().paths.keys() == {"/v1/chat/completions"}
    assert all("tasks" in json.loads(text) for text in answers(out))
    assert manifest(out)["kept"] == 60
    assert verify(out) == []
    # Another way of asking is another run.
    assert generate(server, out, n=80).code == 2
    assert run("resume", out).code == 0


def test_a_server_without_schemas_is_asked_in_words(server: ServerProcess, out: Path) -> None:
    server.reset(with_changes(refuse_params={"response_format": None}, plain_answers="json"))
    done = generate(server, out, "--structured", n=60)
    assert done.code == 0, done.err
    assert done.err.count("the server takes no JSON schema") == 1
    assert all("```json" in text for text in answers(out))
    assert manifest(out)["kept"] == 60
    assert verify(out) == []


def test_a_server_that_answers_with_the_list_of_old(server: ServerProcess, out: Path) -> None:
    server.reset(with_changes(refuse_params={"response_format": None}))
    assert generate(server, out, "--structured", n=60).code == 0
    assert verify(out) == []


def test_json_that_is_cut_loses_its_last_task_only(server: ServerProcess, out: Path) -> None:
    server.reset(Script(tasks_per_reply=7, fault_plan=("length",)))
    done = generate(server, out, "--structured", "--concurrency", "1", n=12)
    assert done.code == 0, done.err
    assert manifest(out)["rejected"] == {"unclosed": 1}
    assert [row["position"] for row in rows(out / "records.jsonl") if row["request"] == 0] == list(
        range(6)
    )


def test_chinese_by_schema(server: ServerProcess, out: Path) -> None:
    done = run(
        "generate", "--n", "5", "--out", out, "--base-url", server.base_url, "--model", "m",
        "--structured", "--lang", "zh", "--config", barren(out),
    )  # fmt: skip
    # The script's tasks are English: what matters is that they are read and judged.
    assert done.code in (0, 5)
    assert json.loads((out / "manifest.json").read_bytes())["candidates"] >= 5


def barren(out: Path) -> Path:
    """A config file that gives up early."""
    path = out.parent / "barren.toml"
    path.write_text("max_barren = 3\n")
    return path


def test_several_answers_to_each_prompt(server: ServerProcess, out: Path) -> None:
    server.reset(with_changes(cached_share=0.5))
    done = generate(server, out, "--choices", "4", "--price-in", "1", "--price-out", "1", n=100)
    assert done.code == 0, done.err
    assert manifest(out)["kept"] == 100
    assert len({row["id"] for row in rows(out / "records.jsonl")}) == 100
    requests = manifest(out)["requests"]["decided"]
    # Four answers of five tasks, near enough.
    assert requests <= 100 / (4 * 3) + 2
    tokens = manifest(out)["tokens"]
    assert tokens["cached"] == pytest.approx(tokens["prompt"] / 2, rel=0.01)
    most = [fact["most"][1] for fact in facts(out, "intent")]
    assert set(most) == {4 * 3072}
    assert verify(out) == []


def test_a_server_that_knows_no_choices(server: ServerProcess, out: Path) -> None:
    server.reset(with_changes(refuse_params={"n": 1}))
    done = generate(server, out, "--choices", "4", n=60)
    assert done.code == 0, done.err
    assert done.err.count("one answer to a prompt") == 1
    assert verify(out) == []


def test_structured_choices(server: ServerProcess, out: Path) -> None:
    done = generate(server, out, "--choices", "3", "--structured", "--concurrency", "16", n=200)
    assert done.code == 0, done.err
    assert verify(out) == []


def test_a_translation_by_schema(server: ServerProcess, out: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    assert generate(server, source, n=10).code == 0
    done = run(
        "generate", "--recipe", "translate", "--from", source, "--lang", "zh", "--out", out,
        "--base-url", server.base_url, "--model", "m", "--structured", "--choices", "2",
    )  # fmt: skip
    assert done.code == 0, done.err
    # The script does not translate: one candidate for each row, and a reason for each.
    stated = json.loads((out / "manifest.json").read_bytes())
    assert stated["candidates"] == 10
    assert stated["requests"]["decided"] == 10
    assert verify(out) == []
