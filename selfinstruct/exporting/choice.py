"""Which rows an export takes, in which order, and which of them are for validation.

Enters: what the user asks for. Leaves: an order of row numbers, a split for each example. Pure:
nothing here depends on time, machine or a global random state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selfinstruct.records import Example

TRAIN, VALIDATION = "train", "validation"
RULE = (
    "a row is for validation when the first 64 bits of the SHA-256 of its question (system "
    "message, earlier turns, instruction and input), read as a fraction of 1, are below the share"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a run is exported.

    validation: the share of rows kept apart, 0 for none. limit: rows of each language at the most.
    shuffle: the seed of another order than the run's. strict: a row that the layout has no place
    for ends the export instead of being left out.
    """

    validation: float = 0.0
    limit: int | None = None
    shuffle: int | None = None
    strict: bool = False

    @property
    def splits(self) -> tuple[str, ...]:
        return (TRAIN, VALIDATION) if self.validation else (TRAIN,)

    def split(self, example: Example) -> str:
        """Where an example goes: the same whatever rows are added, removed or moved around it.

        Rows that ask the same go to the same side, so that no validation row was trained on.
        """
        return VALIDATION if self.validation and fraction(example) < self.validation else TRAIN

    def stamp(self, digest: str) -> str:
        """Twelve hex digits that change with the records (their SHA-256) and the choice."""
        return hashlib.sha256(f"{digest} {self}".encode()).hexdigest()[:12]

    def order(self, count: int, id_of: Callable[[int], str]) -> Sequence[int]:
        """0 … count - 1 in the order of the export. Sorting by hashes keeps rows in the same order
        relative to each other when others are added."""
        if self.shuffle is None:
            return range(count)
        return sorted(range(count), key=lambda index: _rank(self.shuffle, id_of(index)))


def fraction(example: Example) -> float:
    """Between 0 and 1, from what is asked alone.

    >>> from selfinstruct.records import Task
    >>> round(fraction(Example(Task("Name a river.", "", "The Nile."))), 4)
    0.6953
    """
    asked = [example.system, example.history, example.task.instruction, example.task.input]
    digest = hashlib.sha256(json.dumps(asked).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _rank(seed: int | None, id: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{id}".encode("utf-8", "surrogatepass")).digest()[:16]
