"""The kept rows of a run directory, one at a time: records.jsonl as examples.

Enters: records.jsonl, open. Leaves: rows by their place in it. Reads it once to see that it is
sound and what it holds; each row is read again where it is written. Writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from selfinstruct.errors import UsageError
from selfinstruct.exports import RECORDS
from selfinstruct.formats import read_alpaca
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.records import Example

# A language becomes a part of a file name, so it is never more than this.
_LANG = re.compile(r"[a-z0-9._-]{1,64}")


class Row(NamedTuple):
    """A kept row. number: its line in records.jsonl, from 1."""

    number: int
    lang: str
    id: str
    example: Example


@dataclass
class Places:
    """Where a language's rows lie: byte offsets and line numbers, in the order of the file."""

    offsets: array[int] = field(default_factory=lambda: array("q"))
    numbers: array[int] = field(default_factory=lambda: array("q"))
    conversations: bool = False  # Some row has earlier turns or a system message.

    def __len__(self) -> int:
        return len(self.offsets)


class Rows:
    """records.jsonl of a run directory. places: of each language. digest: its SHA-256 in hex."""

    def __init__(self, directory: Path, file: BufferedReader) -> None:
        """Raises UsageError naming the first line that is not a record."""
        self._path = directory / RECORDS
        self._file = file
        self.places: dict[str, Places] = {}
        offset, digest = 0, hashlib.sha256()
        for number, content in enumerate(self._lines(), start=1):
            row = self._row(content, number)
            places = self.places.setdefault(row.lang, Places())
            places.offsets.append(offset)
            places.numbers.append(number)
            places.conversations |= bool(row.example.history or row.example.system)
            offset += len(content)
            digest.update(content)
        self.digest = digest.hexdigest()

    def at(self, lang: str, index: int) -> Row:
        """The index-th row of a language."""
        places = self.places[lang]
        try:
            self._file.seek(places.offsets[index])
            return self._row(self._file.readline(), places.numbers[index])
        except OSError as error:
            raise self._unreadable(error) from None

    def place(self, row: Row) -> str:
        """What an error calls the row: FILE:LINE."""
        return f"{self._path}:{row.number}"

    def _lines(self) -> Iterator[bytes]:
        """Bytes split at newlines alone, since text may hold U+2028 and its like."""
        try:
            yield from self._file
        except OSError as error:
            raise self._unreadable(error) from None

    def _row(self, content: bytes, number: int) -> Row:
        try:
            return parse_row(content, number)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UsageError(
                f"{self._path}:{number}: not a record", hint="`selfinstruct verify` tells more"
            ) from None

    def _unreadable(self, error: OSError) -> UsageError:
        return UsageError(f"cannot read {self._path}: {error.strerror}")


def parse_row(content: bytes, number: int) -> Row:
    """A line of records.jsonl. Raises ValueError, KeyError, TypeError, RecursionError."""
    if not content.endswith(b"\n"):
        raise ValueError("cut off")
    # Decoded here: json.loads would guess UTF-16, and let surrogates through, if given bytes.
    row = json.loads(content.decode("utf-8"))
    lang, id, input = (row[key] for key in ("lang", "id", "input"))
    if not all(isinstance(value, str) for value in (lang, id, input)):
        raise TypeError("a field is not text")
    if not _LANG.fullmatch(lang):
        raise ValueError("not a language")
    return Row(number, lang, id, read_alpaca(row))


def open_records(directory: Path) -> BufferedReader:
    """Raises UsageError that says why there are none."""
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
