"""The row layouts that trainers read. One file a format."""

from __future__ import annotations

from selfinstruct.formats.alpaca import alpaca_row

__all__ = ["alpaca_row"]
