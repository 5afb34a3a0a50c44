"""Parts of a long text, so that no filter's work grows faster than the row.

>>> ends("abcdefgh", 2)
'ab\\ngh'
"""

from __future__ import annotations

import re

from selfinstruct.records import Task

# What is read to learn what a task is about. Characters.
READ = 2000
_GLANCE = 500


def ends(text: str, size: int) -> str:
    """The text if it has at most 2·size characters, else its first and last `size` as two lines."""
    return text if len(text) <= 2 * size else f"{text[:size]}\n{text[-size:]}"


def last_line(text: str, most: int = 2000) -> str:
    """The last line that is not blank, without outer blanks; of its last `most` characters.

    >>> last_line("One.\\nTwo. \\n")
    'Two.'
    """
    return text[-most:].rstrip().rpartition("\n")[2].strip()


def around(text: str, start: int, end: int, beside: int = 20) -> str:
    """Evidence: what stands in text[start:end], with a little on both sides.

    >>> around("abcdefgh", 3, 4, 1)
    "'cde'"
    """
    return repr(text[max(0, start - beside) : min(end, start + 80) + beside])


def is_about(pattern: re.Pattern[str], task: Task) -> bool:
    """Whether the instruction, or the beginning of the input, has what the pattern finds.

    >>> is_about(re.compile("code"), Task("Mend this code.", "", "x = 1"))
    True
    """
    return bool(pattern.search(task.instruction, 0, READ) or pattern.search(task.input, 0, _GLANCE))
