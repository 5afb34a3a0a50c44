"""Axolotl: a folder with the rows and `data.yaml`, the part of its config that reads them.

Rows of one exchange are its `alpaca` type, which brings Alpaca's own prompt. As soon as one has
earlier turns or a system message all are messages for `chat_template`, the tokenizer's own.
"""

from __future__ import annotations

import json
from typing import Any

from selfinstruct.exporting.choice import TRAIN
from selfinstruct.exporting.exporter import MARK, Exporter, Written
from selfinstruct.formats import get_format

_CHAT = {
    "type": "chat_template",
    "field_messages": "messages",
    "message_property_mappings": {"role": "role", "content": "content"},
}


def axolotl_config(written: Written) -> dict[str, Any]:
    """What to put into a config: paths are seen from this folder.

    >>> from selfinstruct.exporting.choice import Choice
    >>> parts = {("zh", "train"): ("selfinstruct_zh.jsonl", 2)}
    >>> axolotl_config(Written(None, Choice(), parts, conversations=False))
    {'datasets': [{'path': 'selfinstruct_zh.jsonl', 'ds_type': 'json', 'type': 'alpaca'}]}
    """
    layout = _CHAT if written.conversations else {"type": "alpaca"}
    config: dict[str, Any] = {}
    for (_lang, split), (name, _rows) in written.parts.items():
        entry: dict[str, Any] = {"path": name, "ds_type": "json", **layout}
        if split == TRAIN:
            config.setdefault("datasets", []).append(entry)
        else:
            # A file that is not split by Axolotl itself is called its "train" split.
            config.setdefault("test_datasets", []).append({**entry, "split": "train"})
    return config


def _describe(written: Written) -> bytes:
    """JSON with a comment before it, which is YAML."""
    text = json.dumps(axolotl_config(written), indent=2)
    head = f"# {MARK}; paths are seen from this folder: run axolotl in it, or write them in full.\n"
    return f"{head}{text}\n".encode()


AXOLOTL = Exporter(
    "axolotl",
    lambda conversations: get_format("messages" if conversations else "alpaca"),
    file="selfinstruct_{lang}{ending}.jsonl",
    pattern="selfinstruct_*.jsonl",
    companion="data.yaml",
    describe=_describe,
)
