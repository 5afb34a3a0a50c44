"""Where a decided row goes: kept.jsonl as it was, rejected.jsonl with the reason, flagged.jsonl.

Enters: rows with their verdicts, in order. Leaves: lines. Decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from selfinstruct.cleaning.comparing import Known
from selfinstruct.cleaning.judging import Judged, RowJudge
from selfinstruct.cleaning.parts import FLAGGED, KEPT, REJECTED, Parts
from selfinstruct.cleaning.personal import personal
from selfinstruct.cleaning.settings import CleanSettings
from selfinstruct.cleaning.tally import Tally
from selfinstruct.errors import UsageError
from selfinstruct.exports import line
from selfinstruct.novelty import Neighbour
from selfinstruct.reading import open_sources, read_rows


def file_names(settings: CleanSettings) -> tuple[str, ...]:
    """The files of rows that a clean with these settings writes."""
    return (KEPT, REJECTED) if settings.pii == "off" else (KEPT, REJECTED, FLAGGED)


class RowWriter:
    """Writes decided rows and counts them."""

    def __init__(self, settings: CleanSettings, parts: Parts, tally: Tally) -> None:
        """Raises UsageError when --pii lacks its libraries."""
        if settings.pii != "off":
            from selfinstruct.pii.numbers import libraries

            libraries()  # Raises what is missing before any row is read.
        self._pii = settings.pii
        self._strict = settings.strict
        self._parts = parts
        self._tally = tally

    def write(self, decided: list[Judged]) -> None:
        """Raises DiskError; UsageError at the first malformed row if the settings are strict."""
        for judged in decided:
            self._tally.count(judged)
            if judged.verdict.kept:
                self._parts.write(KEPT, self._kept(judged))
                continue
            if self._strict and judged.verdict.reason == "malformed":
                raise UsageError(f"{judged.row.place}: {judged.verdict.evidence}")
            self._parts.write(REJECTED, rejected_line(judged))

    def kept_before(self, judge: RowJudge) -> Iterator[Known]:
        """What an earlier process kept and this one goes on from, for comparing.

        Which rows they were is what rejected.jsonl does not name.
        """
        if not self._tally.kept:
            return
        out = set(self._numbers(REJECTED))
        numbers = (number for number in range(self._tally.rows) if number not in out)
        with open_sources([str(self._parts.part(KEPT))]) as sources:
            for number, row in zip(numbers, read_rows(sources), strict=True):
                judged = judge.read(row)
                yield Known(str(number), judged.lang, judged.text)

    def _numbers(self, name: str) -> Iterator[int]:
        with self._parts.part(name).open("rb") as file:
            for text in file:
                yield json.loads(text)["row"]

    def _kept(self, judged: Judged) -> bytes:
        """The row's own line, or one with what --pii masks."""
        if self._pii == "off" or judged.row.fields is None:
            return judged.row.line
        fields, found = personal(judged.row.fields)
        if not found:
            return judged.row.line
        kinds = {one["kind"] for one in found}
        self._tally.flagged.update(kinds)
        flagged = {"row": judged.row.number, "place": judged.row.place, "findings": found}
        self._parts.write(FLAGGED, line(flagged)[:-1])
        return line(fields)[:-1] if self._pii == "mask" else judged.row.line


def rejected_line(judged: Judged) -> bytes:
    """A line of rejected.jsonl: the verdict, then the row as it was."""
    row, verdict = judged.row, judged.verdict
    head = {
        "row": row.number,
        "place": row.place,
        "reason": verdict.reason,
        "evidence": verdict.evidence,
        **({"neighbour": neighbour(judged.nearest)} if judged.nearest else {}),
    }
    if row.fields is None:
        return line({**head, "raw": row.evidence})[:-1]
    # The row's own line goes in as it is: whatever JSON it holds stays what it was.
    return line(head)[:-2] + b', "fields": ' + row.line + b"}"


def neighbour(nearest: Neighbour) -> dict[str, Any]:
    """The other text by its row, or by its place in an evaluation file.

    >>> neighbour(Neighbour("17", 0.75))
    {'row': 17, 'score': 0.75}
    """
    which = {"row": int(nearest.id)} if nearest.id.isdigit() else {"against": nearest.id}
    return {**which, "score": nearest.score}
