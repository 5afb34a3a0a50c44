"""Outputs that only repeat what was given."""

from __future__ import annotations

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict


def echo(task: Task, _language: Language) -> Verdict | None:
    """Rejects output == input or output == instruction (letters folded, outer blanks ignored).

    Case is kept for input == output: "capitalise this" is a task.

    >>> from selfinstruct.languages import get_language
    >>> echo(Task("Fix the grammar.", "I am here.", "I am here."), get_language("en")).evidence
    'output equals input'
    """
    answer = task.output.strip()
    if answer and answer == task.input.strip():
        return Verdict("echo", "output equals input")
    if answer.casefold() == task.instruction.strip().casefold():
        return Verdict("echo", "output equals instruction")
    return None
