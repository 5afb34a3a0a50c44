"""BELLE 0.5M: question and answer in two fields (LianjiaTech/BELLE, BelleGroup/train_0.5M_CN).

BELLE made it from rows of three fields: instruction and input became `input`, output `target`.
"""

from __future__ import annotations

from selfinstruct.formats.format import Format, question
from selfinstruct.records import Task


def belle_half_million_row(_id: str, task: Task) -> dict[str, str]:
    """No blank line at the end of `input` when the task has no input.

    >>> belle_half_million_row("zh-000003-01", Task("翻译成英文。", "早上好！", "Good morning!"))
    {'input': '翻译成英文。\\n早上好！', 'target': 'Good morning!'}
    >>> belle_half_million_row("zh-000003-02", Task("说出一条河的名字。", "", "长江。"))
    {'input': '说出一条河的名字。', 'target': '长江。'}
    """
    return {"input": question(task), "target": task.output}


BELLE_HALF_MILLION = Format("belle-0.5m", belle_half_million_row)
