"""Outputs that were cut off: by a limit of tokens, by a stop sequence."""

from __future__ import annotations

import re

from selfinstruct.filters.windows import READ, around, last_line
from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

_FENCE = re.compile(r"^[ \t]{0,3}```", re.MULTILINE)
# "3." with nothing after it, alone on the last line of a text that is no list of numbers.
_NUMBER = re.compile(r"\d{1,2}[.)、]|[-*•]")
_NUMERIC = re.compile(r"[\d\s.,;:()=+*/^-]*")
# A last line of so many characters is no name, title or item; alone, fewer say as much.
_LINE = 20
_ALONE = 12
_TAIL = 160
_CLOSED = (".", "!", "?", "。", "！", "？", '"', "”", ")", "）", "}")


def truncated(task: Task, language: Language) -> Verdict | None:
    """Rejects an output that ends in a word or a mark with which no sentence ends.

    Also an open code fence, a list number without its item, and an announcement ("such as:") with
    nothing after it.

    >>> from selfinstruct.languages import get_language
    >>> task = Task("What is calcium?", "", "Calcium is an element with the atomic number of")
    >>> truncated(task, get_language("en")).evidence
    "ends in 'ent with the atomic number of'"
    """
    answer = task.output.rstrip()
    if "```" in answer and len(_FENCE.findall(answer)) % 2:
        return Verdict("truncated", "a code fence is open")
    last = last_line(answer)[-_TAIL:]
    if _NUMBER.fullmatch(last):
        return None if _NUMERIC.fullmatch(answer) else Verdict("truncated", f"ends in {last!r}")
    if len(last) < (_LINE if len(answer) > len(last) else _ALONE):
        return None
    if last.endswith(_CLOSED):
        return None
    marks = language.marks
    pattern = marks.announcing if last.endswith((":", "：")) else marks.dangling
    match = pattern.search(last)
    if not match or marks.about_words.search(task.instruction, 0, READ):
        return None
    return Verdict("truncated", f"ends in {around(last, match.start(), match.end())}")
