"""`explain`: what happened to one row of a clean, with everything that speaks for and against it.

Enters: the directory of a clean and a row number. Leaves: the row, its verdict, what each filter
says of it, and the kept row that is nearest. Reads, never writes.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from selfinstruct.cleaning.judging import RowJudge
from selfinstruct.cleaning.parts import KEPT, REJECTED, SUMMARY
from selfinstruct.cleaning.rules import Rules
from selfinstruct.cleaning.settings import CleanSettings
from selfinstruct.cleaning.writing import neighbour
from selfinstruct.dedup import NoveltyPool
from selfinstruct.errors import UsageError
from selfinstruct.languages import judging_language
from selfinstruct.novelty import Neighbour
from selfinstruct.novelty.rouge import LONGEST
from selfinstruct.reading import Row, open_sources, read_rows


def explain(directory: Path, number: int) -> dict[str, Any]:
    """Everything about row `number` (0-based): row, place, kept, layout, lang, reason, evidence,
    fields, filters ([name, evidence or None]), off (names of filters that are not asked),
    profile_changed (they say it by another profile than then), nearest ({row or against, score}),
    nearest_fields.

    Raises UsageError: no clean here, no such row, files that are gone or damaged.
    """
    clean = _Clean(directory)
    row, verdict = clean.row(number)
    judge = clean.judge
    judged = judge.read(row)
    nearest = verdict.get("neighbour") or clean.nearest(judged.lang, judged.text, number)
    near = clean.row(nearest["row"])[0] if nearest and "row" in nearest else None
    objections = judge.findings(row)
    return {
        "row": number,
        "place": row.place,
        "kept": not verdict,
        "layout": judged.layout,
        "lang": judged.lang,
        "reason": verdict.get("reason", ""),
        "evidence": verdict.get("evidence", ""),
        "fields": row.evidence if row.fields is None else row.fields,
        "filters": [[name, found.evidence if found else None] for name, found in objections],
        "off": judge.off(row),
        "profile_changed": clean.changed,
        "nearest": nearest,
        "nearest_fields": near.fields if near else None,
    }


class _Clean:
    """The files of a finished clean."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        path = directory / SUMMARY
        try:
            summary = json.loads(path.read_bytes())
            self._rows: int = summary["rows"]
            self._settings = CleanSettings.model_validate(summary["settings"])
            profiles: dict[str, str] = summary["profiles"]
        except OSError as error:
            hint = "`selfinstruct clean` writes it when it ends"
            raise UsageError(f"cannot read {path}: {error.strerror}", hint=hint) from None
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{path}: not the summary of a clean") from None
        rules = Rules(self._settings.profile)
        # After an upgrade, or by the user's hand: the filters say what they say now.
        self.changed = rules.facts() != profiles
        # What evaluation files hold is not asked again: rejected.jsonl says what was met.
        self.judge = RowJudge(self._settings, rules, {})
        # Row numbers that are not kept, in order: the kept ones are the others.
        self._out = [json.loads(text)["row"] for text in self._lines(REJECTED)]

    def row(self, number: int) -> tuple[Row, dict[str, Any]]:
        """The row and, if it was rejected, its line of rejected.jsonl."""
        if not 0 <= number < self._rows:
            raise UsageError(f"{self._directory}: no row {number}; there are {self._rows:,} from 0")
        place = bisect_left(self._out, number)
        if self._out[place : place + 1] == [number]:
            verdict = json.loads(next(islice(self._lines(REJECTED), place, None)))
            fields, problem = verdict.get("fields"), verdict["evidence"]
            row = Row(number, verdict["place"], fields, b"", problem, verdict.get("raw", ""))
            return row, verdict
        row = next(islice(self._kept(), number - place, None))
        return row._replace(number=number), {}

    def nearest(self, lang: str, text: str, number: int) -> dict[str, Any] | None:
        """The nearest of the kept rows before `number` in the same language, by ROUGE-L; the
        earliest of equals."""
        tokenize = judging_language(lang).tokenize
        pool = NoveltyPool(lambda text: tokenize(text[:LONGEST]))
        pool.add("", text)
        best: Neighbour | None = None
        out = set(self._out)
        numbers = (other for other in range(number) if other not in out)
        for other, row in zip(numbers, self._kept(), strict=False):
            judged = self.judge.read(row)
            if judged.lang != lang:
                continue
            found = pool.nearest(judged.text)
            if found and found.rouge_l > (best.score if best else 0.0):
                best = Neighbour(str(other), found.rouge_l)
        return neighbour(best) if best else None

    def _kept(self) -> Iterator[Row]:
        path = self._directory / KEPT
        if path.exists() and not path.stat().st_size:
            return
        with open_sources([str(path)]) as sources:
            yield from read_rows(sources)

    def _lines(self, name: str) -> Iterator[bytes]:
        try:
            with (self._directory / name).open("rb") as file:
                yield from file
        except OSError as error:
            path = self._directory / name
            raise UsageError(f"cannot read {path}: {error.strerror}") from None
