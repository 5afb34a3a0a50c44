"""The derived files of a run directory, written beside their places and renamed into them.

Enters: Records in decision order. Leaves: the dataset, records and rejections, then the manifest.
Every file can be deleted and made again from the journal.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from selfinstruct.errors import DiskError
from selfinstruct.formats import alpaca_row
from selfinstruct.journal import sync_directory
from selfinstruct.languages import get_language
from selfinstruct.records import Record

RECORDS = "records.jsonl"
REJECTED = "rejected.jsonl"
MANIFEST = "manifest.json"


def dataset_name(lang: str) -> str:
    """The file of one language's rows, the three Alpaca fields: alpaca.en.jsonl, belle.zh.jsonl."""
    return f"{get_language(lang).dataset}.{lang}.jsonl"


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
        **({"source_id": candidate.source_id} if candidate.source_id else {}),
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
    """The row files of one run, open under temporary names until `publish`.

    Two languages are decided in whatever order their replies arrive, so each writes parts of its
    own, which are joined in the order of the languages.
    """

    def __init__(self, directory: Path, langs: Sequence[str]) -> None:
        self._directory = directory
        self._langs = langs
        self._parts: dict[tuple[str, str], BinaryIO] = {}
        self._rows: Counter[str] = Counter()

    def __enter__(self) -> Exports:
        try:
            for lang in self._langs:
                for name in (dataset_name(lang), RECORDS, REJECTED):
                    self._parts[name, lang] = self._part(name, lang).open("w+b")
        except OSError as error:
            self.__exit__(None, None, None)
            raise disk_error(self._directory, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for (name, lang), file in self._parts.items():
            # A full disk makes close fail too; the write before it has said so.
            with contextlib.suppress(OSError):
                file.close()
            self._part(name, lang).unlink(missing_ok=True)
        for name in {name for name, _lang in self._parts}:
            self._temporary(name).unlink(missing_ok=True)

    def add(self, record: Record) -> None:
        """Write a judged record where it belongs. Raises DiskError."""
        for name, data in rows_of(record):
            try:
                self._parts[name, record.lang].write(data)
            except OSError as error:
                raise disk_error(self._directory / name, error) from error
            self._rows[name] += 1

    def seal(self) -> dict[str, dict[str, Any]]:
        """Join the parts, durably, under temporary names; rows and SHA-256 of each file. Last call
        before `publish`: the parts are gone after it."""
        files = {}
        try:
            for name in dict.fromkeys(name for name, _lang in self._parts):
                digest = hashlib.sha256()
                with self._temporary(name).open("wb") as whole:
                    for lang in self._langs:
                        if part := self._parts.get((name, lang)):
                            part.seek(0)
                            while chunk := part.read(1 << 20):
                                whole.write(chunk)
                                digest.update(chunk)
                    whole.flush()
                    os.fsync(whole.fileno())
                files[name] = {"rows": self._rows[name], "sha256": digest.hexdigest()}
            for (name, lang), part in self._parts.items():
                part.close()
                self._part(name, lang).unlink()
        except OSError as error:
            raise disk_error(self._directory, error) from error
        return files

    def publish(self, manifest: Mapping[str, Any]) -> None:
        """Rename the sealed files into place, the manifest last. Raises DiskError."""
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        try:
            with self._temporary(MANIFEST).open("wb") as file:
                file.write(text.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            for name in (*manifest["files"], MANIFEST):
                self._temporary(name).replace(self._directory / name)
            sync_directory(self._directory)
        except OSError as error:
            raise disk_error(self._directory, error) from error

    def _temporary(self, name: str) -> Path:
        return self._directory / f".{name}.tmp"

    def _part(self, name: str, lang: str) -> Path:
        return self._directory / f".{name}.{lang}.tmp"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file durably and at once: temporary name, fsync, rename. Raises DiskError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise disk_error(path, error) from error


def disk_error(path: Path, error: OSError) -> DiskError:
    """A write of a derived file that failed."""
    return DiskError(
        f"cannot write {path}: {error.strerror}",
        hint="the journal is safe; free some space, then run the same command again",
    )
