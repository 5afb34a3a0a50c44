"""Sources → rows, one after another, numbered on over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count, islice

from selfinstruct.reading import arrays, lines, parquet, tables
from selfinstruct.reading.layers import Stream
from selfinstruct.reading.row import Row
from selfinstruct.reading.sources import Source


class Meter:
    """How far reading is, in bytes of the files as they lie there. total: of all sources."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sizes = {source: source.data.stat().st_size for source in sources}
        self.total = sum(self._sizes.values())
        self._ended = 0
        self._stream: Stream | None = None

    @property
    def read(self) -> int:
        """Bytes that are read; those of a Parquet file once it is read whole."""
        return self._ended + (self._stream.position if self._stream else 0)

    def follow(self, source: Source, stream: Stream, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows of a source, which are read from this stream."""
        self._stream = stream
        yield from rows
        self._stream = None
        self._ended += self._sizes[source]


def read_rows(
    sources: Iterable[Source], *, skip: int = 0, meter: Meter | None = None
) -> Iterator[Row]:
    """Every row of the sources, in their order; without the first `skip`, which are still read.
    meter: told how far it is.

    Memory does not depend on the size of the files. What cannot be read is a Row with a problem.
    Raises UsageError when a file is gone or changed its kind.
    """
    numbers = count()
    every = chain.from_iterable(_rows(source, numbers, meter) for source in sources)
    return islice(every, skip, None)


def _rows(source: Source, numbers: Iterator[int], meter: Meter | None) -> Iterator[Row]:
    stream = Stream(source.data, source.layers)
    rows = _rows_of(source, stream, numbers)
    return rows if meter is None else meter.follow(source, stream, rows)


def _rows_of(source: Source, stream: Stream, numbers: Iterator[int]) -> Iterator[Row]:
    match source.kind:
        case "lines":
            return lines.rows(stream, source.name, source.newline, numbers)
        case "array":
            return arrays.rows(stream, source.name, source.newline, numbers)
        case "table":
            return tables.rows(stream, source.name, source.newline, source.delimiter, numbers)
        case "parquet":
            return parquet.rows(source.data, source.name, numbers)
