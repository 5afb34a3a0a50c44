"""Sources → rows, one after another, numbered on over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count, islice

from selfinstruct.reading import arrays, lines, parquet, tables
from selfinstruct.reading.layers import Stream
from selfinstruct.reading.row import Row
from selfinstruct.reading.sources import Source


def read_rows(sources: Iterable[Source], *, skip: int = 0) -> Iterator[Row]:
    """Every row of the sources, in their order; without the first `skip`, which are still read.

    Memory does not depend on the size of the files. What cannot be read is a Row with a problem.
    Raises UsageError when a file is gone or changed its kind.
    """
    numbers = count()
    every = chain.from_iterable(_rows(source, numbers) for source in sources)
    return islice(every, skip, None)


def _rows(source: Source, numbers: Iterator[int]) -> Iterator[Row]:
    stream = Stream(source.data, source.layers)
    match source.kind:
        case "lines":
            return lines.rows(stream, source.name, source.newline, numbers)
        case "array":
            return arrays.rows(stream, source.name, source.newline, numbers)
        case "table":
            return tables.rows(stream, source.name, source.newline, source.delimiter, numbers)
        case "parquet":
            return parquet.rows(source.data, source.name, numbers)
