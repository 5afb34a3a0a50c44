"""Short outputs that say the task was not done, in other words than `refusal` looks for."""

from __future__ import annotations

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

# A longer output explains, tells or lists.
_LONGEST = 400


def declined(task: Task, language: Language) -> Verdict | None:
    """Rejects "Sorry, this task …", "Unable to perform …", "Please provide the text …".

    >>> from selfinstruct.languages import get_language
    >>> task = Task("Plot the data.", "", "This task cannot be completed by text alone.")
    >>> declined(task, get_language("en")).evidence
    "'This task cannot'"
    """
    answer = task.output.strip()
    if len(answer) > _LONGEST:
        return None
    match = language.marks.declines.search(answer)
    return Verdict("declined", repr(match.group()[:80])) if match else None
