"""BELLE 0.8M: a conversation in one text (LianjiaTech/BELLE, BelleGroup/multiturn_chat_0.8M).

`instruction` holds all turns but the last answer, each after its label; `input` is empty.
"""

from __future__ import annotations

import re

from selfinstruct.formats.format import Fields, Format, text, without_system
from selfinstruct.formats.turns import example_of, turns_of
from selfinstruct.records import Example

_LABELS = {"user": "Human:", "assistant": "Assistant:"}
_ROLES = {label: role for role, label in _LABELS.items()}
_LABEL = re.compile(r"(?:\A|\n)(Human:|Assistant:)")


def belle_multiturn_row(_id: str, example: Example) -> dict[str, str]:
    """Raises ValueError for a turn with a line that would be read as the next turn.

    >>> from selfinstruct.records import Task
    >>> task = Task("它的源头呢？", "", "青藏高原。")
    >>> belle_multiturn_row("zh-000003-01", Example(task, (("说出一条河。", "长江。"),)))
    {'instruction': 'Human:说出一条河。\\nAssistant:长江。\\nHuman:它的源头呢？\\nAssistant:',
     'input': '', 'output': '青藏高原。'}
    """
    *asked, (_, answer) = turns_of(without_system(example, "belle-multiturn"))
    for _role, said in asked:
        if _LABEL.search(said):
            raise ValueError("belle-multiturn has no place for a line that begins with its labels")
    lines = [f"{_LABELS[role]}{said}" for role, said in asked]
    return {"instruction": "\n".join([*lines, "Assistant:"]), "input": "", "output": answer}


def read_belle_multiturn(fields: Fields) -> Example:
    """The labels begin a line.

    >>> read_belle_multiturn({"instruction": "Human:Hi.\\nAssistant:", "output": "Hello!"}).task
    Task(instruction='Hi.', input='', output='Hello!')
    """
    before, *parts = _LABEL.split(text(fields, "instruction"))
    labels, texts = parts[::2], parts[1::2]
    if before.strip() or not parts:
        raise ValueError("'instruction' does not begin with 'Human:'")
    if labels[-1] != "Assistant:" or texts[-1].strip():
        raise ValueError("'instruction' does not end with 'Assistant:'")
    if text(fields, "input", optional=True):
        raise ValueError("'input' is not empty beside an 'instruction' of several turns")
    texts[-1] = text(fields, "output")
    roles = [_ROLES[label] for label in labels]
    return example_of(list(zip(roles, texts, strict=True)))


def _knows(fields: Fields) -> bool:
    asked = fields.get("instruction")
    if not isinstance(asked, str) or "output" not in fields:
        return False
    return asked.lstrip().startswith("Human:") and asked.rstrip().endswith("\nAssistant:")


BELLE_MULTITURN = Format("belle-multiturn", belle_multiturn_row, read_belle_multiturn, _knows)
