"""Rows out of the files that people have: JSON Lines, JSON arrays, CSV, TSV and Parquet, plain or
packed with gzip or zstd.

    with open_sources(["a.jsonl.gz", "b.parquet", "-"], spool) as sources:
        for row in read_rows(sources): ...

Enters: paths. Leaves: Rows in order, a record that cannot be read being one of them. Knows nothing
of what the fields mean.
"""

from __future__ import annotations

from selfinstruct.reading.row import Row
from selfinstruct.reading.rows import read_rows
from selfinstruct.reading.sources import Source, identity, open_sources

__all__ = ["Row", "Source", "identity", "open_sources", "read_rows"]
