"""Instructions too short to be a task or too long to be one (Alpaca: ≤ 3 or > 150 words)."""

from __future__ import annotations

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict


def length(task: Task, language: Language) -> Verdict | None:
    """Rejects an instruction outside language.limits, in language.unit.

    >>> from selfinstruct.languages import get_language
    >>> length(Task("Name a fruit.", "", "Plum."), get_language("en"))
    Verdict(reason='instruction_length', evidence='3 words, allowed 4–150', neighbour=None)
    """
    size = language.length(task.instruction)
    least, most = language.limits(task)
    if least <= size <= most:
        return None
    return Verdict("instruction_length", f"{size} {language.unit}, allowed {least}–{most}")
