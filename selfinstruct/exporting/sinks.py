"""How rows lie in a file: JSON Lines, one JSON array, Parquet.

Enters: an open file, then rows. Leaves: their bytes in it. Knows no path and no run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

from selfinstruct.exports import line


class Sink(Protocol):
    """Made with an open file; given rows; told the end."""

    def __init__(self, file: BinaryIO) -> None: ...
    def write(self, row: Mapping[str, Any]) -> None: ...
    def finish(self) -> None: ...


class JsonLines:
    """A row a line.

    >>> import io
    >>> file = io.BytesIO()
    >>> JsonLines(file).write({"output": "长江。"})
    >>> file.getvalue().decode()
    '{"output": "长江。"}\\n'
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(line(row))

    def finish(self) -> None:
        pass


class JsonArray:
    """One array, a row a line.

    >>> import io
    >>> file = io.BytesIO()
    >>> sink = JsonArray(file)
    >>> sink.write({"output": "2"}), sink.write({"output": "3"}), sink.finish()
    (None, None, None)
    >>> file.getvalue()
    b'[\\n{"output": "2"},\\n{"output": "3"}\\n]\\n'
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._before = b"[\n"

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(self._before + line(row).removesuffix(b"\n"))
        self._before = b",\n"

    def finish(self) -> None:
        self._file.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")


class Parquet:
    """A table of texts; `history` is a list of lists of text. Holds its rows until the end.

    >>> import io
    >>> import polars
    >>> file = io.BytesIO()
    >>> sink = Parquet(file)
    >>> sink.write({"output": "长江。"})
    >>> sink.finish()
    >>> polars.read_parquet(file.getvalue()).to_dicts()
    [{'output': '长江。'}]
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rows: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)

    def finish(self) -> None:
        import polars as pl

        names = dict.fromkeys(name for row in self._rows for name in row)
        schema = {
            name: pl.List(pl.List(pl.String())) if name == "history" else pl.String()
            for name in names
        }
        pl.DataFrame(self._rows, schema=schema).write_parquet(self._file)
