"""Alpaca: one JSON object a row, the three fields and nothing else (tatsu-lab/stanford_alpaca).

BELLE's 1M and 2M sets have the same fields (LianjiaTech/BELLE).
"""

from __future__ import annotations

from selfinstruct.formats.format import Format
from selfinstruct.records import Task


def alpaca_row(task: Task) -> dict[str, str]:
    """`input` is "" when there is none, never missing or null.

    >>> alpaca_row(Task("Name a river.", "", "The Nile."))
    {'instruction': 'Name a river.', 'input': '', 'output': 'The Nile.'}
    """
    return {"instruction": task.instruction, "input": task.input, "output": task.output}


ALPACA = Format("alpaca", lambda _id, task: alpaca_row(task))
