"""JSON text → Python values with the words for what is wrong in it, and back.

Stricter than `json` where a reader of the output would be misled: a key that occurs twice is
refused. NaN and Infinity, which JSON does not have, are read as null. Nesting has a limit of its
own, so that what is read does not depend on how deep the caller's stack is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from json import JSONDecodeError
from typing import Any

# Bytes of one record; more is not a row of instruction data but a file without its separators.
MAX_RECORD = 64 << 20
MAX_DEPTH = 256
BLANKS = " \t\r\n"
_KINDS = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}


class NotARow(ValueError):
    """JSON that is refused; the message is what to say of it."""


class TooLong(NotARow):
    """A value does not end within MAX_RECORD."""


class NotFinite(ValueError):
    """NaN or Infinity stands where JSON has no such value."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        keys = [key for key, _value in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        # Readers disagree on which of the two values counts.
        raise NotARow(f"the key {twice!r} occurs twice")
    return fields


def _refuse(name: str) -> Any:
    raise NotFinite(name)


def _null(_name: str) -> None:
    return None


Decode = Callable[[str, int], tuple[Any, int]]
# The value that begins at an index, and where it ends. Raises ValueError, RecursionError.
decode: Decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse).raw_decode
# The same with null for NaN and Infinity.
decode_nulls: Decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_null).raw_decode
# The same, and strings may hold raw newlines: for finding where a broken record ends.
decode_loosely: Decode = json.JSONDecoder(parse_constant=_null, strict=False).raw_decode

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode
_encode_ascii = json.JSONEncoder(allow_nan=False, check_circular=False).encode


def dump(fields: dict[str, Any]) -> bytes:
    """One JSON line. A lone surrogate, which UTF-8 cannot hold, stays a \\u escape.

    Raises ValueError for NaN and Infinity.
    """
    try:
        return _encode(fields).encode()
    except UnicodeEncodeError:
        return _encode_ascii(fields).encode("ascii")


def finished(fields: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Fields that came from no JSON line, with null for what JSON has not; and their line."""
    try:
        return fields, dump(fields)
    except ValueError:
        fields = {key: finite(value) for key, value in fields.items()}
        return fields, dump(fields)


def finite(value: Any) -> Any:
    """A JSON value with None for every NaN and Infinity in it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value


def objection(value: Any, brackets: int) -> str:
    """Why a JSON value is not a row, "" when it is one.

    brackets: at least how many opening ones its text has; few of them spare the walk.
    """
    if not isinstance(value, dict):
        return f"{_KINDS.get(type(value), 'a number')}, not an object"
    if brackets > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        return _TOO_DEEP
    return ""


_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
TOO_LONG = f"a record longer than {MAX_RECORD >> 20} MiB"


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        inside = [item.values() if isinstance(item, dict) else item for item in level]
        level = [item for items in inside for item in items if isinstance(item, dict | list)]
    return depth


def words(error: Exception) -> str:
    """What a decoder's error means, without its place."""
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, NotARow):
        return str(error)
    if not isinstance(error, JSONDecodeError):
        return "a number with too many digits"
    message = error.msg
    if message.startswith("Invalid control character"):
        character = error.doc[error.pos : error.pos + 1]
        if character in "\r\n":
            return "a raw newline inside a string"
        return f"a raw control character (U+{ord(character):04X}) inside a string"
    if message.startswith("Invalid \\"):
        return "a bad escape"
    if message.startswith("Unterminated string"):
        return "a string without its closing quote"
    return f"not JSON: {message[0].lower()}{message[1:]}"


def bad_utf8(raw: bytes, error: UnicodeDecodeError, whole: str) -> str:
    """Where bytes stop being UTF-8, counted from 1 in the `whole`: a line, an element."""
    return f"invalid UTF-8: 0x{raw[error.start]:02x} at byte {error.start + 1} of the {whole}"
