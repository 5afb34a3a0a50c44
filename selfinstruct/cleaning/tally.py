"""What a clean has counted so far. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from selfinstruct.cleaning.judging import Judged

# Malformed rows that are named on the screen; rejected.jsonl has them all.
SHOWN = 5


@dataclass
class Tally:
    """Counts that add up: rows = kept + Σ rejected, and the same for each language.

    languages: rows by the code of their language, "" for rows that could not be read.
    malformed: the first few, as FILE:LINE and what is wrong. flagged: findings of --pii by kind.
    """

    rows: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    kept_languages: Counter[str] = field(default_factory=Counter)
    layouts: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)
    malformed: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Tally:
        """The tally that `stored` was made from."""
        fields: dict[str, Any] = {
            name: Counter(value) if isinstance(value, dict) else value
            for name, value in stored.items()
        }
        return cls(**fields)

    def stored(self) -> dict[str, Any]:
        """Plain JSON in an order that the counts decide."""
        return {
            name: dict(sorted(value.items())) if isinstance(value, dict) else value
            for name, value in vars(self).items()
        }

    def count(self, judged: Judged) -> None:
        """One more row."""
        self.rows += 1
        self.languages[judged.lang] += 1
        self.layouts[judged.layout] += 1
        if judged.verdict.kept:
            self.kept += 1
            self.kept_languages[judged.lang] += 1
            return
        self.rejected[judged.verdict.reason] += 1
        if judged.verdict.reason == "malformed" and len(self.malformed) < SHOWN:
            self.malformed.append(f"{judged.row.place}: {judged.verdict.evidence}")
