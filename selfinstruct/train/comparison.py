"""What a comparison found: the same questions answered by a model before and after its training.

The nouns of `compare.py` and `page.py`; pure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from selfinstruct.train.encode import Row

SHOWN = "the rows below"


class Side(NamedTuple):
    """One model's answer. ended: whether the model ended it; else it was cut. loss: of a token of
    the row's own answer, which has so many `own_tokens`."""

    text: str
    tokens: int
    ended: bool
    loss: float
    own_tokens: int


class Pair(NamedTuple):
    row: Row
    before: Side
    after: Side


class Loss(NamedTuple):
    """The mean loss of a held-out token of one language, over so many rows."""

    lang: str
    rows: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """base, tuned: their paths. how: how the answers were drawn, for people. over: the rows that
    `losses` are measured on."""

    base: str
    tuned: str
    template: str
    how: str
    pairs: Sequence[Pair]
    losses: Sequence[Loss]
    over: str = SHOWN

    @property
    def langs(self) -> list[str]:
        """The languages of the pairs, "" for rows that do not say."""
        return sorted({pair.row.lang for pair in self.pairs})

    def as_json(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "tuned": self.tuned,
            "template": self.template,
            "losses_over": self.over,
            "losses": [loss._asdict() for loss in self.losses],
            "rows": [
                {
                    "id": pair.row.id,
                    "lang": pair.row.lang,
                    "place": pair.row.place,
                    **asdict(pair.row.example),
                    "before": pair.before._asdict(),
                    "after": pair.after._asdict(),
                }
                for pair in self.pairs
            ],
        }


def losses_of(pairs: Sequence[Pair]) -> list[Loss]:
    """The losses of the pairs' own rows, language by language."""
    found = []
    for lang in sorted({pair.row.lang for pair in pairs}):
        mine = [pair for pair in pairs if pair.row.lang == lang]
        before, after = (
            _mean([pair.before for pair in mine]),
            _mean([pair.after for pair in mine]),
        )
        found.append(Loss(lang or "rows", len(mine), before, after))
    return found


def printable(text: str) -> str:
    """Generated text without the control characters that could drive a reader's terminal.

    >>> printable("Red:" + chr(27) + "[31m" + chr(10))
    'Red:�[31m\\n'
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if c not in "\n\t" and unicodedata.category(c) == "Cc" else c
        for c in text
    )


def _mean(sides: Sequence[Side]) -> float:
    """Over tokens, not over rows."""
    total = sum(side.loss * side.own_tokens for side in sides)
    return total / sum(side.own_tokens for side in sides)
