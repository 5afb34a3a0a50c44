"""Messages, as OpenAI's chat API has them and TRL reads them; prompt and completion, TRL's other.

TRL takes the loss on all of a `messages` row (or on its answers), on a `completion` alone where
there is one.
"""

from __future__ import annotations

from typing import Any

from selfinstruct.formats.format import Fields, Format, items, text
from selfinstruct.formats.turns import read_turns, turns_of
from selfinstruct.records import Example, Task


def messages_of(example: Example) -> list[dict[str, str]]:
    return [{"role": role, "content": said} for role, said in turns_of(example)]


def messages_row(_id: str, example: Example) -> dict[str, Any]:
    """
    >>> messages_row("en-000003-01", Example(Task("Name a river.", "", "The Nile.")))
    {'messages': [{'role': 'user', 'content': 'Name a river.'},
     {'role': 'assistant', 'content': 'The Nile.'}]}
    """
    return {"messages": messages_of(example)}


def trl_row(_id: str, example: Example) -> dict[str, Any]:
    """
    >>> trl_row("en-000003-01", Example(Task("Name a river.", "", "The Nile.")))
    {'prompt': [{'role': 'user', 'content': 'Name a river.'}],
     'completion': [{'role': 'assistant', 'content': 'The Nile.'}]}
    """
    *prompt, answer = messages_of(example)
    return {"prompt": prompt, "completion": [answer]}


def read_trl(fields: Fields) -> Example:
    """Both as lists of messages, or both as plain text.

    >>> read_trl({"prompt": "Name a river.", "completion": "The Nile."}).task
    Task(instruction='Name a river.', input='', output='The Nile.')
    """
    if isinstance(fields.get("prompt"), str):
        return Example(Task(text(fields, "prompt"), "", text(fields, "completion")))
    return read_turns(items(fields, "prompt") + items(fields, "completion"))


MESSAGES = Format(
    "messages",
    messages_row,
    lambda fields: read_turns(items(fields, "messages")),
    lambda fields: "messages" in fields,
)

TRL = Format("trl", trl_row, read_trl, lambda fields: "prompt" in fields and "completion" in fields)
