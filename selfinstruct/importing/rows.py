"""Rows of foreign files → examples in a language, or what is wrong with them.

Enters: a row as it was read. Leaves: one of the two. Pure: knows no file.
"""

from __future__ import annotations

from typing import NamedTuple

from selfinstruct.detection import row_language
from selfinstruct.formats import Format, question, recognise, unknown_layout
from selfinstruct.languages import LANGUAGES
from selfinstruct.reading import Row
from selfinstruct.records import Example, Task


class Found(NamedTuple):
    """A good row. layout: what it was read as. source_id: the name that it had, "" for none."""

    example: Example
    lang: str
    layout: str
    source_id: str = ""


def understand(row: Row, layout: Format | None, lang: str, *, any_language: bool = False) -> Found:
    """The example in a row; layout and lang are told by its fields and its text where they are
    None and "". any_language: also those that nothing is generated in. Raises ValueError with a
    phrase that says what is wrong.

    >>> row = Row(0, "a.jsonl:1", {"input": "说出一条河。", "target": "长江。", "id": 7}, b"")
    >>> found = understand(row, None, "")
    >>> found.example.task.output, found.lang, found.layout, found.source_id
    ('长江。', 'zh', 'belle-0.5m', '7')
    >>> understand(Row(0, "a.jsonl:1", {"text": "The Nile."}, b""), None, "en")
    Traceback (most recent call last):
    ValueError: no known layout has the fields 'text'; name one with --format
    """
    if row.fields is None:
        raise ValueError(row.problem)
    layout = layout or recognise(row.fields)
    if layout is None:
        raise ValueError(unknown_layout(row.fields))
    example = layout.read(row.fields)
    # What is too little to tell a language from is numbers or code, with English around it.
    code = lang or row_language(_said(example)) or "en"
    if code not in LANGUAGES and not any_language:
        raise ValueError(
            f"it seems to be in {code!r}, which is none of {', '.join(LANGUAGES)}; "
            "--lang says otherwise"
        )
    id = row.fields.get("id")
    source_id = str(id) if isinstance(id, str | int) and not isinstance(id, bool) else ""
    return Found(example, code, layout.name, source_id)


def _said(example: Example) -> Task:
    """All that is said, as one task."""
    earlier = [text for pair in example.history for text in pair]
    return Task("\n".join([*earlier, question(example.task)]), "", example.task.output)
