"""Exports: each layout field by field, a file for each language, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.errors import DiskError, UsageError
from selfinstruct.export import ExportedFile, export
from selfinstruct.exports import MANIFEST, RECORDS, line
from selfinstruct.formats import FORMATS, alpaca_row, get_format
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.records import Example, Task

RIVER = Task("Name a river.", "", "The Nile.")
PASSIVE = Task("把下面的句子改成被动句。", "猫吃了鱼。", "鱼被猫吃了。")
GREETING = Task("翻译成英文。", "早上好！", "Good morning!")
BOTH = [("en", RIVER), ("zh", PASSIVE), ("en", Task("Add.", "1 + 1", "2")), ("zh", GREETING)]


def record(lang: str, request: int, task: Task) -> dict[str, Any]:
    """A row as records.jsonl has it."""
    return {
        "id": f"{lang}-{request:06}-00",
        "lang": lang,
        "recipe": "alpaca",
        "request": request,
        "position": 0,
        "example_ids": ["seed_1", "seed_2"],
        "model": "m",
        "nearest": {"id": "seed_1", "rouge_l": 0.25} if request else None,
        **alpaca_row(task),
    }


def run_of(directory: Path, tasks: Sequence[tuple[str, Task]], *, complete: bool = True) -> Path:
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
    assert content.endswith(b"\n")
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
    with pytest.raises(UsageError, match=r"'belle'; known: alpaca, belle-0\.5m, belle-1m, bel"):
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

    def opened(path: Path, *arguments: Any) -> Any:
        return plain(Path("/dev/full") if path.suffix == ".tmp" else path, *arguments)

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
