"""--known: rows that are there already are in the novelty pool before the first request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfinstruct.errors import UsageError
from selfinstruct.importing import import_files
from selfinstruct.importing.known import read_known
from tests.cli import generate, rows, run
from tests.scripted_server import Script, ServerProcess
from tests.test_import import GREETING, RIVER, SOURCE, file_of


def known(*paths: str | Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in read_known([str(path) for path in paths]).splitlines()]


# ── what is read ─────────────────────────────────────────────────────────────────────────────


def test_a_directory_gives_its_languages(tmp_path: Path) -> None:
    import_files([file_of(tmp_path / "a.jsonl", [RIVER, SOURCE, GREETING])], tmp_path / "old")
    assert known(tmp_path / "old") == [
        {"id": "old/en-000000-00", "lang": "en", "instruction": "Name a river."},
        {"id": "old/en-000001-00", "lang": "en", "instruction": "Name a river."},
        {"id": "old/en-000001-00", "lang": "en", "instruction": "And its source?"},
        {"id": "old/zh-000000-00", "lang": "zh", "instruction": "翻译成英文。"},
    ]


def test_files_of_any_layout_and_bare_instructions(tmp_path: Path) -> None:
    one = file_of(tmp_path / "one.jsonl", [{"instruction": "Add."}, SOURCE])
    two = tmp_path / "two.json"
    two.write_text(json.dumps([GREETING]))
    found = [(row["id"], row["lang"], row["instruction"]) for row in known(one, two)]
    assert found == [
        ("one.jsonl:1", "", "Add."),
        ("one.jsonl:2", "", "Name a river."),
        ("one.jsonl:2", "", "And its source?"),
        ("two.json:1", "", "翻译成英文。"),
    ]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.jsonl", [RIVER, {"text": "x"}])
    with pytest.raises(UsageError, match=r"a\.jsonl:2: no 'instruction'"):
        read_known([path])
    with pytest.raises(UsageError, match="no run here"):
        read_known([str(tmp_path)])
    with pytest.raises(UsageError, match="cannot read"):
        read_known([str(tmp_path / "nothing")])


# ── runs ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(Script()) as process:
        yield process


def test_new_rows_differ_from_known_ones(server: ServerProcess, tmp_path: Path) -> None:
    server.reset(Script())
    first, second, many = (tmp_path / name for name in ("first", "second", "many"))
    assert generate(server, first, n=20).code == 0
    # The same prompts bring the same answers: every one of them is known.
    assert generate(server, second, "--known", first, n=20).code == 0
    old = {row["instruction"] for row in rows(first / "records.jsonl")}
    new = [row["instruction"] for row in rows(second / "records.jsonl")]
    assert len(new) == 20
    assert not old & set(new)
    refused = [row for row in rows(second / "rejected.jsonl") if row["instruction"] in old]
    assert len(refused) == 20
    assert all(row["evidence"].startswith("ROUGE-L with known:first/en-") for row in refused)
    # The run needs the others no more.
    first.rename(tmp_path / "elsewhere")
    assert run("verify", second).code == 0
    assert run("resume", second).code == 0
    (tmp_path / "elsewhere").rename(first)
    assert generate(server, many, "--known", first, "--concurrency", "16", n=20).code == 0
    assert (many / "records.jsonl").read_bytes() == (second / "records.jsonl").read_bytes()


def test_what_is_known_is_part_of_the_run(server: ServerProcess, tmp_path: Path) -> None:
    server.reset(Script())
    out, path = tmp_path / "out", file_of(tmp_path / "a.jsonl", [RIVER])
    assert generate(server, out, "--known", path, n=5).code == 0
    assert generate(server, out, "--known", path, n=8).code == 0, "and it goes on"
    other = file_of(tmp_path / "b.jsonl", [SOURCE])
    for more in (["--known", path, "--known", other], []):
        done = generate(server, out, *more, n=10)
        assert done.code == 2
        assert "was made with known = " in done.complaint
    (out / "known.jsonl").write_bytes(b"")
    for command in ("verify", "resume"):
        done = run(command, out)
        assert done.code == 2
        assert "known.jsonl: not the rows that this run began with" in done.complaint


def test_a_bad_file_costs_nothing(server: ServerProcess, tmp_path: Path) -> None:
    server.reset(Script())
    done = generate(server, tmp_path / "out", "--known", tmp_path / "nothing", n=5)
    assert done.code == 2
    assert server.ledger().requests == 0
    assert not (tmp_path / "out").exists()
