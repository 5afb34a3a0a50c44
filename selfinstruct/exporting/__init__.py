"""Exports: a run's kept rows in the layout that a trainer reads.

A new one is a layout in `formats/`, or one file here where a trainer wants more than rows, and one
line in EXPORTERS.
"""

from __future__ import annotations

from selfinstruct.errors import UsageError
from selfinstruct.exporting.axolotl import AXOLOTL
from selfinstruct.exporting.exporter import Exporter, always, plain
from selfinstruct.exporting.llama_factory import LLAMA_FACTORY
from selfinstruct.exporting.openai_finetune import OPENAI_FINETUNE
from selfinstruct.exporting.sinks import JsonArray
from selfinstruct.exporting.table import HF, PARQUET
from selfinstruct.formats import FORMATS, get_format

ALPACA_JSON = Exporter("alpaca-json", always(get_format("alpaca")), suffix=".json", sink=JsonArray)

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        *map(plain, FORMATS.values()),
        ALPACA_JSON,
        OPENAI_FINETUNE,
        LLAMA_FACTORY,
        AXOLOTL,
        PARQUET,
        HF,
    )
}


def get_exporter(name: str) -> Exporter:
    """The exporter called `name`. Raises UsageError naming the known ones."""
    try:
        return EXPORTERS[name]
    except KeyError:
        known = ", ".join(sorted(EXPORTERS))
        raise UsageError(f"unknown format {name!r}; known: {known}") from None


__all__ = ["EXPORTERS", "Exporter", "get_exporter"]
