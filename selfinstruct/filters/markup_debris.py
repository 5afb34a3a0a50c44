"""Markup that has no business in a text: HTML entities and breaks, escapes, unmatched tags."""

from __future__ import annotations

import re

from selfinstruct.filters.windows import around, ends, is_about
from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

_WINDOW = 20_000
_ENTITY = re.compile(
    r"&(?:nbsp|amp|lt|gt|quot|apos|hellip|[lr][sd]quo|[mn]dash|middot|bull|copy|reg|trade"
    r"|#\d{2,5}|#x[0-9a-fA-F]{2,5});"
)
# Bold and underlined words are marked by tags where a text must show them.
_TAG = re.compile(
    r"</?(?:br|p|div|span|font|center|ul|ol|li|td|tr|h[1-6])(?: [^<>\n]{0,200})?"
    r" ?/?>",
    re.IGNORECASE,
)
# "\n" and "\t" written out between words; "\\n" as two characters of a sentence, not of a string.
_ESCAPE = re.compile(
    r"(?:\\n){2}|(?<=[.!?:,。！？])\\[nt](?=[^\W_a-z]|[\s\d-]|\\|\Z)|\\u[0-9a-fA-F]{4}"
)
# Quotes with a backslash, as in a JSON string.
_QUOTE = re.compile(r"\\\"[^\"\\\n]{1,80}\\\"")
_CODE = re.compile(
    r"```|`[^`\n]*[<&\\]|[;{}]\s*$|^[^\S\n]*(?:<|#include|import |def |print)|\w\(\"|=[\"']",
    re.MULTILINE,
)


def markup_debris(task: Task, language: Language) -> Verdict | None:
    """Rejects `&nbsp;`, `<br>` or a written-out `\\\\n` in a row that is not about markup or code.

    >>> from selfinstruct.languages import get_language
    >>> task = Task("Describe the sea.", "", "It is blue&nbsp;and deep.")
    >>> markup_debris(task, get_language("en")).evidence
    "output has '&nbsp;'"
    """
    for name in ("instruction", "input", "output"):
        text = ends(getattr(task, name), _WINDOW)
        if not ("&" in text or "<" in text or "\\" in text):
            continue
        match = (
            _ENTITY.search(text) or _TAG.search(text) or _ESCAPE.search(text) or _QUOTE.search(text)
        )
        if match and not (_CODE.search(text) or is_about(language.marks.about_markup, task)):
            return Verdict(
                "markup_debris", f"{name} has {around(text, match.start(), match.end(), 0)}"
            )
    return None
