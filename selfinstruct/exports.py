"""The derived files of a run directory, written beside their places and renamed into them.

Enters: Records in decision order. Leaves: the dataset, records and rejections, then the manifest.
Every file can be deleted and made again from the journal.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from selfinstruct.errors import DiskError
from selfinstruct.formats import alpaca_row
from selfinstruct.records import Record

RECORDS = "records.jsonl"
REJECTED = "rejected.jsonl"
MANIFEST = "manifest.json"


def dataset_name(lang: str) -> str:
    """The Alpaca-format file of one language."""
    return f"alpaca.{lang}.jsonl"


def line(row: Mapping[str, Any]) -> bytes:
    """One JSON line in UTF-8. A lone surrogate, which UTF-8 cannot hold, stays a \\u escape."""
    text = json.dumps(row, ensure_ascii=False)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row).encode("ascii") + b"\n"


def record_row(record: Record) -> dict[str, Any]:
    """A row of records.jsonl: the Alpaca fields and where they come from."""
    candidate, nearest = record.candidate, record.verdict.neighbour
    return {
        "id": record.id,
        "lang": record.lang,
        "recipe": record.recipe,
        "request": candidate.request,
        "position": candidate.position,
        "example_ids": list(candidate.example_ids),
        "model": candidate.model,
        "nearest": {"id": nearest.id, "rouge_l": nearest.rouge_l} if nearest else None,
        **alpaca_row(candidate.task),
    }


def rejected_row(record: Record) -> dict[str, Any]:
    """A row of rejected.jsonl: the verdict, then the candidate as in records.jsonl."""
    verdict = record.verdict
    return {"reason": verdict.reason, "evidence": verdict.evidence, **record_row(record)}


def rows_of(record: Record) -> list[tuple[str, bytes]]:
    """(file name, line) for every derived row that a judged record gives."""
    if not record.verdict.kept:
        return [(REJECTED, line(rejected_row(record)))]
    dataset = dataset_name(record.lang)
    return [
        (dataset, line(alpaca_row(record.candidate.task))),
        (RECORDS, line(record_row(record))),
    ]


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex, "" when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


class Exports:
    """The three row files of one run, open under temporary names until `publish`."""

    def __init__(self, directory: Path, lang: str) -> None:
        self._directory = directory
        self._names = (dataset_name(lang), RECORDS, REJECTED)
        self._files: dict[str, BinaryIO] = {}
        self._digests: dict[str, Any] = {}
        self._rows = dict.fromkeys(self._names, 0)

    def __enter__(self) -> Exports:
        try:
            for name in self._names:
                self._files[name] = self._temporary(name).open("wb")
                self._digests[name] = hashlib.sha256()
        except OSError as error:
            self.__exit__(None, None, None)
            raise _disk_error(self._directory, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name, file in self._files.items():
            # A full disk makes close fail too; the write before it has said so.
            with contextlib.suppress(OSError):
                file.close()
            self._temporary(name).unlink(missing_ok=True)

    def add(self, record: Record) -> None:
        """Write a judged record where it belongs. Raises DiskError."""
        for name, data in rows_of(record):
            try:
                self._files[name].write(data)
            except OSError as error:
                raise _disk_error(self._directory / name, error) from error
            self._digests[name].update(data)
            self._rows[name] += 1

    def files(self) -> dict[str, dict[str, Any]]:
        """Rows and SHA-256 of each file, as the manifest states them."""
        return {
            name: {"rows": self._rows[name], "sha256": self._digests[name].hexdigest()}
            for name in self._names
        }

    def publish(self, manifest: Mapping[str, Any]) -> None:
        """Flush, fsync and rename the files into place, the manifest last. Raises DiskError."""
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        try:
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            with self._temporary(MANIFEST).open("wb") as file:
                file.write(text.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            for name in (*self._names, MANIFEST):
                self._temporary(name).replace(self._directory / name)
            descriptor = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _disk_error(self._directory, error) from error

    def _temporary(self, name: str) -> Path:
        return self._directory / f".{name}.tmp"


def _disk_error(path: Path, error: OSError) -> DiskError:
    return DiskError(
        f"cannot write {path}: {error.strerror}",
        hint="the journal is safe; free some space, then run the same command again",
    )
