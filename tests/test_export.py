"""Exports: each layout field by field, a file for each language, whole or not at all."""

from __future__ import annotations

import doctest
import errno
import hashlib
import importlib
import json
import os
import pkgutil
import re
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import selfinstruct.exporting as exporting
from selfinstruct.cli.moving import FORMAT_NAMES
from selfinstruct.config import make_config
from selfinstruct.errors import DiskError, UsageError
from selfinstruct.exporting import EXPORTERS
from selfinstruct.exporting.card import toml_lines
from selfinstruct.exporting.choice import Choice, fraction
from selfinstruct.exporting.export import ExportedFile, export
from selfinstruct.exports import MANIFEST, RECORDS, line
from selfinstruct.formats import FORMATS, alpaca_row, example_row, get_format
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.records import Example, Task
from tests import cli

RIVER = Task("Name a river.", "", "The Nile.")
PASSIVE = Task("把下面的句子改成被动句。", "猫吃了鱼。", "鱼被猫吃了。")
GREETING = Task("翻译成英文。", "早上好！", "Good morning!")
BOTH = [("en", RIVER), ("zh", PASSIVE), ("en", Task("Add.", "1 + 1", "2")), ("zh", GREETING)]


def record(lang: str, request: int, task: Task | Example) -> dict[str, Any]:
    """A row as records.jsonl has it."""
    example = task if isinstance(task, Example) else Example(task)
    return {
        "id": f"{lang}-{request:06}-00",
        "lang": lang,
        "recipe": "alpaca",
        "request": request,
        "position": 0,
        "example_ids": ["seed_1", "seed_2"],
        "model": "m",
        "nearest": {"id": "seed_1", "rouge_l": 0.25} if request else None,
        **example_row(example),
    }


def run_of(
    directory: Path, tasks: Sequence[tuple[str, Task | Example]], *, complete: bool = True
) -> Path:
    """A run directory as far as an export looks at it."""
    directory.mkdir(parents=True, exist_ok=True)
    content = b"".join(line(record(lang, k, task)) for k, (lang, task) in enumerate(tasks))
    (directory / RECORDS).write_bytes(content)
    (directory / JOURNAL).write_bytes(b"the journal\n")
    empty = ("rejected", "unusable_replies", "languages", "requests", "tokens")
    manifest: dict[str, Any] = {key: {} for key in empty}
    manifest |= {"fingerprint": {}, "config": {}, "versions": {}, "seconds": 1.0}
    manifest |= {"complete": complete, "n": 2, "kept": len(tasks), "candidates": len(tasks)}
    manifest |= {"started_at": "2026-01-01T00:00:00+00:00", "journal_bytes": len(b"the journal\n")}
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"] = {RECORDS: {"rows": len(tasks), "sha256": digest}}
    (directory / MANIFEST).write_text(json.dumps(manifest))
    return directory


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_of(tmp_path / "run", BOTH)


def rows(path: Path) -> list[Any]:
    content = path.read_bytes()
    assert not content or content.endswith(b"\n")
    return [json.loads(row) for row in content.split(b"\n")[:-1]]


def names(folder: Path) -> set[str]:
    """Every name in a folder, hidden ones too."""
    return {path.name for path in folder.iterdir()}


# ── layouts ──────────────────────────────────────────────────────────────────────────────────


def test_formats_are_entered_under_their_own_names() -> None:
    assert {name: layout.name for name, layout in FORMATS.items()} == {
        name: name for name in FORMATS
    }
    assert get_format("belle-0.5m").file_name("zh") == "belle-0.5m.zh.jsonl"


def test_an_unknown_format_is_told_the_known_ones(run: Path) -> None:
    with pytest.raises(UsageError, match=r"'belle'; known: alpaca, alpaca-json, axol"):
        export(run, "belle")


@pytest.mark.parametrize(
    ("name", "without_input", "with_input"),
    [
        (
            "alpaca",
            {"instruction": "说出一条河。", "input": "", "output": "长江。"},
            {"instruction": "翻译成英文。", "input": "早上好！", "output": "Good morning!"},
        ),
        (
            "belle-0.5m",
            {"input": "说出一条河。", "target": "长江。"},
            {"input": "翻译成英文。\n早上好！", "target": "Good morning!"},
        ),
        (
            "belle-conversations",
            {
                "id": "zh-000000-00",
                "conversations": [
                    {"from": "human", "value": "说出一条河。"},
                    {"from": "assistant", "value": "长江。"},
                ],
            },
            {
                "id": "zh-000001-00",
                "conversations": [
                    {"from": "human", "value": "翻译成英文。\n早上好！"},
                    {"from": "assistant", "value": "Good morning!"},
                ],
            },
        ),
    ],
)
def test_layout(
    tmp_path: Path, name: str, without_input: dict[str, Any], with_input: dict[str, Any]
) -> None:
    river = Task("说出一条河。", "", "长江。")
    run = run_of(tmp_path, [("zh", river), ("zh", GREETING)])
    (file,) = export(run, name).files
    assert file == ExportedFile(run / "export" / f"{name}.zh.jsonl", "zh", 2)
    found = rows(file.path)
    assert found == [without_input, with_input]
    assert [list(row) for row in found] == [list(without_input), list(with_input)], "field order"
    assert "早上好" in file.path.read_text(encoding="utf-8"), "readable, not escaped"


def test_ids_are_those_of_the_records(run: Path) -> None:
    before = [file.path.read_bytes() for file in export(run, "belle-conversations").files]
    files = export(run, "belle-conversations").files
    ids = [row["id"] for file in files for row in rows(file.path)]
    assert ids == ["en-000000-00", "en-000002-00", "zh-000001-00", "zh-000003-00"]
    assert [file.path.read_bytes() for file in files] == before, "the same bytes twice"


# ── languages and places ─────────────────────────────────────────────────────────────────────


def test_two_languages_are_two_files(run: Path) -> None:
    found = export(run, "alpaca")
    assert found.notice == ""
    assert [(file.path.name, file.lang, file.rows) for file in found.files] == [
        ("alpaca.en.jsonl", "en", 2),
        ("alpaca.zh.jsonl", "zh", 2),
    ]
    for file in found.files:
        assert rows(file.path) == [alpaca_row(task) for lang, task in BOTH if lang == file.lang]
    assert names(run / "export") == {"alpaca.en.jsonl", "alpaca.zh.jsonl"}


def test_one_language_of_two(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "rows.json"
    (file,) = export(run, "alpaca", out, langs=["zh", "zh"]).files
    assert file == ExportedFile(out, "zh", 2)
    assert rows(out) == [alpaca_row(PASSIVE), alpaca_row(GREETING)]
    assert names(out.parent) == {"rows.json"}
    assert not (run / "export").exists()


def test_a_folder_is_where_files_go(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    both = export(run, "belle-0.5m", folder)
    assert [file.path for file in both.files] == [
        folder / "belle-0.5m.en.jsonl",
        folder / "belle-0.5m.zh.jsonl",
    ]
    (one,) = export(run, "alpaca", folder, langs=["en"]).files
    assert one.path == folder / "alpaca.en.jsonl"


def test_two_languages_do_not_fit_a_file(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_bytes(b"mine\n")
    with pytest.raises(UsageError, match="en, zh need a folder"):
        export(run, "alpaca", out)
    assert out.read_bytes() == b"mine\n"


def test_a_language_without_rows_is_named(run: Path) -> None:
    with pytest.raises(UsageError, match="no rows in 'fr'; it has: en, zh"):
        export(run, "alpaca", langs=["en", "fr"])
    assert not (run / "export").exists()


@pytest.mark.parametrize("name", [JOURNAL, RECORDS, MANIFEST, "new.jsonl"])
def test_a_run_is_not_written_over(run: Path, name: str) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(UsageError, match="among the files of a run"):
        export(run, "alpaca", run / name, langs=["en"])
    with pytest.raises(UsageError, match="among the files of a run"):
        export(run, "alpaca", run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_only_plain_files_are_replaced(run: Path, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(run / JOURNAL)
    for path in (pipe, link):
        with pytest.raises(UsageError, match="not a plain file"):
            export(run, "alpaca", path, langs=["en"])
    assert pipe.is_fifo()
    assert link.is_symlink()


# ── runs that are not there, not whole, not sound ────────────────────────────────────────────


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing: no run here"):
        export(tmp_path / "nothing", "alpaca")
    assert not (tmp_path / "nothing").exists()


def test_no_records_yet(run: Path) -> None:
    (run / RECORDS).unlink()
    with pytest.raises(UsageError, match="no rows are published yet"):
        export(run, "alpaca")
    (run / RECORDS).write_bytes(b"")
    with pytest.raises(UsageError, match="no rows are kept yet"):
        export(run, "alpaca")


def test_a_part_of_a_run_is_exported_and_said(tmp_path: Path) -> None:
    run = run_of(tmp_path, [("en", RIVER)], complete=False)
    found = export(run, "alpaca")
    assert found.files[0].rows == 1
    assert "is not complete" in found.notice


def test_a_run_that_was_asked_for_more_is_not_complete(run: Path) -> None:
    with (run / JOURNAL).open("ab") as journal:
        journal.write(b"one more reply\n")
    assert "is not complete" in export(run, "alpaca").notice


def test_records_that_the_manifest_does_not_state(run: Path) -> None:
    content = (run / RECORDS).read_bytes()
    (run / RECORDS).write_bytes(content[: content.index(b"\n") + 1])
    found = export(run, "alpaca")
    assert [file.rows for file in found.files] == [1]
    assert "is not the file that manifest.json states" in found.notice
    (run / MANIFEST).unlink()
    assert "has no manifest.json" in export(run, "alpaca").notice


@pytest.mark.parametrize(
    "damaged",
    [
        b"{broken\n",
        b"\n",
        b"[1]\n",
        b"null\n",
        b'{"id": "x"}\n',
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        line({**record("zh", 1, PASSIVE), "input": None}),
        line({**record("zh", 1, PASSIVE), "id": 7}),
        line({**record("zh", 1, PASSIVE), "lang": "../../zh"}),
        line({**record("zh", 1, PASSIVE), "lang": ""}),
        line(record("zh", 1, PASSIVE))[:-1],
        line(record("zh", 1, PASSIVE)).replace("猫".encode(), b"\xed\xa0\x80"),
    ],
)
def test_a_damaged_line_is_named(run: Path, tmp_path: Path, damaged: bytes) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(b"older\n")
    good = line(record("en", 0, RIVER))
    (run / RECORDS).write_bytes(good + good + damaged)
    with pytest.raises(UsageError, match=rf"{re.escape(str(run / RECORDS))}:3: not a record"):
        export(run, "alpaca", out)
    assert out.read_bytes() == b"older\n"
    assert names(tmp_path) == {"out.jsonl", "run"}


# ── whole or not at all ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_full_disk_leaves_the_older_files(
    run: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    older = {file.path: file.path.read_bytes() for file in export(run, "alpaca").files}
    run_of(run, [("en", Task("Newer.", "", "Yes.")), ("zh", Task("更新。", "", "是。"))])
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskError, match="No space left"):
            export(run, "alpaca")
    assert {path: path.read_bytes() for path in older} == older
    assert names(run / "export") == {path.name for path in older}
    export(run, "alpaca")
    assert rows(run / "export" / "alpaca.en.jsonl")[0]["instruction"] == "Newer."


def test_a_real_full_disk(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full fails in write and again in close, as a disk does."""
    plain = Path.open

    def opened(path: Path, *arguments: Any, **named: Any) -> Any:
        return plain(Path("/dev/full") if path.suffix == ".tmp" else path, *arguments, **named)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(DiskError, match="No space left"):
        export(run, "alpaca")
    assert names(run / "export") == set()


def test_a_folder_that_cannot_be_made(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="cannot write"):
        export(run, "alpaca", tmp_path / "file" / "inside", langs=["en"])


# ── any text ─────────────────────────────────────────────────────────────────────────────────

# json.loads joins a high surrogate to a low one after it, so records.jsonl never holds such.
_JOINED = re.compile("[\ud800-\udbff][\udc00-\udfff]")
HARD = (
    "\ud800 \udfff \u2028\u2029\x85\x0b\x0c\x1c\r\n\x00\u202e\u05d0\u0627\u200b\u200d\ufeffe\u0301"
)
TEXTS = st.text(st.characters() | st.sampled_from(HARD), max_size=20).filter(
    lambda text: not _JOINED.search(text)
)
TASKS = st.builds(Task, TEXTS, TEXTS, TEXTS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["en", "zh"]), TASKS), min_size=1, max_size=4))
def test_any_text_comes_through_unchanged(tasks: list[tuple[str, Task]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        run = run_of(Path(name), tasks)
        for layout in FORMATS.values():
            for file in export(run, layout.name).files:
                expected = [
                    layout.row(f"{lang}-{k:06}-00", Example(task))
                    for k, (lang, task) in enumerate(tasks)
                    if lang == file.lang
                ]
                assert rows(file.path) == expected
                file.path.read_bytes().decode("utf-8")


def test_hard_text_by_name(tmp_path: Path) -> None:
    task = Task(f"Say {HARD}", HARD, f"{HARD}.")
    run = run_of(tmp_path, [("en", task), ("en", RIVER)])
    (file,) = export(run, "belle-0.5m").files
    assert rows(file.path) == [
        {"input": f"Say {HARD}\n{HARD}", "target": f"{HARD}."},
        {"input": "Name a river.", "target": "The Nile."},
    ]
    assert rb"\ud800 \udfff" in file.path.read_bytes(), "a lone surrogate stays an escape"


@pytest.mark.parametrize(
    "text", ["\u2028", "\u202eאב", "ا", "\u200b\u200d", "e\u0301", "\ufeff", "🇨🇳"]
)
def test_text_that_utf8_holds_keeps_its_bytes(tmp_path: Path, text: str) -> None:
    run = run_of(tmp_path, [("en", Task("Repeat.", text, text))])
    (file,) = export(run, "alpaca").files
    assert file.path.read_bytes() == (
        b'{"instruction": "Repeat.", "input": "%b", "output": "%b"}\n' % ((text.encode(),) * 2)
    )


# ── rows that a layout has no place for ──────────────────────────────────────────────────────

SOURCE = Example(Task("And its source?", "", "Lake Victoria."), (("Name a river.", "The Nile."),))
BRIEF = Example(RIVER, (), "Be brief.")


def test_earlier_turns_come_along(tmp_path: Path) -> None:
    run = run_of(tmp_path, [("en", SOURCE), ("en", BRIEF)])
    (file,) = export(run, "messages").files
    first, second = rows(file.path)
    assert [m["content"] for m in first["messages"]] == [
        "Name a river.",
        "The Nile.",
        "And its source?",
        "Lake Victoria.",
    ]
    assert second["messages"][0] == {"role": "system", "content": "Be brief."}
    (file,) = export(run, "alpaca").files
    assert rows(file.path) == [example_row(SOURCE), example_row(BRIEF)]


def test_rows_without_a_place_are_left_out_and_said(tmp_path: Path) -> None:
    run = run_of(tmp_path, [("en", RIVER), *[("en", SOURCE)] * 4])
    done = export(run, "belle-0.5m")
    assert done.left_out == 4
    assert rows(done.files[0].path) == [{"input": "Name a river.", "target": "The Nile."}]
    said = done.notice.splitlines()
    assert said[0] == "4 rows are left out: belle-0.5m has no place for them"
    assert said[1] == f"{run / RECORDS}:2: belle-0.5m has no place for earlier turns"
    assert said[-1] == "…"


def test_strict_refuses_them(tmp_path: Path) -> None:
    run = run_of(tmp_path, [("en", RIVER), ("en", BRIEF)])
    with pytest.raises(UsageError, match=r"records\.jsonl:2: ziya has no place for a system mess"):
        export(run, "ziya", choice=Choice(strict=True))
    assert not (run / "export" / "ziya.en.jsonl").exists()
    with pytest.raises(UsageError, match=r"no row has a place in ziya: .*:1: ziya has no place"):
        export(run_of(tmp_path, [("en", BRIEF)]), "ziya")


# ── which rows, in which order ───────────────────────────────────────────────────────────────

MANY: list[tuple[str, Task | Example]] = [
    ("en", Task(f"Name river {k}.", "", f"River {k}.")) for k in range(200)
]


def said(path: Path) -> list[str]:
    return [row["instruction"] for row in rows(path)]


def test_the_split_is_by_hash(tmp_path: Path) -> None:
    run = run_of(tmp_path, MANY)
    done = export(run, "alpaca", choice=Choice(validation=0.1))
    assert [(f.path.name, f.split) for f in done.files] == [
        ("alpaca.en.train.jsonl", "train"),
        ("alpaca.en.validation.jsonl", "validation"),
    ]
    train, validation = (said(file.path) for file in done.files)
    whole = said(export(run, "alpaca").files[0].path)
    assert sorted(train + validation) == sorted(whole)
    assert [text for text in whole if text in set(train)] == train, "the order stays"
    assert 5 <= len(validation) <= 40
    for text in whole:
        assert (text in validation) == (fraction(Example(Task(text, "", "any"))) < 0.1)


@given(st.permutations(range(40)), st.integers(1, 40))
@settings(max_examples=15, deadline=None)
def test_the_split_depends_on_nothing_else(order: list[int], count: int) -> None:
    """Not on the order, not on which rows are there."""
    with tempfile.TemporaryDirectory() as name:
        run = run_of(Path(name), [MANY[k] for k in order[:count]])
        done = export(run, "alpaca", choice=Choice(validation=0.3))
        for file in done.files:
            for text in said(file.path):
                is_validation = fraction(Example(Task(text, "", ""))) < 0.3
                assert (file.split == "validation") == is_validation


def test_limit_and_shuffle(tmp_path: Path) -> None:
    run = run_of(tmp_path, [*MANY, ("zh", GREETING)])
    whole = said(export(run, "alpaca", langs=["en"]).files[0].path)
    first = export(run, "alpaca", choice=Choice(limit=3)).files
    assert [(file.lang, file.rows) for file in first] == [("en", 3), ("zh", 1)]
    assert said(first[0].path) == whole[:3]
    mixed = said(export(run, "alpaca", choice=Choice(shuffle=7)).files[0].path)
    assert mixed != whole
    assert sorted(mixed) == sorted(whole)
    assert said(export(run, "alpaca", choice=Choice(shuffle=7, limit=5)).files[0].path) == mixed[:5]
    assert said(export(run, "alpaca", choice=Choice(shuffle=8)).files[0].path) != mixed
    fewer = run_of(tmp_path / "fewer", MANY[:50])
    kept = [text for text in mixed if text in {f"Name river {k}." for k in range(50)}]
    assert said(export(fewer, "alpaca", choice=Choice(shuffle=7)).files[0].path) == kept


def test_two_splits_do_not_fit_a_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(UsageError, match="file is a file; train and validation need a folder"):
        export(run, "alpaca", tmp_path / "file", langs=["en"], choice=Choice(validation=0.5))


# ── exporters ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    ["axolotl", "card", "choice", "exporter", "llama_factory", "openai_finetune", "sinks", "table"],
)
def test_every_exporter_shows_an_input_and_an_output(name: str) -> None:
    assert name in {module.name for module in pkgutil.iter_modules(exporting.__path__)}
    done = doctest.testmod(
        importlib.import_module(f"selfinstruct.exporting.{name}"),
        optionflags=doctest.NORMALIZE_WHITESPACE,
    )
    assert done.attempted
    assert not done.failed


def test_help_names_the_formats() -> None:
    assert FORMAT_NAMES.split(", ") == sorted(EXPORTERS)
    assert all(name == exporter.name for name, exporter in EXPORTERS.items())


def test_one_json_array(run: Path) -> None:
    en, zh = export(run, "alpaca-json").files
    assert en.path.name == "alpaca-json.en.json"
    assert json.loads(en.path.read_bytes()) == [alpaca_row(t) for lang, t in BOTH if lang == "en"]
    assert "早上好" in zh.path.read_text(encoding="utf-8")


def test_parquet(tmp_path: Path) -> None:
    import polars as pl

    run = run_of(tmp_path, [("en", RIVER), ("en", SOURCE), ("zh", GREETING)])
    en, zh = export(run, "parquet").files
    assert en.path.name == "parquet.en.parquet"
    first, second = pl.read_parquet(en.path).to_dicts()
    assert first == {"id": "en-000000-00", **alpaca_row(RIVER), "history": [], "system": ""}
    assert second["history"] == [["Name a river.", "The Nile."]]
    # All files have the columns that one needs.
    assert pl.read_parquet(zh.path).columns == pl.read_parquet(en.path).columns
    run = run_of(tmp_path / "plain", [("en", RIVER), ("en", Task("Say.", "", "\ud800"))])
    done = export(run, "parquet")
    assert pl.read_parquet(done.files[0].path).to_dicts() == [
        {"id": "en-000000-00", **alpaca_row(RIVER)}
    ]
    assert "records.jsonl:2: Parquet has no place for a lone surrogate" in done.notice


@pytest.mark.parametrize(
    ("tasks", "formatting", "columns"),
    [
        ([RIVER], "alpaca", {"prompt", "query", "response"}),
        ([RIVER, SOURCE], "sharegpt", {"messages"}),
        ([BRIEF], "sharegpt", {"messages"}),
    ],
)
def test_llama_factory(
    tmp_path: Path, tasks: list[Task | Example], formatting: str, columns: set[str]
) -> None:
    run = run_of(tmp_path, [("en", task) for task in tasks])
    done = export(run, "llama-factory")
    folder = run / "export" / "llama-factory"
    assert done.companion == folder / "dataset_info.json"
    info = json.loads(done.companion.read_bytes())
    assert info.keys() == {"selfinstruct_en"}
    entry = info["selfinstruct_en"]
    assert entry["formatting"] == formatting
    assert entry["columns"].keys() == columns
    for row in rows(folder / entry["file_name"]):
        assert set(entry["columns"].values()) <= row.keys(), "only columns that exist"
    assert names(folder) == {"dataset_info.json", "selfinstruct_en.jsonl"}


def test_axolotl(tmp_path: Path) -> None:
    run = run_of(tmp_path, [*MANY, ("zh", GREETING)])
    done = export(run, "axolotl", choice=Choice(validation=0.1))
    assert done.companion is not None
    comment, text = done.companion.read_text().split("\n", 1)
    assert comment.startswith("# ")
    config = json.loads(text)
    (test,) = config["test_datasets"]
    assert test == {
        "path": "selfinstruct_en_validation.jsonl",
        "ds_type": "json",
        "type": "alpaca",
        "split": "train",
    }
    paths = [entry["path"] for entry in config["datasets"]]
    assert paths == ["selfinstruct_en.jsonl", "selfinstruct_zh.jsonl"]
    assert rows(done.companion.parent / paths[1]) == [alpaca_row(GREETING)]
    run_of(run, [("en", SOURCE)])
    export(run, "axolotl")
    (entry,) = json.loads(done.companion.read_text().split("\n", 1)[1])["datasets"]
    assert entry["type"] == "chat_template"
    assert "messages" in rows(done.companion.parent / entry["path"])[0]
    assert names(done.companion.parent) == {"data.yaml", "selfinstruct_en.jsonl"}, "no older files"


def test_openai_finetune(tmp_path: Path) -> None:
    empty = Task("Say nothing.", "", "")
    run = run_of(tmp_path, [*MANY[:10], ("en", empty)])
    done = export(run, "openai-finetune")
    assert done.left_out == 1
    (file,) = done.files
    assert file.rows == 10
    assert rows(file.path)[0] == {
        "messages": [
            {"role": "user", "content": "Name river 0."},
            {"role": "assistant", "content": "River 0."},
        ]
    }
    before = file.path.read_bytes()
    run_of(tmp_path, MANY[:9])
    with pytest.raises(UsageError, match="has 9 rows; OpenAI takes training files of at least 10"):
        export(run, "openai-finetune")
    assert file.path.read_bytes() == before


def head_of(card: str) -> str:
    return card.split("---\n")[1]


def test_the_card_states_what_is_there(tmp_path: Path) -> None:
    run = run_of(tmp_path, [*MANY, ("zh-hant", GREETING)])
    done = export(run, "hf", choice=Choice(validation=0.1), license="cc-by-4.0")
    folder = run / "export" / "hf"
    counts = {(file.lang, file.split): file.rows for file in done.files}
    assert sum(counts.values()) == 201
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| en | {counts['en', 'train']} | {counts['en', 'validation']} |" in card
    assert 'license: "cc-by-4.0"' in head_of(card)
    assert 'language: ["en", "zh"]' in head_of(card)
    assert 'language_bcp47: ["zh-hant"]' in head_of(card)
    assert 'size_categories: ["n<1K"]' in head_of(card)
    for file in done.files:
        path = str(file.path.relative_to(folder))
        assert re.fullmatch(rf"data/{file.lang}/{file.split}-[0-9a-f]{{12}}\.parquet", path)
        assert head_of(card).count(path) == 2, "in the default config and in the language's"
    named = set(re.findall(r"data/[\w-]+/[\w-]+\.parquet", card))
    assert named == {str(path.relative_to(folder)) for path in folder.rglob("*.parquet")}
    without = export(run, "hf")
    assert without.companion is not None
    again = without.companion.read_text()
    assert "license:" not in head_of(again)
    assert "Licence: none was chosen yet" in again
    assert not list(folder.rglob("validation*.parquet")), "an older split is gone"


def test_two_exports_for_the_hub_have_other_file_names(tmp_path: Path) -> None:
    """`datasets` caches by these names, not by content."""

    def files(tasks: Sequence[tuple[str, Task | Example]], choice: Choice) -> tuple[str, ...]:
        done = export(run_of(tmp_path, tasks), "hf", choice=choice)
        return tuple(file.path.name for file in done.files)

    first = files(MANY[:20], Choice())
    assert files(MANY[:20], Choice()) == first
    others = [files(MANY[1:21], Choice()), files(MANY[:20], Choice(limit=5))]
    others.append(files(MANY[:20], Choice(shuffle=1)))
    assert len({first, *others}) == 4


def test_the_card_tells_how_to_make_it_again(tmp_path: Path) -> None:
    run = run_of(tmp_path, [("en", RIVER)])
    manifest = json.loads((run / MANIFEST).read_bytes())
    config = make_config(
        {"n": 5, "model": ("m|`x",), "base_url": ("http://secret-host:8000/v1",), "lang": ("en",)}
        | {"seeds": "/home/me/seeds.jsonl", "extra_body": {"top_k": 40}},
        environment={},
    )
    manifest |= {"config": config.stored(), "rejected": {"echo": 3}, "candidates": 4}
    manifest |= {"versions": {"selfinstruct": "9.9"}, "requests": {"paid": 2}}
    (run / MANIFEST).write_text(json.dumps(manifest))
    done = export(run, "hf")
    assert done.companion is not None
    card = done.companion.read_text()
    assert "1 rows kept of 4 candidates, 2 requests" in card
    assert "| `echo` | 3 |" in card
    assert "selfinstruct 9.9" in card
    assert "secret-host" not in card
    assert "/home/me" not in card
    toml = card.split("```toml\n")[1].split("```")[0]
    again = make_config(
        {"base_url": ("http://other/v1",)}, file=toml.encode(), file_name="f", environment={}
    )
    assert tomllib.loads(toml)["seeds"] == "seeds.jsonl"
    assert again.generation() == config.generation()
    assert list(toml_lines({"n": None, "seed": 0, "structured": False})) == [
        "seed = 0",
        "structured = false",
    ]


@pytest.mark.parametrize("name", ["hf", "llama-factory", "axolotl"])
def test_a_folder_of_other_files_is_left_alone(run: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / EXPORTERS[name].companion).write_text("mine\n")
    with pytest.raises(UsageError, match="holds other files than a"):
        export(run, name, folder)
    assert names(folder) == {EXPORTERS[name].companion}
    with pytest.raises(UsageError, match="among the files of a run"):
        export(run, name, run)
    (tmp_path / "new").mkdir()
    first = export(run, name, tmp_path / "new")
    second = export(run, name, tmp_path / "new")
    assert first == second
    with pytest.raises(UsageError, match="is a file"):
        export(run, name, folder / EXPORTERS[name].companion, langs=["en"])


def test_the_command(run: Path, tmp_path: Path) -> None:
    done = cli.run("export", run, "--format", "hf", "--out", tmp_path / "hf", "--validation", "0.5")
    assert done.code == 0, done.err
    assert str(tmp_path / "hf" / "README.md") in done.out
    done = cli.run(
        "export", run, "--format", "belle-1m", "--shuffle", "1", "--limit", "1", "--json"
    )
    assert done.json["left_out"] == 0
    assert done.json["companion"] is None
    assert [file["rows"] for file in done.json["files"]] == [1, 1]
    for wrong in ("1", "-0.1", "nan"):
        failed = cli.run("export", run, "--format", "alpaca", "--validation", wrong)
        assert failed.code == 2
        assert "--validation: a share of the rows" in failed.complaint
    failed = cli.run("export", run, "--format", "alpaca", "--license", "mit")
    assert "--license is for --format hf" in failed.complaint
