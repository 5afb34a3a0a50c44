"""The row layouts that trainers read. A new one is one file here with one line in FORMATS."""

from __future__ import annotations

from selfinstruct.errors import UsageError
from selfinstruct.formats.alpaca import ALPACA, alpaca_row
from selfinstruct.formats.belle_conversations import BELLE_CONVERSATIONS
from selfinstruct.formats.belle_half_million import BELLE_HALF_MILLION
from selfinstruct.formats.format import Format

FORMATS: dict[str, Format] = {
    "alpaca": ALPACA,
    "belle-0.5m": BELLE_HALF_MILLION,
    "belle-conversations": BELLE_CONVERSATIONS,
}


def get_format(name: str) -> Format:
    """The format called `name`. Raises UsageError naming the known ones."""
    try:
        return FORMATS[name]
    except KeyError:
        known = ", ".join(sorted(FORMATS))
        raise UsageError(f"unknown format {name!r}; known: {known}") from None


__all__ = ["FORMATS", "Format", "alpaca_row", "get_format"]
