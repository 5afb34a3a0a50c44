"""Fields that still hold the prompt's own scaffolding: the recipe's labels, separators, marker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict


@lru_cache
def _pattern(labels: Sequence[str], marker: str) -> re.Pattern[str]:
    names = "|".join(map(re.escape, labels))
    return re.compile(
        rf"^[ \t#*]*\d+[.)、:：]\s*(?:{names})\s*\**\s*[:：]|{re.escape(marker)}",
        re.IGNORECASE | re.MULTILINE,
    )


def label_debris(task: Task, language: Language) -> Verdict | None:
    """Rejects a field with a numbered label at a line's start, or the no-input marker inside.

    The parser cuts a merged next task off; what still looks like one after that is a broken row.

    >>> from selfinstruct.languages import get_language
    >>> label_debris(Task("Name a river.", "", "Nile\\n7. Input: x"), get_language("en")).evidence
    "output has '7. Input:'"
    """
    labels = (*language.instruction, *language.input, *language.output)
    pattern = _pattern(labels, language.no_input)
    for name in ("instruction", "input", "output"):
        match = pattern.search(getattr(task, name))
        if match:
            return Verdict("label_debris", f"{name} has {match.group().strip()!r}")
    return None
