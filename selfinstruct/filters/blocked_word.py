"""Instructions that ask for what a text model cannot see, hear, open or draw."""

from __future__ import annotations

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict


def blocked_word(task: Task, language: Language) -> Verdict | None:
    """Rejects an instruction with a word of the language's blocked list (Alpaca's word list).

    >>> from selfinstruct.languages import get_language
    >>> blocked_word(Task("Draw a cat in two lines.", "", "…"), get_language("en")).evidence
    "'Draw'"
    """
    match = language.blocked.search(task.instruction)
    return Verdict("blocked_word", repr(match.group())) if match else None
