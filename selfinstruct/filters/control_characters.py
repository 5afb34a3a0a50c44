"""Characters that nobody typed: controls, replacement characters, invisible ones."""

from __future__ import annotations

import re

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

# C0 without tab, line feed and carriage return; DEL and C1; U+FFFD; noncharacters; surrogates.
_BROKEN = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ufffe\uffff\ufdd0-\ufdef\ud800-\udfff"
# Soft hyphen, zero-width space, word joiner and its kin, byte order mark, bidi overrides. Joiners
# (U+200C, U+200D) spell Persian and make emoji; isolates and marks belong to right-to-left text.
_INVISIBLE = "\u00ad\u200b\u2060-\u2064\ufeff\u202d\u202e"
_FOUND = re.compile(f"[{_BROKEN}{_INVISIBLE}]")
# One letter under many accents: what a text model writes when it fails.
_STACKED = re.compile("[\u0300-\u036f\u0489\u1ab0-\u1aff]{5}")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdfd\ufe70-\ufefc]")
_MARKS = re.compile("[\u200e\u200f\u202a-\u202c\u2066-\u2069]")


def control_characters(task: Task, _language: Language) -> Verdict | None:
    """Rejects a field with a control character, U+FFFD, an invisible character or stacked accents.

    >>> from selfinstruct.languages import get_language
    >>> control_characters(Task("Name a river.", "", "Ni\\u200ble"), get_language("en")).evidence
    'output has U+200B'
    """
    for name in ("instruction", "input", "output"):
        text: str = getattr(task, name)
        if text.isascii() and text.isprintable():
            continue
        match = _FOUND.search(text)
        if match is None and not text.isascii():
            match = _STACKED.search(text)
            if match is None and (mark := _MARKS.search(text)) and not _RIGHT_TO_LEFT.search(text):
                match = mark
        if match:
            return Verdict("control_characters", f"{name} has U+{ord(match.group()[0]):04X}")
    return None
