"""Inputs and outputs that stand for a text which is not there: "[insert article]", "N/A"."""

from __future__ import annotations

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict


def placeholder(task: Task, language: Language) -> Verdict | None:
    """Rejects a whole input or output that is a placeholder. "None" may be a real answer.

    >>> from selfinstruct.languages import get_language
    >>> placeholder(Task("Sum it up.", "[Link to article]", "…"), get_language("en")).evidence
    "input is '[Link to article]'"
    """
    given, answer = task.input.strip(), task.output.strip()
    if given and (language.placeholders.fullmatch(given) or language.no_values.fullmatch(given)):
        return Verdict("placeholder", f"input is {given[:80]!r}")
    if language.placeholders.fullmatch(answer):
        return Verdict("placeholder", f"output is {answer[:80]!r}")
    return None
