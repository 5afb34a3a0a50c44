"""Inputs and outputs that are only the name of a file, a picture or a recording."""

from __future__ import annotations

from selfinstruct.filters.windows import READ
from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

# A long text stands for itself; and the patterns need not be linear.
_LONGEST = 200


def attachment(task: Task, language: Language) -> Verdict | None:
    """Rejects a field that is only "[attached file]", "Attachment: report.pdf", "<Audio of …>".

    A field that names files for a task about files is left alone: the instruction says so.

    >>> from selfinstruct.languages import get_language
    >>> attachment(Task("Sum it up.", "See the attached file.", "…"), get_language("en")).evidence
    "input is 'See the attached file.'"
    """
    for name in ("input", "output"):
        text: str = getattr(task, name)
        if len(text) > _LONGEST or not language.marks.attachment.fullmatch(text.strip()):
            continue
        if not language.marks.about_links.search(task.instruction, 0, READ):
            return Verdict("attachment", f"{name} is {text.strip()[:80]!r}")
    return None
