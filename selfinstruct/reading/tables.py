"""CSV and TSV with a header row: a stream of bytes → rows, every value a string.

A quote that is never closed would make one cell of all that follows. So a record that the csv
module refuses ends where its quotes pair up again; when they do not soon, at the end of its line.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator

from selfinstruct.errors import UsageError
from selfinstruct.reading.layers import Stream
from selfinstruct.reading.lines import SPAN, Lines
from selfinstruct.reading.row import Row, no_row
from selfinstruct.reading.values import MAX_RECORD, TOO_LONG, bad_utf8, dump


def rows(
    stream: Stream, name: str, newline: bytes, delimiter: str, numbers: Iterator[int]
) -> Iterator[Row]:
    """Every record after the header; its place is its first line."""
    table = _Table(stream, name, newline, delimiter)
    header = next(table.records(), None)
    if not isinstance(header, list):
        raise UsageError(f"{name}:1: no header row: {header or 'no text'}")
    if twice := next((column for column in header if header.count(column) > 1), None):
        raise UsageError(f"{name}:1: the column {twice!r} occurs twice in the header row")
    for record in table.records():
        problem = record if isinstance(record, str) else ""
        if len(record) != len(header) and not problem:
            problem = f"{len(record)} fields, the header row has {len(header)}"
        if problem:
            yield no_row(next(numbers), table.place(), problem, table.text())
        else:
            fields = dict(zip(header, record, strict=True))
            yield Row(next(numbers), table.place(), fields, dump(fields))
    if stream.damage:
        place = f"{name}:{table.lines.number + 1}"
        yield no_row(next(numbers), place, stream.damage, table.lines.rest)


class _Table:
    """The records of a table one by one; an iterator of text lines for the csv module."""

    def __init__(self, stream: Stream, name: str, newline: bytes, delimiter: str) -> None:
        self.lines = Lines(stream, newline)
        self._name = name
        self._taken: list[bytes] = []
        self._problem = ""
        # The module's own limit of 131,072 is meant against quotes that are never closed, too.
        csv.field_size_limit(MAX_RECORD)
        self._reader = csv.reader(self, delimiter=delimiter, strict=True)

    def place(self) -> str:
        """FILE:LINE of the record last given."""
        return f"{self._name}:{self.lines.number - len(self._taken) + 1}"

    def text(self) -> bytes:
        """The record last given, as it stands in the file."""
        return b"\n".join(self._taken)

    def records(self) -> Iterator[list[str] | str]:
        """Each record as its cells, or what is wrong with it; no blank lines."""
        while True:
            self._taken, self._problem = [], ""
            try:
                record = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._find_end()
                yield self._problem or f"not CSV: {error}"
                continue
            if record or self._problem:
                yield self._problem or record

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self.lines.take()
        if raw is None:
            raise StopIteration
        if self.lines.number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        self._taken.append(raw)
        if len(raw) > MAX_RECORD:
            self._problem = TOO_LONG
            return ""
        try:
            return f"{raw.decode()}\n"
        except UnicodeDecodeError as error:
            self._problem = self._problem or bad_utf8(raw, error, "line")
            return f"{raw.decode('utf-8', 'surrogateescape')}\n"

    def _find_end(self) -> None:
        """Take lines until the quotes of the refused record pair up, or leave all but its first."""
        quotes = self.text().count(b'"')
        while quotes % 2 and len(self._taken) < SPAN:
            line = self.lines.take()
            if line is None:
                break
            self._taken.append(line)
            quotes += line.count(b'"')
        if quotes % 2 and len(self._taken) >= SPAN:
            self.lines.put_back(self._taken[1:])
            del self._taken[1:]
