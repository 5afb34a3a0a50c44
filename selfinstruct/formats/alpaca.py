"""Alpaca: the three fields (tatsu-lab/stanford_alpaca), `history` and `system` where there are any.

BELLE's 1M and 2M sets have the same three (LianjiaTech/BELLE). The two optional fields are those of
LLaMA-Factory: earlier exchanges as pairs, the oldest first, and the system message.

>>> BELLE_1M.row("zh-000003-01", Example(Task("说出一条河的名字。", "", "长江。")))
{'instruction': '说出一条河的名字。', 'input': '', 'output': '长江。'}
"""

from __future__ import annotations

from typing import Any

from selfinstruct.formats.format import Fields, Format, items, only_task, text
from selfinstruct.records import Example, Task


def alpaca_row(task: Task) -> dict[str, str]:
    """`input` is "" when there is none, never missing or null.

    >>> alpaca_row(Task("Name a river.", "", "The Nile."))
    {'instruction': 'Name a river.', 'input': '', 'output': 'The Nile.'}
    """
    return {"instruction": task.instruction, "input": task.input, "output": task.output}


def example_row(example: Example) -> dict[str, Any]:
    """The three fields, and the two optional ones if they hold anything.

    >>> example_row(Example(Task("And its source?", "", "Lake Victoria."), (("Hi.", "Hello!"),)))
    {'instruction': 'And its source?', 'input': '', 'output': 'Lake Victoria.',
     'history': [['Hi.', 'Hello!']]}
    """
    row: dict[str, Any] = {**alpaca_row(example.task)}
    if example.history:
        row["history"] = [list(pair) for pair in example.history]
    if example.system:
        row["system"] = example.system
    return row


def read_alpaca(fields: Fields) -> Example:
    """A missing or null `input`, `history` or `system` is an empty one.

    >>> read_alpaca({"instruction": "Name a river.", "input": None, "output": "The Nile."}).task
    Task(instruction='Name a river.', input='', output='The Nile.')
    """
    task = Task(
        text(fields, "instruction"), text(fields, "input", optional=True), text(fields, "output")
    )
    history = []
    for number, pair in enumerate(items(fields, "history", optional=True), start=1):
        match pair:
            case [str(asked), str(answered)]:
                history.append((asked, answered))
            case _:
                raise ValueError(f"exchange {number} of 'history' is not a pair of texts")
    return Example(task, tuple(history), text(fields, "system", optional=True))


def knows_alpaca(fields: Fields) -> bool:
    """Rows without `input` are met, too."""
    return "instruction" in fields and "output" in fields


ALPACA = Format("alpaca", lambda _id, example: example_row(example), read_alpaca, knows_alpaca)

BELLE_1M = Format(
    "belle-1m",
    lambda _id, example: alpaca_row(only_task(example, "belle-1m")),
    read_alpaca,
    knows_alpaca,
)
