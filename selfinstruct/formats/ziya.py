"""Ziya: questions and answers in two lists of the same length (IDEA-CCNL/Fengshenbang-LM).

`task` names where a row came from; nothing is trained on it.
"""

from __future__ import annotations

from typing import Any

from selfinstruct.formats.format import Fields, Format, items, kind, without_system
from selfinstruct.formats.turns import example_of, turns_of
from selfinstruct.records import Example


def ziya_row(_id: str, example: Example) -> dict[str, Any]:
    """
    >>> from selfinstruct.records import Task
    >>> task = Task("它的源头呢？", "", "青藏高原。")
    >>> ziya_row("zh-000003-01", Example(task, (("说出一条河。", "长江。"),)))
    {'task': 'selfinstruct', 'prompt': ['说出一条河。', '它的源头呢？'],
     'output': ['长江。', '青藏高原。']}
    """
    texts = [text for _role, text in turns_of(without_system(example, "ziya"))]
    return {"task": "selfinstruct", "prompt": texts[::2], "output": texts[1::2]}


def read_ziya(fields: Fields) -> Example:
    """
    >>> read_ziya({"task": "qa", "prompt": ["Hi.", "Well?"], "output": ["Hello!"]})
    Traceback (most recent call last):
    ValueError: 2 turns in 'prompt' but 1 in 'output'
    """
    asked, answered = items(fields, "prompt"), items(fields, "output")
    if len(asked) != len(answered):
        raise ValueError(f"{len(asked)} turns in 'prompt' but {len(answered)} in 'output'")
    turns = []
    for pair in zip(asked, answered, strict=True):
        for role, text in zip(("user", "assistant"), pair, strict=True):
            if not isinstance(text, str):
                raise ValueError(f"a turn of the {role} is not text but {kind(text)}")
            turns.append((role, text))
    return example_of(turns)


ZIYA = Format(
    "ziya",
    ziya_row,
    read_ziya,
    lambda fields: isinstance(fields.get("prompt"), list) and "output" in fields,
)
