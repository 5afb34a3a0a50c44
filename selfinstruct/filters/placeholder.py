"""Inputs and outputs that stand for a text which is not there: "[insert article]", "N/A"."""

from __future__ import annotations

import re

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

_LONGEST = 300


def placeholder(task: Task, language: Language) -> Verdict | None:
    """Rejects a whole input or output that is a placeholder. "None" may be a real answer.

    >>> from selfinstruct.languages import get_language
    >>> placeholder(Task("Sum it up.", "[Link to article]", "…"), get_language("en")).evidence
    "input is '[Link to article]'"
    """
    given, answer = task.input.strip(), task.output.strip()
    if given and (_is(language.placeholders, given) or _is(language.no_values, given)):
        return Verdict("placeholder", f"input is {given[:80]!r}")
    if _is(language.placeholders, answer):
        return Verdict("placeholder", f"output is {answer[:80]!r}")
    return None


def _is(pattern: re.Pattern[str], text: str) -> bool:
    # A long text stands for itself; and the patterns need not be linear.
    return len(text) <= _LONGEST and bool(pattern.fullmatch(text))
