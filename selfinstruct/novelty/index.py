"""What every way of telling repetitions is asked. Enters: ids and texts. Leaves: neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from selfinstruct.records import Neighbour


class Index(Protocol):
    """The texts of one language that are kept so far."""

    def add(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Keep all texts, also those that repeat each other."""

    def decide(self, ids: Sequence[str], texts: Sequence[str]) -> list[Neighbour | None]:
        """For each text in order the kept one that it repeats, or None: then it is kept too, under
        its id, and later ones are compared with it. How the texts are cut into calls changes
        nothing."""
