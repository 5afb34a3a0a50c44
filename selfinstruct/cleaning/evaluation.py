"""Evaluation files: what no row may repeat. Read whole, since they are small.

Enters: paths of `--against`. Leaves: their questions for the comparison, their n-grams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from selfinstruct.cleaning.comparing import Known
from selfinstruct.cleaning.judging import asked, language_of
from selfinstruct.cleaning.settings import CleanSettings
from selfinstruct.decontamination import RUNS, Decontamination, texts_of
from selfinstruct.detection import detect
from selfinstruct.errors import UsageError
from selfinstruct.formats import recognise
from selfinstruct.languages import judging_language
from selfinstruct.languages.und import UND
from selfinstruct.reading import identity, open_sources, read_rows


class Evaluation(NamedTuple):
    """texts: for the comparison. runs: what they hold, by the unit of length of the language that
    a row is in. identity: path, size and SHA-256 of each file."""

    texts: list[Known]
    runs: dict[str, Decontamination]
    identity: list[dict[str, Any]]

    @classmethod
    def read(cls, settings: CleanSettings) -> Evaluation:
        """Raises UsageError for a file that cannot be read, or has a row that cannot."""
        if not settings.against:
            return cls([], {}, [])
        # One tokenizer, which knows every script: a detector may err on one side only.
        runs = {
            unit: Decontamination(UND.tokenize, *_lengths(settings.ngram, unit)) for unit in RUNS
        }
        texts: list[Known] = []
        with open_sources(settings.against) as sources:
            for row in read_rows(sources):
                if row.fields is None:
                    raise UsageError(f"{row.place}: {row.problem}")
                every = texts_of(row.fields)
                for text in every:
                    for each in runs.values():
                        each.add(row.place, text)
                texts += [
                    Known(row.place, lang, text)
                    for text, langs in _questions(row.fields, every).items()
                    for lang in ([settings.lang] if settings.lang else langs)
                ]
            return cls(texts, runs, identity(sources))


def _lengths(ngram: int | None, unit: str) -> tuple[int, int]:
    """Tokens of a run, and the fewest of a text that is matched whole."""
    n, least = RUNS[unit]
    return (n, least) if ngram is None else (ngram, min(ngram, least))


def _questions(fields: Mapping[str, Any], every: list[str]) -> dict[str, list[str]]:
    """What is asked in an evaluation row; any of its texts may be that if the layout is unknown.

    With the languages that a row which asks it may be in: the text's own, and that of the answer
    where the text shows none. A row is judged by the same means, with an answer of its own.
    """
    layout = recognise(fields)
    try:
        if layout:
            example = layout.read(fields)
            question = asked(example)
            return {question: _codes(detect(question), language_of(example))}
    except ValueError:
        pass
    return {text: _codes(*map(detect, (text, *every))) for text in every}


def _codes(*found: str) -> list[str]:
    """The languages that judge, each once: of the first guess, and of the first that is one."""
    guesses = (found[0], next(filter(None, found), ""))
    return list(dict.fromkeys(judging_language(guess).code for guess in guesses))
