"""`export`: a run's kept rows in the layout that a trainer reads, a file for each language.

Enters: a run directory and a format's name. Leaves: files, whole or not at all. Reads records.jsonl
twice, a row at a time: once to see that it is sound and which languages it has, once to write.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

from selfinstruct.errors import UsageError
from selfinstruct.exports import MANIFEST, RECORDS, disk_error, line
from selfinstruct.formats import Format, get_format, read_alpaca
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.journal import sync_directory
from selfinstruct.manifest import Manifest, read_manifest
from selfinstruct.records import Example

FOLDER = "export"
# A language becomes a part of a file name, so it is never more than this.
_LANG = re.compile(r"[a-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that was written."""

    path: Path
    lang: str
    rows: int


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote. notice: what the reader should know of the rows, "" for nothing."""

    files: tuple[ExportedFile, ...]
    notice: str = ""


class _Row(NamedTuple):
    lang: str
    id: str
    number: int
    example: Example


def export(
    directory: Path, format_name: str, out: Path | None = None, *, langs: Sequence[str] = ()
) -> Exported:
    """Write the kept rows of `langs` (all that have rows when empty), replacing older files.

    out: the file for one language, unless it is an existing folder; for several, the folder. It
    is DIR/export when not given. An unfinished run is exported as far as it is published, with a
    notice. Raises UsageError (no run, no rows, damage as FILE:LINE, unknown name), DiskError.
    """
    layout = get_format(format_name)
    with _open(directory) as file:
        counts, digest = _survey(file, directory / RECORDS)
        wanted = _wanted(directory, counts, langs)
        destinations = _destinations(directory, layout, out, wanted)
        file.seek(0)
        _write(_rows(file, directory / RECORDS), layout, destinations)
    files = tuple(ExportedFile(path, lang, counts[lang]) for lang, path in destinations.items())
    return Exported(files, _notice(directory, read_manifest(directory), digest))


def _open(directory: Path) -> BufferedReader:
    path = directory / RECORDS
    try:
        return path.open("rb")
    except FileNotFoundError:
        if not (directory / JOURNAL).exists():
            raise UsageError(f"{directory}: no run here") from None
        raise UsageError(
            f"{directory}: no rows are published yet",
            hint="a run writes its files when it ends or is interrupted; see `selfinstruct status`",
        ) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _rows(file: BufferedReader, path: Path) -> Iterator[_Row]:
    """Every row; bytes split at newlines alone, since text may hold U+2028 and its like."""
    try:
        for number, content in enumerate(file, start=1):
            try:
                yield _row(content, number)
            except (ValueError, KeyError, TypeError, RecursionError):
                raise UsageError(
                    f"{path}:{number}: not a record", hint="`selfinstruct verify` tells more"
                ) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _row(content: bytes, number: int) -> _Row:
    if not content.endswith(b"\n"):
        raise ValueError("cut off")
    # Decoded here: json.loads would guess UTF-16, and let surrogates through, if given bytes.
    row = json.loads(content.decode("utf-8"))
    lang, id, input = (row[key] for key in ("lang", "id", "input"))
    if not all(isinstance(value, str) for value in (lang, id, input)):
        raise TypeError("a field is not text")
    if not _LANG.fullmatch(lang):
        raise ValueError("not a language")
    return _Row(lang, id, number, read_alpaca(row))


def _survey(file: BufferedReader, path: Path) -> tuple[Counter[str], str]:
    """Rows of each language and the file's SHA-256, before anything is written."""
    counts = Counter(row.lang for row in _rows(file, path))
    file.seek(0)
    return counts, hashlib.file_digest(file, "sha256").hexdigest()


def _wanted(directory: Path, counts: Mapping[str, int], langs: Sequence[str]) -> tuple[str, ...]:
    if not counts:
        raise UsageError(f"{directory}: no rows are kept yet")
    for lang in langs:
        if lang not in counts:
            raise UsageError(f"{directory} has no rows in {lang!r}; it has: {', '.join(counts)}")
    return tuple(dict.fromkeys(langs)) or tuple(counts)


def _destinations(
    directory: Path, layout: Format, out: Path | None, langs: Sequence[str]
) -> dict[str, Path]:
    """The file of each language, every one in the same folder."""
    if out is not None and len(langs) == 1 and not out.is_dir():
        paths = {langs[0]: out}
    else:
        folder = directory / FOLDER if out is None else out
        if folder.exists() and not folder.is_dir():
            raise UsageError(
                f"{folder} is a file; {', '.join(langs)} need a folder",
                hint="name a folder, or one language with --lang",
            )
        paths = {lang: folder / layout.file_name(lang) for lang in langs}
    for path in paths.values():
        # A mistyped --out must not cost a journal, nor the rows that the manifest vouches for.
        if (path.parent / JOURNAL).exists():
            raise UsageError(f"{path} is among the files of a run; choose another place")
        # /dev/stdout and its like would be renamed over.
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UsageError(f"{path} is not a plain file")
    return paths


def _write(rows: Iterator[_Row], layout: Format, destinations: Mapping[str, Path]) -> None:
    """All files durably under temporary names, then all renamed. Raises DiskError."""
    # With the process's id: two exports at once do not write into each other's file.
    temporary = {
        lang: path.with_name(f".{path.name}.{os.getpid()}.tmp")
        for lang, path in destinations.items()
    }
    first, *others = destinations.values()
    try:
        first.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            files = {lang: stack.enter_context(temporary[lang].open("wb")) for lang in temporary}
            for row in rows:
                if file := files.get(row.lang):
                    file.write(line(_laid_out(row, layout)))
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
        for lang, path in destinations.items():
            temporary[lang].replace(path)
        sync_directory(first.parent)
    except OSError as error:
        raise disk_error(first.parent if others else first, error) from error
    finally:
        for path in temporary.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _laid_out(row: _Row, layout: Format) -> dict[str, Any]:
    try:
        return layout.row(row.id, row.example)
    except ValueError as problem:
        raise UsageError(f"row {row.number} ({row.id}): {problem}") from None


def _notice(directory: Path, manifest: Manifest | None, digest: str) -> str:
    """Why these rows may not be the whole run, "" when they are."""
    if manifest is None:
        return f"{directory} has no {MANIFEST}: these rows may be a part of the run"
    journal = directory / JOURNAL
    # A journal that has grown is a run that was asked for more rows after these were published.
    went_on = journal.exists() and journal.stat().st_size != manifest.journal_bytes
    if not manifest.complete or went_on:
        return f"{directory} is not complete: these are the rows published so far"
    if manifest.files.get(RECORDS, {}).get("sha256") != digest:
        return (
            f"{directory / RECORDS} is not the file that {MANIFEST} states; "
            f"`selfinstruct verify {directory}` tells more"
        )
    return ""
