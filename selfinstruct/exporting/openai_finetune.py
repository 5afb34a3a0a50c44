"""OpenAI fine-tuning: `messages` that its file check lets through.

What the check demands, as pages about it say (its own guide was not at hand): at least 10 examples
in a training file, no empty message, the last one the assistant's; a file is at most 512 MB. How
long an example may be depends on the model and is not checked here.
"""

from __future__ import annotations

from typing import Any

from selfinstruct.exporting.choice import TRAIN
from selfinstruct.exporting.exporter import Exporter, always
from selfinstruct.formats import Format, get_format
from selfinstruct.records import Example

_LEAST_ROWS = 10
_MOST_BYTES = 512 * 10**6
_MESSAGES = get_format("messages")


def finetune_row(id: str, example: Example) -> dict[str, Any]:
    """Raises ValueError for a row with an empty message.

    >>> from selfinstruct.records import Task
    >>> finetune_row("en-000003-01", Example(Task("Name a river.", "", "The Nile.")))
    {'messages': [{'role': 'user', 'content': 'Name a river.'},
     {'role': 'assistant', 'content': 'The Nile.'}]}
    """
    row = _MESSAGES.row(id, example)
    if not all(message["content"].strip() for message in row["messages"]):
        raise ValueError("openai-finetune has no place for an empty message")
    return row


def check_file(split: str, rows: int, size: int) -> str:
    """
    >>> check_file("train", 9, 4000)
    'has 9 rows; OpenAI takes training files of at least 10'
    """
    if split == TRAIN and rows < _LEAST_ROWS:
        return f"has {rows} rows; OpenAI takes training files of at least {_LEAST_ROWS}"
    if size > _MOST_BYTES:
        return f"has {size:,} bytes; OpenAI takes files of at most {_MOST_BYTES:,}; use --limit"
    return ""


OPENAI_FINETUNE = Exporter(
    "openai-finetune",
    always(Format("openai-finetune", finetune_row, _MESSAGES.read, _MESSAGES.knows)),
    check=check_file,
)
