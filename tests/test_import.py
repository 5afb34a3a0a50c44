"""Importing: files of rows that others made become a directory that the other commands work on."""

from __future__ import annotations

import doctest
import errno
import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from selfinstruct.config import make_config
from selfinstruct.errors import DiskError, UsageError
from selfinstruct.exporting.export import export
from selfinstruct.exports import MANIFEST, RECORDS, REJECTED
from selfinstruct.formats import FORMATS
from selfinstruct.importing import import_files, rows
from selfinstruct.manifest import read_manifest
from selfinstruct.plan import Plan
from tests import cli
from tests.cli import rows as lines

RIVER: dict[str, Any] = {"instruction": "Name a river.", "input": "", "output": "The Nile."}
GREETING: dict[str, Any] = {
    "instruction": "翻译成英文。",
    "input": "早上好！",
    "output": "Good morning!",
}
SOURCE: dict[str, Any] = {
    "id": "sg-7",
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Name a river."},
        {"from": "gpt", "value": "The Nile."},
        {"from": "human", "value": "And its source?"},
        {"from": "gpt", "value": "Lake Victoria."},
    ],
}


def file_of(path: Path, items: Iterable[Mapping[str, Any] | str]) -> str:
    """JSON Lines; a text is a line as it is."""
    texts = [item if isinstance(item, str) else json.dumps(item) for item in items]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return str(path)


def texts(directory: Path) -> list[tuple[str, str, str, str]]:
    found = lines(directory / RECORDS)
    return [(row["lang"], row["instruction"], row["input"], row["output"]) for row in found]


@pytest.mark.parametrize("module", [rows])
def test_doctests(module: Any) -> None:
    done = doctest.testmod(module)
    assert done.attempted
    assert not done.failed


# ── what is written ──────────────────────────────────────────────────────────────────────────


def test_layout_and_language_are_recognised_row_by_row(tmp_path: Path) -> None:
    mixed = [RIVER, {"input": "说出一条河。", "target": "长江。"}, SOURCE, GREETING]
    out = tmp_path / "out"
    done = import_files([file_of(tmp_path / "a.jsonl", mixed)], out)
    assert texts(out) == [
        ("en", "Name a river.", "", "The Nile."),
        ("zh", "说出一条河。", "", "长江。"),
        ("en", "And its source?", "", "Lake Victoria."),
        ("zh", "翻译成英文。", "早上好！", "Good morning!"),
    ]
    records = lines(out / RECORDS)
    assert [row["id"] for row in records] == [
        "en-000000-00",
        "zh-000000-00",
        "en-000001-00",
        "zh-000001-00",
    ]
    assert records[0]["place"] == f"{tmp_path / 'a.jsonl'}:1"
    assert records[2]["source_id"] == "sg-7"
    assert records[2]["history"] == [["Name a river.", "The Nile."]]
    assert records[2]["system"] == "Be brief."
    assert "history" not in records[0]
    assert lines(out / "alpaca.en.jsonl")[1]["history"] == [["Name a river.", "The Nile."]]
    assert lines(out / "belle.zh.jsonl")[1] == GREETING
    assert done.manifest == read_manifest(out)
    assert done.manifest.kept == done.manifest.candidates == 4
    assert done.malformed == 0


def test_the_manifest_states_the_files(tmp_path: Path) -> None:
    one = file_of(tmp_path / "one.jsonl", [RIVER, "broken", SOURCE])
    two = tmp_path / "two.json.gz"
    two.write_bytes(gzip.compress(json.dumps([GREETING]).encode()))
    out = tmp_path / "out"
    manifest = import_files([one, str(two)], out).manifest
    assert manifest.imported == [
        {
            "file": one,
            "sha256": hashlib.sha256(Path(one).read_bytes()).hexdigest(),
            "bytes": Path(one).stat().st_size,
            "format": "alpaca, sharegpt",
            "rows": 2,
            "malformed": 1,
        },
        {
            "file": str(two),
            "sha256": hashlib.sha256(two.read_bytes()).hexdigest(),
            "bytes": two.stat().st_size,
            "format": "alpaca",
            "rows": 1,
            "malformed": 0,
        },
    ]
    assert {path.name for path in out.iterdir()} == {*manifest.files, MANIFEST}
    for name, stated in manifest.files.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == stated["sha256"]
        assert len(lines(out / name)) == stated["rows"]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_was_exported_is_imported(tmp_path: Path, name: str) -> None:
    """One exchange goes through every layout; several through those that hold them."""
    first = tmp_path / "first"
    import_files([file_of(tmp_path / "a.jsonl", [RIVER, SOURCE, GREETING])], first)
    files = [str(file.path) for file in export(first, name).files]
    second = tmp_path / "second"
    done = import_files(files, second)
    assert done.malformed == 0
    again = export(second, "trl", tmp_path / "again").files
    expected = export(first, "trl", tmp_path / "expected").files
    if not export(first, name).left_out:
        assert [f.path.read_bytes() for f in again] == [f.path.read_bytes() for f in expected]
    named = import_files(files, tmp_path / "third", format_name=name)
    assert (tmp_path / "third" / RECORDS).read_bytes() == (second / RECORDS).read_bytes()
    assert named.manifest.imported[0]["format"] == name


def test_parquet_comes_back(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    import_files([file_of(tmp_path / "a.jsonl", [RIVER, SOURCE, GREETING])], first)
    import_files([str(file.path) for file in export(first, "hf").files], second)
    kept = sorted(texts(first))
    assert sorted(texts(second)) == kept
    ids = [row["source_id"] for row in lines(second / RECORDS)]
    assert ids == ["en-000000-00", "en-000001-00", "zh-000000-00"]


# ── what is wrong ────────────────────────────────────────────────────────────────────────────


def test_malformed_rows_are_listed(tmp_path: Path) -> None:
    bad: list[Mapping[str, Any] | str] = [
        "{broken",
        {"text": "x"},
        {"messages": [{"role": "user", "content": "Hi."}]},
        "[1]",
    ]
    path = file_of(tmp_path / "a.jsonl", [RIVER, *bad])
    out = tmp_path / "out"
    done = import_files([path], out)
    assert done.malformed == done.manifest.rejected["malformed"] == len(bad)
    rejected = lines(out / REJECTED)
    assert [row["id"] for row in rejected] == [f"{path}:{number}" for number in (2, 3, 4, 5)]
    assert {row["reason"] for row in rejected} == {"malformed"}
    assert (
        rejected[1]["evidence"] == "no known layout has the fields 'text'; name one with --format"
    )
    assert rejected[2]["evidence"] == "no answer: the last turn is the user's"
    assert rejected[0]["instruction"] == "{broken", "what stood there is not lost"
    assert (
        done.shown[1] == f"{path}:3: no known layout has the fields 'text'; name one with --format"
    )


def test_strict_refuses_them(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.jsonl", [RIVER, {"text": "x"}])
    with pytest.raises(UsageError, match=r"a\.jsonl:2: no known layout"):
        import_files([path], tmp_path / "out", strict=True)
    assert not list((tmp_path / "out").iterdir())


def test_a_named_layout_is_the_only_one(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.jsonl", [RIVER, SOURCE])
    done = import_files([path], tmp_path / "out", format_name="sharegpt")
    assert [row["evidence"] for row in lines(tmp_path / "out" / REJECTED)] == ["no 'conversations'"]
    assert done.manifest.kept == 1


@pytest.mark.parametrize(
    ("items", "options", "problem"),
    [
        (["x"], {}, "no row could be read: .*:1: "),
        ([RIVER], {"format_name": "csv"}, "unknown format 'csv'; known: alpaca"),
        ([RIVER], {"lang": "xx"}, "unknown language 'xx'"),
        ([], {}, "is empty"),
    ],
)
def test_what_cannot_be_imported_writes_nothing(
    tmp_path: Path, items: list[Any], options: dict[str, Any], problem: str
) -> None:
    path = file_of(tmp_path / "a.jsonl", items)
    with pytest.raises(UsageError, match=problem):
        import_files([path], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.jsonl", [RIVER])
    out = tmp_path / "out"
    import_files([path], out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(UsageError, match=r"out holds records\.jsonl already"):
        import_files([path], out)
    with pytest.raises(UsageError, match="among the files of a run"):
        export(out, "alpaca", out / "records.jsonl")
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_file_is_no_folder_to_import_into(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.jsonl", [RIVER])
    with pytest.raises(UsageError, match=r"--out: .*a\.jsonl is a file"):
        import_files([path], Path(path))


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of(tmp_path / "a.jsonl", [RIVER])

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        import_files([path], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


# ── the other commands ───────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    path = file_of(folder / "a.jsonl", [RIVER, SOURCE, GREETING, "broken"])
    done = cli.run("import", path, "--out", folder / "out", "--json")
    assert done.code == 0
    assert done.json["rows"] == 3
    assert done.json["malformed"] == 1
    assert done.json["languages"] == {"en": 2, "zh": 1}
    assert f"{path}:4: not JSON" in done.err
    return folder / "out"


def test_it_is_shown_counted_and_exported(imported: Path) -> None:
    shown = cli.run("show", imported)
    assert "Be brief." in shown.out, "what was said before is shown, too"
    assert "Lake Victoria." in shown.out
    assert "malformed" in cli.run("show", imported, "--rejected").out
    counted = cli.run("stats", imported)
    assert counted.code == 0
    assert "3 rows" in counted.out
    assert "ROUGE-L" not in counted.out, "no row was compared with another"
    assert cli.run("stats", imported, "--json").json["rouge_l"] is None
    exported = cli.run("export", imported, "--format", "messages", "--json")
    assert exported.json["notice"] == ""
    card = export(imported, "hf").companion
    assert card is not None
    assert "- `a.jsonl`, 3 rows (alpaca, sharegpt)" in card.read_text(encoding="utf-8")
    assert str(imported.parent) not in card.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["verify", "resume", "status", "cancel"])
def test_there_is_no_journal(imported: Path, command: str) -> None:
    done = cli.run(command, imported)
    assert done.code == 2
    assert "holds imported rows, not a run: it has no journal" in done.complaint


def test_a_run_does_not_go_into_it(imported: Path) -> None:
    where = ["--base-url", "http://127.0.0.1:9/v1", "--model", "m"]
    done = cli.run("generate", "--n", "1", "--out", imported, *where)
    assert done.code == 2
    assert "is there, but no journal.jsonl that it comes from" in done.complaint
    assert lines(imported / RECORDS)[0]["output"] == "The Nile."


def test_it_is_translated_from(imported: Path, tmp_path: Path) -> None:
    def plan(run: Path, lang: str) -> Plan:
        flags = {"recipe": "translate", "source": str(run), "lang": (lang,), "model": ("m",)}
        return Plan.of(make_config({**flags, "base_url": ("http://x/v1",)}, environment={}))

    (row,) = plan(imported, "en").tracks[0].source
    assert (row.id, row.task.output) == ("zh-000000-00", "Good morning!")
    with pytest.raises(UsageError, match=r"records\.jsonl:2: has earlier turns or a system mess"):
        plan(imported, "zh")
