"""What a near-duplicate method must offer, whatever it measures.

Enters and leaves: nothing. Knows no method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Neighbour(NamedTuple):
    """The kept text that makes a text a duplicate, and the method's own score, 0.0 to 1.0.

    records.Neighbour is the nearest text of any distance, by ROUGE-L alone.
    """

    id: str
    score: float


class Index(Protocol):
    """The texts of one language that are kept so far, asked many texts at a time."""

    def add(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Keep all texts, also those that repeat each other."""
        ...

    def decide(self, ids: Sequence[str], texts: Sequence[str]) -> list[Neighbour | None]:
        """For each text in order the kept one that it repeats, or None: then it is kept too, under
        its id, and later ones are compared with it. How the texts are cut into calls changes
        nothing."""
        ...


class Novelty(Protocol):
    """Texts kept so far, and whether a new one is a duplicate of one of them.

    Ask, then add what is kept. A duplicate scores strictly above the threshold, as in ROUGE-L's
    rule; the neighbour named is the one with the highest score, the earliest of equals. The answers
    depend on the texts and their order alone, never on how they are cut into chunks.
    """

    def prepare(self, texts: Sequence[str]) -> None:
        """Told of the texts that will be asked next, in order, where work in bulk is cheaper."""
        ...

    def duplicate_of(self, text: str) -> Neighbour | None:
        """The kept text that `text` is a duplicate of; None: novel. Keeps nothing."""
        ...

    def add(self, id: str, text: str) -> None:
        """Keep `text`, to be named by `id`."""
        ...


def checked(threshold: float) -> float:
    """The threshold itself. Raises ValueError for what is no score.

    >>> checked(0.7)
    0.7
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be between 0 and 1, not {threshold!r}")
    return threshold


class OneByOne:
    """An Index over a method that is asked one text at a time."""

    def __init__(self, method: Novelty) -> None:
        self._method = method

    def add(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Keep all texts."""
        self._method.prepare(texts)
        for id, text in zip(ids, texts, strict=True):
            self._method.add(id, text)

    def decide(self, ids: Sequence[str], texts: Sequence[str]) -> list[Neighbour | None]:
        """Ask and keep, one after another."""
        self._method.prepare(texts)
        found: list[Neighbour | None] = []
        for id, text in zip(ids, texts, strict=True):
            found.append(self._method.duplicate_of(text))
            if found[-1] is None:
                self._method.add(id, text)
        return found
