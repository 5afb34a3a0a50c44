"""BELLE's trainer: turns of "human" and "assistant" (LianjiaTech/BELLE, train/).

The answering side is "assistant", not ShareGPT's "gpt". BELLE's own converter puts instruction and
input together with nothing between them, so that their words run into each other; a line break is
what its 0.5M set has there, and what ours has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfinstruct.formats.format import Fields, Format, items, without_system
from selfinstruct.formats.turns import read_turns, turns_of
from selfinstruct.records import Example

_NAMES = {"user": "human", "assistant": "assistant"}


def belle_conversations_row(id: str, example: Example) -> dict[str, Any]:
    """The exchanges, under the id that the example has in records.jsonl.

    >>> from selfinstruct.records import Task
    >>> task = Task("翻译成英文。", "早上好！", "Hello!")
    >>> row = belle_conversations_row("zh-000003-01", Example(task))
    >>> row["id"], row["conversations"][0]
    ('zh-000003-01', {'from': 'human', 'value': '翻译成英文。\\n早上好！'})
    >>> row["conversations"][1]
    {'from': 'assistant', 'value': 'Hello!'}
    """
    turns = turns_of(without_system(example, "belle-conversations"))
    return {"id": id, "conversations": [{"from": _NAMES[r], "value": text} for r, text in turns]}


def _knows(fields: Fields) -> bool:
    """An answer by "assistant" is what tells it from ShareGPT."""
    turns = fields.get("conversations")
    names = {turn.get("from") for turn in turns or () if isinstance(turn, Mapping)}
    return isinstance(turns, list) and "assistant" in names and "system" not in names


BELLE_CONVERSATIONS = Format(
    "belle-conversations",
    belle_conversations_row,
    lambda fields: read_turns(items(fields, "conversations")),
    _knows,
)
