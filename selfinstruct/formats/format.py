"""What a row layout must say about itself. Enters: a task and its id. Leaves: one row.

Knows no file system and no run: `export.py` reads, splits by language and writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from selfinstruct.records import Task


@dataclass(frozen=True, slots=True)
class Format:
    """A layout that a trainer reads: JSON Lines, a row for each task.

    name: what `--format` calls it. row: (record id, task) → the fields, in their order.

    >>> Format("plain", lambda _id, task: {"text": task.output}).file_name("zh")
    'plain.zh.jsonl'
    """

    name: str
    row: Callable[[str, Task], dict[str, Any]]

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
