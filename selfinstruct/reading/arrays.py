"""JSON arrays of any size, pretty printed or not: a stream of bytes → rows.

Also reads objects that stand one after another without an array, as `jq` prints them, and arrays
one after another; commas are not insisted on. After a broken element reading goes on with the next
one that can be told for sure; what was passed over is one malformed row.
"""

from __future__ import annotations

from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any

from selfinstruct.reading.layers import Stream
from selfinstruct.reading.resync import first_key, is_delimited, matching_end, skip_to_object
from selfinstruct.reading.row import EVIDENCE, Row, no_row
from selfinstruct.reading.values import (
    MAX_RECORD,
    TOO_LONG,
    NotARow,
    TooLong,
    bad_utf8,
    finished,
    objection,
    words,
)
from selfinstruct.reading.window import Window, undecoded

# So much text past the start of a broken element is at hand when its end is looked for.
_REACH = 1 << 20


def rows(stream: Stream, name: str, newline: bytes, numbers: Iterator[int]) -> Iterator[Row]:
    """Every element, in order; its place is the line that it begins on."""
    window = Window(stream, newline)
    inside, good = False, None
    while character := window.next_character():
        place = f"{name}:{window.line}"
        if character == "]" or (character == "[" and not inside):
            inside = character == "["
            window.move(window.at + 1)
            continue
        try:
            value, end = _element(window, inside)
        except (ValueError, RecursionError) as error:
            if _is_cut_off(window, error):
                problem = stream.damage or "the file ends inside this element"
                yield no_row(next(numbers), place, problem, window.text[window.at :])
                return
            problem, text = _pass_over(window, error, good)
            yield no_row(next(numbers), place, problem, text)
            continue
        if problem := _objection(window, value, end):
            yield no_row(next(numbers), place, problem, window.text[window.at : end])
        else:
            good, line = finished(value)
            yield Row(next(numbers), place, good, line)
        window.move(end)
    if inside or stream.damage:
        problem = stream.damage or "the file ends before the array does"
        yield no_row(next(numbers), f"{name}:{window.line}", problem)


class _Stray(NotARow):
    """Text where neither an array nor an object begins."""


def _element(window: Window, inside: bool) -> tuple[Any, int]:
    """The element that begins here and its end. Raises ValueError, RecursionError."""
    if not inside and window.text[window.at] != "{":
        raise _Stray("text that belongs to no array")
    value, end = window.value()
    if not is_delimited(window.text, end):
        raise NotARow("something follows the element")
    return value, end


def _objection(window: Window, value: Any, end: int) -> str:
    """Why the value that ends at `end` is not a row, "" when it is one."""
    text, start = window.text, window.at
    if end - start > MAX_RECORD:
        return TOO_LONG
    if window.lossy and undecoded(text[start:end]):
        raw = text[start:end].encode("utf-8", "surrogateescape")
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            return bad_utf8(raw, error, "element")
    return objection(value, text.count("{", start, end) + text.count("[", start, end))


def _is_cut_off(window: Window, error: Exception) -> bool:
    """Whether an element is broken because the text ends."""
    return (
        window.at_end
        and isinstance(error, JSONDecodeError)
        and window.goes_on(error)
        and matching_end(window.text, window.at, None) is None
    )


def _pass_over(window: Window, error: Exception, good: dict[str, Any] | None) -> tuple[str, str]:
    """Move past a broken element; what is wrong with it and what was passed over, and its text."""
    problem = words(error)
    if isinstance(error, JSONDecodeError):
        problem += f", character {error.pos - window.at + 1} of the element"
    # What rows begin with here, as the last good one does or else this one.
    key = next(iter(good)) if good else first_key(window.text, window.at)
    end = None
    if not isinstance(error, TooLong | _Stray):
        if len(window.text) - window.at < _REACH:
            window.more()
        end = matching_end(window.text, window.at, key)
    text = window.text[window.at : end][:EVIDENCE].rstrip()
    if end is not None:
        window.move(end)
    elif skip_to_object(window, key):
        problem += f"; what follows it was passed over up to line {window.line}"
    else:
        problem += "; after it no row could be told for sure up to the end of the file"
    return problem, text
