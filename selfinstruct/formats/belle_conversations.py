"""BELLE's trainer: turns of "human" and "assistant" (LianjiaTech/BELLE, train/).

The answering side is "assistant", not ShareGPT's "gpt". BELLE's own converter puts instruction and
input together with nothing between them, so that their words run into each other; a line break is
what its 0.5M set has there, and what ours has.
"""

from __future__ import annotations

from typing import Any

from selfinstruct.formats.format import Format, question
from selfinstruct.records import Task


def belle_conversations_row(id: str, task: Task) -> dict[str, Any]:
    """One exchange, under the id that the task has in records.jsonl.

    >>> row = belle_conversations_row("zh-000003-01", Task("翻译成英文。", "早上好！", "Hello!"))
    >>> row["id"], row["conversations"][0]
    ('zh-000003-01', {'from': 'human', 'value': '翻译成英文。\\n早上好！'})
    >>> row["conversations"][1]
    {'from': 'assistant', 'value': 'Hello!'}
    """
    return {
        "id": id,
        "conversations": [
            {"from": "human", "value": question(task)},
            {"from": "assistant", "value": task.output},
        ],
    }


BELLE_CONVERSATIONS = Format("belle-conversations", belle_conversations_row)
