"""`export`: a run's kept rows in the layout that a trainer reads, files for each language.

Enters: a run directory and a format's name. Leaves: files, whole or not at all. Reads records.jsonl
twice, a row at a time: once to see that it is sound and what it holds, once to write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from selfinstruct.errors import UsageError
from selfinstruct.exporting import get_exporter
from selfinstruct.exporting.choice import Choice
from selfinstruct.exporting.exporter import Exporter, Written
from selfinstruct.exporting.places import Part, destinations
from selfinstruct.exporting.rows import Row, Rows, open_records
from selfinstruct.exports import MANIFEST, RECORDS
from selfinstruct.formats import Format
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.manifest import Manifest, read_manifest
from selfinstruct.staging import Staging

# A few examples say enough; the count says the rest.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that was written. split: "" where rows are not split."""

    path: Path
    lang: str
    rows: int
    split: str = ""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    files: those of the rows. companion: the file beside them that a trainer reads first. left_out:
    rows that the layout has no place for. notice: what the reader should know, "" for nothing.
    """

    files: tuple[ExportedFile, ...]
    notice: str = ""
    companion: Path | None = None
    left_out: int = 0


@dataclass
class _Tally:
    """What was written: rows of each part. left_out: rows without a place, `shown` the first."""

    rows: Counter[Part] = field(default_factory=Counter)
    left_out: int = 0
    shown: list[str] = field(default_factory=list)


def export(
    directory: Path,
    format_name: str,
    out: Path | None = None,
    *,
    langs: Sequence[str] = (),
    choice: Choice | None = None,
    license: str = "",
) -> Exported:
    """Write the kept rows of `langs` (all that have rows when empty), replacing older files.

    out: the file, if one is written, unless it is an existing folder; else the folder. It is
    DIR/export when not given, DIR/export/NAME for formats that are folders. An unfinished run is
    exported as far as it is published, with a notice. license: what the card of `hf` says.
    Raises UsageError (no run, no rows, damage as FILE:LINE, unknown name), DiskError.
    """
    exporter, choice = get_exporter(format_name), choice or Choice()
    if license and exporter.companion != "README.md":
        raise UsageError("--license is for --format hf, whose card says it")
    with open_records(directory) as file:
        rows = Rows(directory, file)
        wanted = _wanted(directory, rows, langs)
        stamp = choice.stamp(rows.digest)
        folder, paths = destinations(directory, exporter, out, wanted, choice, stamp)
        manifest = read_manifest(directory)
        conversations = any(rows.places[lang].conversations for lang in wanted)
        with Staging(next(iter(paths.values())) if len(paths) == 1 else folder) as staging:
            tally = _write(rows, exporter, exporter.layout(conversations), paths, choice, staging)
            _check(exporter, tally, paths, staging)
            parts = [part for part in paths if tally.rows[part] or not exporter.is_folder]
            names = {p: (exporter.file_name(*p, choice, stamp), tally.rows[p]) for p in parts}
            written = Written(manifest, choice, names, conversations, license, tally.left_out)
            companion = _publish(exporter, folder, written, [paths[p] for p in parts], staging)
    split = choice.validation > 0
    files = [ExportedFile(paths[p], p[0], tally.rows[p], p[1] if split else "") for p in parts]
    notices = _notices(directory, manifest, rows.digest, exporter, tally)
    return Exported(tuple(files), "\n".join(filter(None, notices)), companion, tally.left_out)


def _wanted(directory: Path, rows: Rows, langs: Sequence[str]) -> tuple[str, ...]:
    if not rows.places:
        raise UsageError(f"{directory}: no rows are kept yet")
    for lang in langs:
        if lang not in rows.places:
            has = ", ".join(rows.places)
            raise UsageError(f"{directory} has no rows in {lang!r}; it has: {has}")
    return tuple(dict.fromkeys(langs)) or tuple(rows.places)


def _write(
    rows: Rows,
    exporter: Exporter,
    layout: Format,
    paths: Mapping[Part, Path],
    choice: Choice,
    staging: Staging,
) -> _Tally:
    """Every chosen row into the file of its language and split."""
    tally = _Tally()
    sinks = {part: exporter.sink(staging.open(path)) for part, path in paths.items()}
    for lang in dict.fromkeys(lang for lang, _split in paths):
        left = choice.limit
        for row in _ordered(rows, lang, choice):
            if left == 0:
                break
            try:
                fields = layout.row(row.id, row.example)
            except ValueError as problem:
                if choice.strict:
                    raise UsageError(f"{rows.place(row)}: {problem}") from None
                tally.left_out += 1
                if tally.left_out <= _SHOWN:
                    tally.shown.append(f"{rows.place(row)}: {problem}")
                continue
            part = lang, choice.split(row.example)
            sinks[part].write(fields)
            tally.rows[part] += 1
            left = left and left - 1
    for sink in sinks.values():
        sink.finish()
    return tally


def _ordered(rows: Rows, lang: str, choice: Choice) -> Iterator[Row]:
    order = choice.order(len(rows.places[lang]), lambda index: rows.at(lang, index).id)
    return (rows.at(lang, index) for index in order)


def _check(exporter: Exporter, tally: _Tally, paths: Mapping[Part, Path], staging: Staging) -> None:
    """Raises UsageError when the files would be of no use."""
    if not tally.rows.total():
        raise UsageError(f"no row has a place in {exporter.name}: {tally.shown[0]}")
    for (lang, split), path in paths.items():
        if problem := exporter.check(split, tally.rows[lang, split], staging.size(path)):
            raise UsageError(f"{path} {problem}")


def _publish(
    exporter: Exporter, folder: Path, written: Written, files: list[Path], staging: Staging
) -> Path | None:
    """All files into their places; in a folder the companion last, then what is out of date goes:
    files of an earlier export for languages or splits that are gone. The companion's path."""
    if not exporter.is_folder:
        staging.publish(files)
        return None
    companion = folder / exporter.companion
    staging.open(companion).write(exporter.describe(written))
    staging.publish([*files, companion])
    for path in folder.glob(exporter.pattern):
        if path not in files:
            path.unlink()
    return companion


def _notices(
    directory: Path, manifest: Manifest | None, digest: str, exporter: Exporter, tally: _Tally
) -> Iterator[str]:
    yield _notice(directory, manifest, digest)
    if tally.left_out:
        yield f"{tally.left_out:,} rows are left out: {exporter.name} has no place for them"
        yield from tally.shown
        if tally.left_out > len(tally.shown):
            yield "…"


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
