"""Inputs that are only an address, whose page the model never saw."""

from __future__ import annotations

import re

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

# A label such as "Article:" or "Link to article:" may stand before the address.
_LABEL = re.compile(r"[\w ]{1,30}[:：](?!//)")
_ADDRESS = re.compile(r"[<\[(\"']{0,3}(?:https?://|www\.)\S", re.IGNORECASE)


def url_input(task: Task, _language: Language) -> Verdict | None:
    """Rejects an input made of nothing but web addresses.

    >>> from selfinstruct.languages import get_language
    >>> task = Task("Sum it up.", "Article: https://a.example/x", "…")
    >>> url_input(task, get_language("en")).evidence
    'Article: https://a.example/x'
    """
    given = task.input.strip()
    label = _LABEL.match(given)
    parts = given[label.end() if label else 0 :].split()
    if parts and all(_ADDRESS.match(part) for part in parts):
        return Verdict("url_input", given[:120])
    return None
