"""Instructions that begin in a way which no task of the language begins."""

from __future__ import annotations

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict


def opening(task: Task, language: Language) -> Verdict | None:
    """Rejects by first character (Alpaca: punctuation or not ASCII) and by blocked openings.

    Alpaca drops "Write a program" because the answers are too often not one.

    >>> from selfinstruct.languages import get_language
    >>> opening(Task("- name three rivers", "", "Nile…"), get_language("en")).evidence
    "first character '-'"
    """
    if not language.opening.match(task.instruction):
        return Verdict("opening", f"first character {task.instruction[:1]!r}")
    start = task.instruction.lower()
    for blocked in language.blocked_openings:
        if start.startswith(blocked):
            return Verdict("opening", f"begins with {blocked!r}")
    return None
