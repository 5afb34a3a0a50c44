"""Rows against each other and against evaluation files: who repeats whom, a language at a time.

Enters: judged rows in order. Leaves: their verdicts. Knows no file, no filter and no measure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from selfinstruct.cleaning.judging import Judged
from selfinstruct.novelty import Index
from selfinstruct.records import Verdict

T = TypeVar("T")
# Rows that are read, judged and compared together.
CHUNK = 2048


class Known(NamedTuple):
    """A text that rows are compared with: its row number or place, its language."""

    id: str
    lang: str
    text: str


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of CHUNK items, the last one of what is left."""
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


class Comparer:
    """Keeps what is novel. Rows of two languages are never compared."""

    def __init__(self, index: Callable[[str], Index]) -> None:
        """index: makes the empty index of a language, from its code."""
        self._make = index
        self._indexes: dict[str, Index] = {}

    def remember(self, texts: Iterable[Known]) -> None:
        """Texts that later rows must not repeat, whether or not they repeat each other."""
        for chunk in chunks(texts):
            known: dict[str, list[Known]] = defaultdict(list)
            for one in chunk:
                known[one.lang].append(one)
            for lang, mine in known.items():
                self._index(lang).add([one.id for one in mine], [one.text for one in mine])

    def decide(self, rows: Sequence[Judged]) -> list[Judged]:
        """The rows in their order, those that repeat an earlier one with the verdict on it."""
        decided = list(rows)
        places: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            if row.verdict.kept:
                places[row.lang].append(place)
        for lang, mine in places.items():
            found = self._index(lang).decide(
                [str(rows[place].row.number) for place in mine],
                [rows[place].text for place in mine],
            )
            for place, nearest in zip(mine, found, strict=True):
                if nearest is not None:
                    verdict = Verdict("near_duplicate", f"of {named(nearest.id)}")
                    decided[place] = rows[place]._replace(verdict=verdict, nearest=nearest)
        return decided

    def _index(self, lang: str) -> Index:
        if lang not in self._indexes:
            self._indexes[lang] = self._make(lang)
        return self._indexes[lang]


def named(id: str) -> str:
    """A row of the input by its number, one of an evaluation file by its place.

    >>> named("17"), named("eval/a.jsonl:4")
    ('row 17', 'eval/a.jsonl:4')
    """
    return f"row {id}" if id.isdigit() else id
