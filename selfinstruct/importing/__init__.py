"""`import`: files of rows that others made → a directory that is looked at, exported, trained on
and translated from as a run is.

Enters: paths. Leaves: the data files, records.jsonl, rejected.jsonl and the manifest, together or
not at all. There is no journal: nothing was bought.
"""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import selfinstruct
from selfinstruct.accounts import Totals
from selfinstruct.errors import UsageError
from selfinstruct.exports import MANIFEST, RECORDS, REJECTED, dataset_name, line
from selfinstruct.formats import Format, example_row, get_format
from selfinstruct.importing.rows import Found, understand
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.languages import get_language
from selfinstruct.manifest import Manifest
from selfinstruct.reading import Row, Source, identity, open_sources, read_rows
from selfinstruct.staging import Staging

MALFORMED = "malformed"
# Enough to see what is wrong; rejected.jsonl has all of them.
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote. shown: the first malformed rows as FILE:LINE and what is wrong."""

    manifest: Manifest
    shown: tuple[str, ...]

    @property
    def malformed(self) -> int:
        return self.manifest.rejected.get(MALFORMED, 0)


@dataclass
class _File:
    """An output file, its rows and its digest so far."""

    out: BinaryIO
    rows: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def write(self, row: Mapping[str, Any]) -> None:
        data = line(row)
        self.out.write(data)
        self.digest.update(data)
        self.rows += 1


def import_files(
    paths: Sequence[str], out: Path, *, format_name: str = "", lang: str = "", strict: bool = False
) -> Imported:
    """Read every row of the files into `out`. Their layout and language are recognised row by row
    where they are not named.

    A malformed row goes into rejected.jsonl; strict: it is refused. Raises UsageError (FILE:LINE,
    no row at all, a directory that holds rows already), DiskError.
    """
    layout = get_format(format_name) if format_name else None
    if lang:
        get_language(lang)
    for name in (JOURNAL, RECORDS, REJECTED, MANIFEST):
        if (out / name).exists():
            raise UsageError(
                f"{out} holds {name} already", hint="nothing is overwritten; name another --out"
            )
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out: {out} is a file", hint="name a folder")
    with open_sources(paths) as sources, Staging(out) as staging:
        desk = _Desk(out, staging, layout, lang, strict)
        for source in sources:
            desk.read(source)
        manifest = desk.manifest(identity(sources))
        text = manifest.model_dump_json(indent=2) + "\n"
        staging.open(out / MANIFEST).write(text.encode("utf-8", "backslashreplace"))
        staging.publish([*desk.paths, out / MANIFEST])
    return Imported(manifest, tuple(desk.shown))


class _Desk:
    """Takes rows in and writes them where they belong."""

    def __init__(
        self, out: Path, staging: Staging, layout: Format | None, lang: str, strict: bool
    ) -> None:
        self._out = out
        self._staging = staging
        self._layout = layout
        self._lang = lang
        self._strict = strict
        self._files: dict[str, _File] = {}
        self._kept: Counter[str] = Counter()
        self._malformed = 0
        self._sources: list[dict[str, Any]] = []
        self.shown: list[str] = []

    @property
    def paths(self) -> list[Path]:
        return [self._out / name for name in self._files]

    def read(self, source: Source) -> None:
        """All rows of a file. Raises UsageError."""
        layouts: Counter[str] = Counter()
        malformed = self._malformed
        for row in read_rows([source]):
            try:
                found = understand(row, self._layout, self._lang)
            except ValueError as problem:
                self._set_aside(row, problem)
            else:
                self._keep(row, found)
                layouts[found.layout] += 1
        counts = {"rows": layouts.total(), "malformed": self._malformed - malformed}
        self._sources.append({"format": ", ".join(sorted(layouts)), **counts})

    def _keep(self, row: Row, found: Found) -> None:
        number = self._kept[found.lang]
        fields = _record(f"{found.lang}-{number:06d}-00", found.lang, number, row.place)
        if found.source_id:
            fields["source_id"] = found.source_id
        content = example_row(found.example)
        self._file(RECORDS).write({**fields, **content})
        self._file(dataset_name(found.lang)).write(content)
        self._kept[found.lang] += 1

    def _set_aside(self, row: Row, problem: ValueError) -> None:
        said = f"{row.place}: {problem}"
        if self._strict:
            raise UsageError(said)
        if self._malformed < _SHOWN:
            self.shown.append(said)
        text = row.line.decode("utf-8", "backslashreplace") or row.evidence
        fields = _record(row.place, self._lang, self._malformed, row.place)
        verdict = {"reason": MALFORMED, "evidence": str(problem)}
        self._file(REJECTED).write(
            {**verdict, **fields, "instruction": text, "input": "", "output": ""}
        )
        self._malformed += 1

    def _file(self, name: str) -> _File:
        if name not in self._files:
            self._files[name] = _File(self._staging.open(self._out / name))
        return self._files[name]

    def manifest(self, identities: Sequence[Mapping[str, Any]]) -> Manifest:
        """What was taken in. Raises UsageError when that is nothing."""
        if not self._kept:
            raise UsageError(f"no row could be read: {self.shown[0]}" if self.shown else "no rows")
        _ = self._file(REJECTED)
        kept, malformed = self._kept.total(), self._malformed
        totals = Totals.of(())
        return Manifest(
            complete=True,
            n=None,
            kept=kept,
            candidates=kept + malformed,
            rejected={MALFORMED: malformed} if malformed else {},
            unusable_replies={},
            languages={
                lang: {"kept": rows, "candidates": rows, "requests": 0}
                for lang, rows in sorted(self._kept.items())
            },
            requests={"decided": 0, **totals.requests()},
            tokens=totals.tokens(),
            seconds=0.0,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            files={
                name: {"rows": file.rows, "sha256": file.digest.hexdigest()}
                for name, file in self._files.items()
            },
            journal_bytes=0,
            fingerprint={},
            config={"recipe": "import", "lang": sorted(self._kept)},
            versions={
                "selfinstruct": selfinstruct.__version__,
                "python": platform.python_version(),
            },
            imported=[
                {
                    "file": stated["path"],
                    "sha256": stated["sha256"],
                    "bytes": stated["bytes"],
                    **counts,
                }
                for stated, counts in zip(identities, self._sources, strict=True)
            ],
        )


def _record(id: str, lang: str, number: int, place: str) -> dict[str, Any]:
    """The fields of records.jsonl before the text; what only a generated row has is empty."""
    return {
        "id": id,
        "lang": lang,
        "recipe": "import",
        "request": number,
        "position": 0,
        "example_ids": [],
        "model": "",
        "nearest": None,
        "place": place,
    }


__all__ = ["Imported", "import_files"]
