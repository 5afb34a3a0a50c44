"""What a row layout must say about itself. Enters: an example and its id, or a row. Leaves: the
other of the two.

Knows no file system and no run: `exporting/` writes rows to files, `importing/` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from selfinstruct.records import Example, Task

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """A layout that a trainer reads: a row for each example.

    name: what `--format` calls it. row: (record id, example) → the fields, in their order; raises
    ValueError with a phrase that says what the layout has no place for. read: the fields → an
    example; raises ValueError with a phrase that says what is wrong. Extra fields are passed over,
    and row(id, read(fields)) is fields again where there are none. knows: whether a row with these
    fields is of this layout, going by names and the shape of values alone.

    >>> plain = Format(
    ...     "plain",
    ...     lambda _id, example: {"text": example.task.output},
    ...     lambda fields: Example(Task("", "", text(fields, "text"))),
    ...     lambda fields: "text" in fields,
    ... )
    >>> plain.read({"text": "The Nile."}).task.output, plain.file_name("zh")
    ('The Nile.', 'plain.zh.jsonl')
    >>> plain.read({"text": 7})
    Traceback (most recent call last):
    ValueError: 'text' is not text but a number
    """

    name: str
    row: Callable[[str, Example], dict[str, Any]]
    read: Callable[[Fields], Example]
    knows: Callable[[Fields], bool]

    def file_name(self, lang: str) -> str:
        """The file of one language's rows."""
        return f"{self.name}.{lang}.jsonl"


def question(task: Task) -> str:
    """Instruction and input as the one text that the asking side says.

    >>> question(Task("把下面的句子改成被动句。", "猫吃了鱼。", "鱼被猫吃了。"))
    '把下面的句子改成被动句。\\n猫吃了鱼。'
    >>> question(Task("Name a river.", "", "The Nile."))
    'Name a river.'
    """
    return f"{task.instruction}\n{task.input}" if task.input else task.instruction


def only_task(example: Example, layout: str) -> Task:
    """The task of an example that has nothing else. Raises ValueError for one that has."""
    if example.history:
        raise ValueError(f"{layout} has no place for earlier turns")
    without_system(example, layout)
    return example.task


def without_system(example: Example, layout: str) -> Example:
    """The example, if it has no system message. Raises ValueError."""
    if example.system:
        raise ValueError(f"{layout} has no place for a system message")
    return example


def text(fields: Fields, name: str, *, optional: bool = False) -> str:
    """A field's text. optional: "" when it is missing or null. Raises ValueError."""
    value = fields.get(name)
    if optional and value is None:
        return ""
    if name not in fields:
        raise ValueError(f"no {name!r}")
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is not text but {kind(value)}")
    return value


def items(fields: Fields, name: str, *, optional: bool = False) -> list[Any]:
    """A field's list. optional: an empty one when it is missing or null. Raises ValueError."""
    value = fields.get(name)
    if optional and value is None:
        return []
    if name not in fields:
        raise ValueError(f"no {name!r}")
    if not isinstance(value, list):
        raise ValueError(f"{name!r} is not a list but {kind(value)}")
    return value


def kind(value: object) -> str:
    """What a JSON value is, for people.

    >>> kind(None), kind(True), kind(0.5), kind({})
    ('null', 'true or false', 'a number', 'an object')
    """
    names = {bool: "true or false", int: "a number", float: "a number", str: "text"}
    names |= {list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), type(value).__name__)
