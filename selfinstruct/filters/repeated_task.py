"""Fields that hold the instruction once more."""

from __future__ import annotations

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

# A shorter instruction may open its answer by chance.
_LEAST = 12
_STOPS = (".", "!", "。", "！")
_ENDS = ("", "\n", ".", "。", ":", "：")


def repeated_task(task: Task, _language: Language) -> Verdict | None:
    """Rejects an output that begins with the whole instruction, or an input equal to it.

    >>> from selfinstruct.languages import get_language
    >>> task = Task("Name the longest river.", "", "Name the longest river. The Nile.")
    >>> repeated_task(task, get_language("en")).evidence
    'output begins with the instruction'
    """
    asked = task.instruction.strip().casefold()
    if len(asked) < _LEAST:
        return None
    if task.input.strip().casefold() == asked:
        return Verdict("repeated_task", "input equals instruction")
    answer = task.output[: 2 * len(asked) + 2].strip().casefold()
    # What goes on in the same sentence is an answer.
    if answer.startswith(asked) and (
        asked.endswith(_STOPS) or answer[len(asked) : len(asked) + 1] in _ENDS
    ):
        return Verdict("repeated_task", "output begins with the instruction")
    return None
