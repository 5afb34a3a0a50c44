"""Answers in which the model talks about itself or declines."""

from __future__ import annotations

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict


def refusal(task: Task, language: Language) -> Verdict | None:
    """Rejects an output that the language's refusal pattern finds.

    >>> from selfinstruct.languages import get_language
    >>> refusal(Task("Book me a flight.", "", "As an AI, I cannot."), get_language("en")).evidence
    "'As an AI, I'"
    """
    match = language.refusals.search(task.output.strip())
    return Verdict("refusal", repr(match.group())) if match else None
