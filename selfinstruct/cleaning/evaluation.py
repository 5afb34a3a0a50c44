"""Evaluation files: what no row may repeat. Read whole, since they are small.

Enters: paths of `--against`. Leaves: their questions for the comparison, their n-grams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from selfinstruct.cleaning.comparing import Known
from selfinstruct.cleaning.judging import asked
from selfinstruct.cleaning.settings import CleanSettings
from selfinstruct.decontamination import Overlap, texts_of
from selfinstruct.detection import detect
from selfinstruct.errors import UsageError
from selfinstruct.formats import recognise
from selfinstruct.languages.und import UND
from selfinstruct.reading import identity, open_sources, read_rows


class Evaluation(NamedTuple):
    """overlap: None where there is nothing to share. identity: path, size and SHA-256 of each."""

    texts: list[Known]
    overlap: Overlap | None
    identity: list[dict[str, Any]]

    @classmethod
    def read(cls, settings: CleanSettings) -> Evaluation:
        """Raises UsageError for a file that cannot be read, or has a row that cannot."""
        if not settings.against:
            return cls([], None, [])
        overlap = Overlap(settings.ngram, UND.tokenize)
        texts: list[Known] = []
        with open_sources(settings.against) as sources:
            for row in read_rows(sources):
                if row.fields is None:
                    raise UsageError(f"{row.place}: {row.problem}")
                every = texts_of(row.fields)
                for text in every:
                    overlap.add(row.place, text)
                texts += [
                    Known(row.place, settings.lang or detect(text), text)
                    for text in _questions(row.fields, every)
                ]
            return cls(texts, overlap, identity(sources))


def _questions(fields: Mapping[str, Any], every: list[str]) -> list[str]:
    """What is asked in an evaluation row; any of its texts may be that if the layout is unknown."""
    layout = recognise(fields)
    try:
        return [asked(layout.read(fields))] if layout else every
    except ValueError:
        return every
