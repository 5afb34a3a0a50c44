"""Where reading goes on after a broken element of a JSON array. Rather loses a row than makes one
up: an object inside a broken element looks like a row and is none."""

from __future__ import annotations

import re

from selfinstruct.reading.values import BLANKS, decode_loosely
from selfinstruct.reading.window import Window

_PAIRS = {"}": "{", "]": "["}
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)
# Such a "string" is what stands between two strings: a quote is missing somewhere before it.
_INSIDE_OUT = re.compile(r'"\s*\}\s*,\s*\{\s*"')
_OBJECT = re.compile(r'\{[ \t\r\n]*["}]')
# What may follow an element, an object that is looked for, and a broken element.
_AFTER = re.compile(r"[ \t\r\n]*(?:[\],\[{]|\Z)")
_AFTER_ROW = re.compile(r"[ \t\r\n]*(?:\]|,?[ \t\r\n]*(?:\{|\Z))")
_AFTER_BROKEN = re.compile(r"[ \t\r\n]*(?:\]|\Z|,[ \t\r\n]*(?:(?=\{)|\Z))")
_FIRST_KEY = re.compile(r'\{[ \t\r\n]*("(?:[^"\\\r\n]++|\\.)*+")[ \t\r\n]*:')


def is_delimited(text: str, end: int) -> bool:
    """Whether an element may end here by what follows; a missing comma is no matter."""
    return _AFTER.match(text, end) is not None


def first_key(text: str, at: int) -> str | None:
    """The first key of the object that begins here, None when it cannot be told."""
    found = _FIRST_KEY.match(text, at)
    try:
        return str(decode_loosely(found[1], 0)[0]) if found else None
    except ValueError:
        return None


def matching_end(text: str, start: int, key: str | None) -> int | None:
    """Where a broken element ends by its quotes and brackets; None when they do not add up, or
    when an object follows that does not begin with `key`, as rows do (None: with any).

    >>> matching_end('{"a": nought, "b": ["]"]}, {"a": 1}]', 0, "a")
    25
    >>> matching_end('{"a": "no quote, "b": 1}, {"a": 1}]', 0, "a") is None
    True
    """
    depth: list[str] = []
    for token in _TOKEN.finditer(text, start):
        character = text[token.start()]
        if character == '"':
            if token.end() - token.start() == 1 or _INSIDE_OUT.fullmatch(token[0]):
                return None
        elif character in "{[":
            depth.append(character)
        elif not depth:
            # A brace that closes nothing is a part of what is broken; the others are not.
            return token.end() if character == "}" else token.start()
        elif character != ",":
            if depth.pop() != _PAIRS[character]:
                return None
            if not depth:
                return token.end() if _is_followed(text, token.end(), key) else None
    return None


def _is_followed(text: str, end: int, key: str | None) -> bool:
    after = _AFTER_BROKEN.match(text, end)
    if after is None or not text.startswith("{", after.end()):
        return after is not None
    return key is None or first_key(text, after.end()) == key


def skip_to_object(window: Window, key: str | None) -> bool:
    """Move to the next object that begins with `key` (with any for None) and stands where an
    element may; False, at the end of the text, when there is none."""
    past = 1
    while True:
        if hit := _OBJECT.search(window.text, window.at + past):
            window.move(hit.start())
            past = 1
            if _is_element(window, key):
                return True
        elif window.at_end:
            window.move(len(window.text))
            return False
        else:
            # A brace at the very end may be the beginning of it.
            kept = window.text.rstrip(BLANKS)
            window.move(max(window.at, len(kept) - kept.endswith("{")))
            past = 0
            window.more()


def _is_element(window: Window, key: str | None) -> bool:
    try:
        value, end = window.value()
    except (ValueError, RecursionError):
        return False
    begins_alike = key is None or next(iter(value), None) == key
    return begins_alike and _AFTER_ROW.match(window.text, end) is not None
