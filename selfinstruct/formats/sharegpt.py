"""ShareGPT, as FastChat's Vicuna reads it: turns of "human" and "gpt", "system" before them."""

from __future__ import annotations

from typing import Any

from selfinstruct.formats.format import Format, items
from selfinstruct.formats.turns import read_turns, turns_of
from selfinstruct.records import Example

_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}


def sharegpt_row(id: str, example: Example) -> dict[str, Any]:
    """The exchanges, under the id that the example has in records.jsonl.

    >>> from selfinstruct.records import Task
    >>> task = Task("Name a river.", "", "The Nile.")
    >>> sharegpt_row("en-000003-01", Example(task, (), "Be brief."))
    {'id': 'en-000003-01', 'conversations': [{'from': 'system', 'value': 'Be brief.'},
     {'from': 'human', 'value': 'Name a river.'}, {'from': 'gpt', 'value': 'The Nile.'}]}
    """
    turns = [{"from": _NAMES[role], "value": text} for role, text in turns_of(example)]
    return {"id": id, "conversations": turns}


SHAREGPT = Format(
    "sharegpt",
    sharegpt_row,
    lambda fields: read_turns(items(fields, "conversations")),
    lambda fields: "conversations" in fields,
)
