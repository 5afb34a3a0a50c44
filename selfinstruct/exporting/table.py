"""Parquet, and the folder that `datasets.load_dataset(FOLDER)` and the Hugging Face Hub read."""

from __future__ import annotations

from typing import Any

from selfinstruct.exporting.card import card
from selfinstruct.exporting.exporter import Exporter, Written
from selfinstruct.exporting.sinks import Parquet
from selfinstruct.formats import Format, alpaca_row, get_format, read_alpaca
from selfinstruct.records import Example

_ALPACA = get_format("alpaca")


def table_row(id: str, example: Example) -> dict[str, Any]:
    """Raises ValueError for a text that UTF-8 cannot hold.

    >>> from selfinstruct.records import Task
    >>> table_row("en-000003-01", Example(Task("Name a river.", "", "The Nile.")))
    {'id': 'en-000003-01', 'instruction': 'Name a river.', 'input': '', 'output': 'The Nile.'}
    """
    row = {"id": id, **alpaca_row(example.task)}
    _check(row.values())
    return row


def conversation_row(id: str, example: Example) -> dict[str, Any]:
    """The same with two more columns, which every row then has.

    >>> from selfinstruct.records import Task
    >>> row = conversation_row("7", Example(Task("Why?", "", "It is long."), (("Hi.", "Hello!"),)))
    >>> row["history"], row["system"]
    ([['Hi.', 'Hello!']], '')
    """
    history = [list(pair) for pair in example.history]
    _check([example.system, *(text for pair in history for text in pair)])
    return {**table_row(id, example), "history": history, "system": example.system}


def _check(texts: Any) -> None:
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        raise ValueError("Parquet has no place for a lone surrogate") from None


def _layout(conversations: bool) -> Format:
    row = conversation_row if conversations else table_row
    return Format("parquet", row, read_alpaca, _ALPACA.knows)


def _describe(written: Written) -> bytes:
    return card(written).encode()


PARQUET = Exporter("parquet", _layout, suffix=".parquet", sink=Parquet)

# `datasets` keeps a folder in its cache by the folder's name and by what the card says: without the
# stamp it would give a run's older rows, or another run's, for these.
HF = Exporter(
    "hf",
    _layout,
    sink=Parquet,
    file="data/{lang}/{split}-{stamp}.parquet",
    pattern="data/*/*.parquet",
    companion="README.md",
    describe=_describe,
)
