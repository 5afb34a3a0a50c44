"""Rows without an answer (49 of the 52,002 published Alpaca rows)."""

from __future__ import annotations

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict


def empty_output(task: Task, _language: Language) -> Verdict | None:
    """Rejects an output that is blank.

    >>> from selfinstruct.languages import get_language
    >>> empty_output(Task("Name three rivers.", "", " "), get_language("en")).reason
    'empty_output'
    """
    return None if task.output.strip() else Verdict("empty_output", "the output is blank")
