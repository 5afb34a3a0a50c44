"""Prompt templates: the text of a file → string.Template, checked.

A template is plain text with `$name` placeholders; generated text is only ever substituted into
one, never used as one.
"""

from __future__ import annotations

from collections.abc import Set
from string import Template

from selfinstruct.errors import UsageError


def load_template(content: bytes, name: str, required: Set[str]) -> Template:
    """The template in `content`. Raises UsageError unless it has exactly the required names."""
    try:
        template = Template(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"{name}: not UTF-8 text") from None
    if not template.is_valid():
        raise UsageError(f"{name}: a '$' stands alone; write '$$' for a dollar sign")
    found = set(template.get_identifiers())
    for missing in sorted(required - found):
        raise UsageError(f"{name}: the placeholder ${missing} is missing")
    for unknown in sorted(found - required):
        raise UsageError(f"{name}: unknown placeholder ${unknown}; write '$$' for a dollar sign")
    return template
