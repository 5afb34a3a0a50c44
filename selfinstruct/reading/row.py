"""A row as it was found in a file, or the reason why there is none. Knows no file format."""

from __future__ import annotations

from typing import Any, NamedTuple

# Characters of a text that could not be read, as evidence.
EVIDENCE = 200


class Row(NamedTuple):
    """One row of the input.

    number: 0-based, running on over all inputs. place: FILE:LINE, or FILE: row N for Parquet, where
    N counts from 1. fields: the row, None when none could be read there. line: the row as one JSON
    line in UTF-8 without its newline, b"" when there is no row. problem: why there is none, "" for
    a row. evidence: the beginning of the text that is no row.
    """

    number: int
    place: str
    fields: dict[str, Any] | None
    line: bytes
    problem: str = ""
    evidence: str = ""


def no_row(number: int, place: str, problem: str, text: str | bytes = b"") -> Row:
    """The Row for a place where none could be read; `text` is what stands there."""
    return Row(number, place, None, b"", problem, evidence(text))


def evidence(text: str | bytes) -> str:
    """The beginning of a text; bytes that are not UTF-8 become \\x escapes."""
    if isinstance(text, str):
        # Undecodable bytes that a reader carried through as surrogates become bytes again.
        text = text[:EVIDENCE].encode("utf-8", "surrogateescape")
    return text[: 4 * EVIDENCE].decode("utf-8", "backslashreplace")[:EVIDENCE]
