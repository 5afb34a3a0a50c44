"""JSON arrays of any size, pretty printed or not: a stream of bytes → rows.

Also reads objects that stand one after another without an array, as `jq` prints them, and arrays
one after another; commas are not insisted on. After a broken element reading goes on with the next
one that can be told for sure; what was passed over is one malformed row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any

from selfinstruct.reading.layers import Stream
from selfinstruct.reading.resync import is_delimited, matching_end, skip_stray, skip_to_object
from selfinstruct.reading.row import EVIDENCE, Row, no_row
from selfinstruct.reading.values import (
    MAX_RECORD,
    TOO_LONG,
    NotARow,
    TooLong,
    bad_utf8,
    decode_loosely,
    finished,
    objection,
    words,
)
from selfinstruct.reading.window import Window, undecoded

# So much text past the start of a broken element is at hand when its end is looked for.
_REACH = 1 << 20
_FIRST_KEY = re.compile(r'\{[ \t\r\n]*("(?:[^"\\\r\n]++|\\.)*+")[ \t\r\n]*:')


def rows(stream: Stream, name: str, newline: bytes, numbers: Iterator[int]) -> Iterator[Row]:
    """Every element, in order; its place is the line that it begins on."""
    window = Window(stream, newline)
    inside, good = False, None
    while character := window.next_character():
        place = f"{name}:{window.line}"
        beginning = window.text[window.at : window.at + EVIDENCE]
        if character == ("]" if inside else "["):
            inside = not inside
            window.move(window.at + 1)
        elif not inside and character != "{":
            skip_stray(window)
            yield no_row(next(numbers), place, "text that belongs to no array", beginning)
        else:
            try:
                value, end = window.value()
                if not is_delimited(window.text, end):
                    raise NotARow("something follows the element")
            except (ValueError, RecursionError) as error:
                if _is_cut_off(window, error):
                    problem = stream.damage or "the file ends inside this element"
                    yield no_row(next(numbers), place, problem, beginning)
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
        and matching_end(window.text, window.at) is None
    )


def _pass_over(window: Window, error: Exception, good: dict[str, Any] | None) -> tuple[str, str]:
    """Move past a broken element; what is wrong with it and what was passed over, and its text."""
    problem = words(error)
    if isinstance(error, JSONDecodeError):
        problem += f", character {error.pos - window.at + 1} of the element"
    end = None
    if not isinstance(error, TooLong):
        if len(window.text) - window.at < _REACH:
            window.more()
        end = matching_end(window.text, window.at)
    text = window.text[window.at : end][:EVIDENCE].rstrip()
    if end is not None:
        window.move(end)
    elif skip_to_object(window, _first_key(window, good)):
        problem += f"; what follows it was passed over up to line {window.line}"
    else:
        problem += "; after it no row could be told for sure up to the end of the file"
    return problem, text


def _first_key(window: Window, good: dict[str, Any] | None) -> str | None:
    """What rows of this array begin with: the last good one, else the broken one; None: unknown."""
    if good:
        return next(iter(good))
    own = _FIRST_KEY.match(window.text, window.at)
    try:
        return str(decode_loosely(own[1], 0)[0]) if own else None
    except ValueError:
        return None
