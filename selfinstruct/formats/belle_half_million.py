"""BELLE 0.5M: question and answer in two fields (LianjiaTech/BELLE, BelleGroup/train_0.5M_CN).

BELLE made it from rows of three fields: instruction and input became `input`, output `target`.
"""

from __future__ import annotations

from selfinstruct.formats.format import Fields, Format, only_task, question, text
from selfinstruct.records import Example, Task


def belle_half_million_row(_id: str, example: Example) -> dict[str, str]:
    """No blank line at the end of `input` when the task has no input.

    >>> task = Task("翻译成英文。", "早上好！", "Good morning!")
    >>> belle_half_million_row("zh-000003-01", Example(task))
    {'input': '翻译成英文。\\n早上好！', 'target': 'Good morning!'}
    >>> belle_half_million_row("zh-000003-02", Example(Task("说出一条河的名字。", "", "长江。")))
    {'input': '说出一条河的名字。', 'target': '长江。'}
    """
    task = only_task(example, "belle-0.5m")
    return {"input": question(task), "target": task.output}


def read_belle_half_million(fields: Fields) -> Example:
    """Where the instruction ended and the input began is not known any more.

    >>> read_belle_half_million({"input": "翻译成英文。\\n早上好！", "target": "Hello!"}).task
    Task(instruction='翻译成英文。\\n早上好！', input='', output='Hello!')
    """
    return Example(Task(text(fields, "input"), "", text(fields, "target")))


BELLE_HALF_MILLION = Format(
    "belle-0.5m",
    belle_half_million_row,
    read_belle_half_million,
    # An instruction beside them would be lost.
    lambda fields: "input" in fields and "target" in fields and "instruction" not in fields,
)
