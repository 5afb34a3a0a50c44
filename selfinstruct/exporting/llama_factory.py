"""LLaMA-Factory: a folder for its `dataset_dir`, with the `dataset_info.json` that names the files.

Rows of one exchange are in its alpaca formatting; as soon as one has earlier turns or a system
message all are in its sharegpt formatting, since a column that only some rows have is read wrongly
by `datasets`. In both, instruction and input reach the model joined by a line break.
"""

from __future__ import annotations

import json
from typing import Any

from selfinstruct.exporting.choice import TRAIN
from selfinstruct.exporting.exporter import Exporter, Written
from selfinstruct.formats import get_format

NAME = "llama-factory"
FILE = "selfinstruct_{lang}{ending}.jsonl"

_ALPACA = {
    "formatting": "alpaca",
    "columns": {"prompt": "instruction", "query": "input", "response": "output"},
}
_SHAREGPT = {
    "formatting": "sharegpt",
    "columns": {"messages": "conversations"},
    "tags": {
        "role_tag": "from",
        "content_tag": "value",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "system_tag": "system",
    },
}


def dataset_info(written: Written) -> dict[str, Any]:
    """The entries by the names that `dataset:` and `eval_dataset:` of its configs take.

    >>> from selfinstruct.exporting.choice import Choice
    >>> parts = {("zh", "train"): ("selfinstruct_zh.jsonl", 2)}
    >>> dataset_info(Written(None, Choice(), parts, conversations=False))
    {'selfinstruct_zh': {'file_name': 'selfinstruct_zh.jsonl', 'formatting': 'alpaca',
     'columns': {'prompt': 'instruction', 'query': 'input', 'response': 'output'}}}
    """
    layout = _SHAREGPT if written.conversations else _ALPACA
    return {
        f"selfinstruct_{lang}{'' if split == TRAIN else '_' + split}": {"file_name": name, **layout}
        for (lang, split), (name, _rows) in written.parts.items()
    }


def _describe(written: Written) -> bytes:
    return json.dumps(dataset_info(written), indent=2).encode() + b"\n"


LLAMA_FACTORY = Exporter(
    NAME,
    lambda conversations: get_format("sharegpt" if conversations else "alpaca"),
    file=FILE,
    pattern="selfinstruct_*.jsonl",
    companion="dataset_info.json",
    describe=_describe,
    mark='"selfinstruct_',
)
