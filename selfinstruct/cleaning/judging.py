"""One row of a file, read and judged by itself: its layout, language, filters, contamination.

Enters: a row. Leaves: what novelty compares of it, and the first objection. Pure. Whether a row
repeats another one is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from selfinstruct.cleaning.personal import personal
from selfinstruct.cleaning.rules import Rules
from selfinstruct.cleaning.settings import CleanSettings
from selfinstruct.decontamination import Decontamination
from selfinstruct.detection import row_language
from selfinstruct.formats import Format, get_format, recognise, unknown_layout
from selfinstruct.languages import get_language, judging_language
from selfinstruct.novelty import Neighbour
from selfinstruct.reading import Row
from selfinstruct.records import Example, Task, Verdict

# Layouts with an instruction by itself; elsewhere the question holds the input.
_SPLIT = frozenset({"alpaca", "belle-1m"})


class Judged(NamedTuple):
    """A row with what is known of it so far. layout, lang and text are "" where it has none.

    text: what novelty compares: the instruction, or all that the user says in a conversation.
    nearest: the kept text that makes it a near-duplicate.
    """

    row: Row
    layout: str = ""
    lang: str = ""
    text: str = ""
    verdict: Verdict = Verdict()
    nearest: Neighbour | None = None


class RowJudge:
    """Judges rows one by one; the same row always gets the same verdict."""

    def __init__(
        self, settings: CleanSettings, rules: Rules, runs: Mapping[str, Decontamination]
    ) -> None:
        """runs: what evaluation texts hold, by a language's unit of length; empty for nothing.
        Raises UsageError for a layout or a language that is not known."""
        if settings.lang:
            get_language(settings.lang)
        self._layout = get_format(settings.layout) if settings.layout else None
        self._lang = settings.lang
        self._masks = settings.pii == "mask"
        self._steps = frozenset(settings.only)
        self._runs = runs
        self._rules = rules

    def judge(self, row: Row) -> Judged:
        """The row with its layout, its language and the first objection to its own contents."""
        judged, example, layout = self._understood(row)
        if example is None or layout is None:
            return judged
        return judged._replace(verdict=self._objection(example, layout, judged.lang))

    def read(self, row: Row) -> Judged:
        """The row with its layout and language; only one that cannot be read has an objection."""
        return self._understood(row)[0]

    def findings(self, row: Row) -> list[tuple[str, Verdict | None]]:
        """What each filter says of a row, in order; none for a row that cannot be read."""
        judged, example, layout = self._understood(row)
        if example is None or layout is None:
            return []
        language = judging_language(judged.lang)
        profile = self._rules.profile(language)
        said = [profile.findings(task, language) for task in exchanges(example)]
        # Of several exchanges the first that a filter objects to speaks for it.
        return [
            (each[0][0], next((verdict for _name, verdict in each if verdict), None))
            for each in zip(*said, strict=True)
        ]

    def off(self, row: Row) -> list[str]:
        """The filters of `findings` that `judge` does not ask, in order."""
        judged, _, layout = self._understood(row)
        profile = self._rules.profile(
            judging_language(judged.lang), shape=layout is None or layout.name in _SPLIT
        )
        asked = "filters" in self._steps
        return [name for name, _ in self.findings(row) if not (asked and profile.is_on(name))]

    def _understood(self, row: Row) -> tuple[Judged, Example | None, Format | None]:
        if row.fields is None:
            return Judged(row, verdict=Verdict("malformed", row.problem)), None, None
        # What is kept is masked, and it is what later rows, or another clean, are compared with.
        fields = personal(row.fields)[0] if self._masks else row.fields
        layout = self._layout or recognise(fields)
        if layout is None:
            verdict = Verdict("malformed", unknown_layout(fields))
            return Judged(row, verdict=verdict), None, None
        try:
            example = layout.read(fields)
        except ValueError as error:
            return Judged(row, layout.name, verdict=Verdict("malformed", str(error))), None, None
        lang = self._lang or language_of(example)
        return Judged(row, layout.name, lang, asked(example)), example, layout

    def _objection(self, example: Example, layout: Format, lang: str) -> Verdict:
        language = judging_language(lang)
        if "filters" in self._steps:
            profile = self._rules.profile(language, shape=layout.name in _SPLIT)
            for task in exchanges(example):
                found = profile.objection(task, language)
                if found is not None:
                    return found
        runs = self._runs.get(language.unit)
        if "contamination" in self._steps and runs is not None:
            for name, text in said(example):
                if met := runs.find(text):
                    return Verdict("contaminated", f"{name} shares {met.shared!r} with {met.id}")
        return Verdict()


def exchanges(example: Example) -> list[Task]:
    """Every question with its answer, the oldest first.

    >>> [task.output for task in exchanges(Example(Task("And Peru's?", "", "Lima."), (("Capital "
    ... "of Chile?", "Santiago."),)))]
    ['Santiago.', 'Lima.']
    """
    return [*(Task(user, "", answer) for user, answer in example.history), example.task]


def language_of(example: Example) -> str:
    """The code of the language whose rules judge an example: that of the last exchange which shows
    one, since many a conversation ends with "Thanks!".

    >>> language_of(Example(Task("Ok", "", "12"), (("Welche Flüsse hat Peru?", "Den Amazonas."),)))
    'und'
    >>> language_of(Example(Task("Ok", "", "12"), (("秘鲁有哪些河流？", "亚马孙河。"),)))
    'zh'
    """
    found = map(row_language, reversed(exchanges(example)))
    return judging_language(next(filter(None, found), "")).code


def asked(example: Example) -> str:
    """What novelty compares: the instruction alone, as in generation, or all that the user says."""
    return "\n".join([*(user for user, _answer in example.history), example.task.instruction])


def said(example: Example) -> list[tuple[str, str]]:
    """(field, text) for every text of an example that is not empty."""
    named = [
        (name, text)
        for task in exchanges(example)
        for name, text in zip(
            ("instruction", "input", "output"),
            (task.instruction, task.input, task.output),
            strict=True,
        )
    ]
    return [(name, text) for name, text in (("system", example.system), *named) if text]
