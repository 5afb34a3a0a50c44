"""JSON Lines: a stream of bytes → rows, a malformed line being one of them.

Lines end at newlines alone (in a file without any, at carriage returns): a string may hold U+2028
and its like. A record with a raw newline in a string spans several lines; it is found whole where
that is certain, and is one malformed row then.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any, NamedTuple

from selfinstruct.reading.layers import Stream
from selfinstruct.reading.row import Row, no_row
from selfinstruct.reading.values import (
    BLANKS,
    MAX_DEPTH,
    MAX_RECORD,
    TOO_LONG,
    NotFinite,
    bad_utf8,
    decode,
    decode_loosely,
    decode_nulls,
    finished,
    objection,
    words,
)

# How far the end of a record with raw newlines is looked for: lines, and characters.
SPAN = 256
_SPAN_CHARACTERS = 1 << 20


class Lines:
    """The lines of a stream, without the newline, one after another; some can be put back.

    number: of the line last given, from 1. rest: what stands after the last newline of a stream
    that was damaged; nobody knows how it goes on, so it is no line. A line longer than MAX_RECORD
    is cut to one byte more.
    """

    def __init__(self, stream: Stream, newline: bytes) -> None:
        self._stream = stream
        self._split = self._splitting(newline)
        self._back: list[bytes] = []
        self.number = 0
        self.rest = b""

    def __iter__(self) -> Iterator[bytes]:
        for line in self._split:
            self.number += 1
            yield line
            while self._back:
                self.number += 1
                yield self._back.pop()

    def take(self) -> bytes | None:
        """The next line, None at the end."""
        line = self._back.pop() if self._back else next(self._split, None)
        self.number += line is not None
        return line

    def put_back(self, lines: list[bytes]) -> None:
        """Give the lines last taken once more."""
        self.number -= len(lines)
        self._back.extend(reversed(lines))

    def _splitting(self, newline: bytes) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = 0
        for chunk in self._stream:
            first, *others = chunk.split(newline)
            if size <= MAX_RECORD:
                parts.append(first)
                size += len(first)
            if not others:
                continue
            yield b"".join(parts)[: MAX_RECORD + 1]
            last = others.pop()
            yield from others
            parts, size = [last], len(last)
        rest = b"".join(parts)[: MAX_RECORD + 1]
        if self._stream.damage:
            self.rest = rest
        elif rest:
            yield rest


def rows(stream: Stream, name: str, newline: bytes, numbers: Iterator[int]) -> Iterator[Row]:
    """Every line that is not blank, as a row."""
    lines = Lines(stream, newline)
    text = ""
    for raw in lines:
        line = raw[:-1] if raw.endswith(b"\r") else raw
        try:
            text = line.decode()
            fields, end = decode(text, 0)
        except (ValueError, RecursionError):
            end = -1
        if (
            end == len(text)
            and type(fields) is dict
            and line.count(b"{") + line.count(b"[") <= MAX_DEPTH
            and end <= MAX_RECORD
        ):
            yield Row(next(numbers), f"{name}:{lines.number}", fields, line)
        elif line.strip():
            yield from _other_rows(line, lines, name, numbers)
    if stream.damage:
        yield from _last_rows(lines, stream.damage, name, numbers)


class Found(NamedTuple):
    """What one line holds. cut: it ends inside a string."""

    fields: dict[str, Any] | None
    line: bytes
    problem: str = ""
    cut: bool = False


def read_line(raw: bytes) -> Found:
    """A line as a row, or the reason why it is none."""
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if len(raw) > MAX_RECORD:
        return Found(None, b"", TOO_LONG)
    try:
        text = raw.decode().strip(BLANKS)
    except UnicodeDecodeError as error:
        return Found(None, b"", bad_utf8(raw, error, "line"))
    try:
        try:
            fields, end = decode(text, 0)
            line = raw
        except NotFinite:
            fields, end = decode_nulls(text, 0)
            line = b""
    except JSONDecodeError as error:
        cut = error.msg.startswith("Unterminated string")
        return Found(None, b"", f"{words(error)}, column {error.pos + 1}", cut)
    except (ValueError, RecursionError) as error:
        return Found(None, b"", words(error))
    if text[end:].strip(BLANKS):
        return Found(None, b"", f"something follows the JSON value, column {end + 1}")
    problem = objection(fields, text.count("{") + text.count("["))
    if problem:
        return Found(None, b"", problem)
    return Found(fields, line) if line else Found(*finished(fields))


def _other_rows(line: bytes, lines: Lines, name: str, numbers: Iterator[int]) -> Iterator[Row]:
    """The rows of a line that the short way of `rows` does not read."""
    place = f"{name}:{lines.number}"
    found = read_line(line)
    pieces = [line]
    if found.problem and b"\r" in line:
        # Two files joined of which one ends its lines with a carriage return.
        pieces = [piece for piece in line.split(b"\r") if piece.strip()]
    for piece in pieces:
        found = read_line(piece)
        problem, text = found.problem, piece
        if found.cut and len(pieces) == 1 and (whole := _whole_record(line, lines)):
            problem = f"a raw newline inside a string; the record ends in line {lines.number}"
            text = whole.encode()
        if problem:
            yield no_row(next(numbers), place, problem, text)
        else:
            yield Row(next(numbers), place, found.fields, found.line)


def _whole_record(line: bytes, lines: Lines) -> str:
    """The record that begins with `line` and goes on in the next ones, which are taken; "", and
    none is taken, unless they make one object and none of them is a row by itself."""
    whole = line.decode()
    taken: list[bytes] = []
    while len(taken) < SPAN and len(whole) < _SPAN_CHARACTERS:
        following = lines.take()
        if following is None:
            break
        taken.append(following)
        if not read_line(following).problem:
            break
        try:
            text = following.decode().removesuffix("\r")
            whole += f"\n{text}"
            # Without a quote the string goes on.
            if '"' in text:
                value, end = decode_loosely(whole, 0)
                if isinstance(value, dict) and not whole[end:].strip(BLANKS):
                    return whole
                break
        except JSONDecodeError as error:
            if not error.msg.startswith("Unterminated string"):
                break
        except (ValueError, RecursionError):
            break
    lines.put_back(taken)
    return ""


def _last_rows(lines: Lines, damage: str, name: str, numbers: Iterator[int]) -> Iterator[Row]:
    """The end of a damaged stream: a last row if it is whole, and the damage."""
    place = f"{name}:{lines.number + 1}"
    found = read_line(lines.rest)
    if not found.problem:
        yield Row(next(numbers), place, found.fields, found.line)
    yield no_row(next(numbers), place, damage, lines.rest if found.problem else b"")
