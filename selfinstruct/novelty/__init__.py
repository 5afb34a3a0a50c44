"""How a text is told to be a repetition of an earlier one. A new way is one file with one line in
METHODS."""

from __future__ import annotations

from selfinstruct.novelty.index import Index
from selfinstruct.novelty.rouge import RougeIndex

__all__ = ["Index", "RougeIndex"]
