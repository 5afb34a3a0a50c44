"""Parquet: a file → rows as JSON has them, a batch in memory at a time.

Lists stay lists, structs become objects; dates, times and decimals become text (ISO 8601, all
digits), bytes become text (Base64 when they are not UTF-8), NaN and infinities null.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfinstruct.errors import UsageError
from selfinstruct.reading.row import Row, no_row
from selfinstruct.reading.values import finished

if TYPE_CHECKING:
    import polars as pl

# Rows of a batch.
BATCH = 4096


def columns(path: Path, name: str) -> list[str]:
    """The columns of a file. Raises UsageError when it is not Parquet that can be read."""
    import polars as pl

    try:
        return list(_scan(path).collect_schema())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise UsageError(f"{name}: not a Parquet file that can be read: {_first(error)}") from None


def rows(path: Path, name: str, numbers: Iterator[int]) -> Iterator[Row]:
    """Every row, in order. What cannot be read of a damaged file is one malformed row."""
    import polars as pl

    done = 0
    try:
        for batch in _scan(path).collect_batches(chunk_size=BATCH, maintain_order=True, lazy=True):
            for fields in _fields(batch):
                done += 1
                yield Row(next(numbers), f"{name}: row {done}", *finished(fields))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        problem = f"the Parquet data cannot be read from here on: {_first(error)}"
        yield no_row(next(numbers), f"{name}: row {done + 1}", problem)


def _scan(path: Path) -> pl.LazyFrame:
    import polars as pl

    # A path may hold `*` and `=`, which mean nothing here.
    return pl.scan_parquet(path, glob=False, hive_partitioning=False, low_memory=True)


def _fields(batch: pl.DataFrame) -> Iterator[dict[str, Any]]:
    strange = [name for name, kind in batch.schema.items() if not _is_plain(kind)]
    for fields in batch.iter_rows(named=True):
        for name in strange:
            fields[name] = plain(fields[name])
        yield fields


def _is_plain(kind: pl.DataType) -> bool:
    """Whether polars gives values of this type as JSON has them."""
    import polars as pl

    return kind in (pl.String, pl.Boolean, pl.Null, pl.Categorical) or kind.is_integer()


def plain(value: Any) -> Any:
    """A value of polars as JSON has it.

    >>> plain([{"day": datetime.date(2026, 1, 2), "price": Decimal("1.50"), "key": b"\\xff"}])
    [{'day': '2026-01-02', 'price': '1.50', 'key': '/w=='}]
    """
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return next((text(value) for kind, text in _TEXTS if isinstance(value, kind)), str(value))


def _bytes_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii")


_TEXTS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (bytes, _bytes_text),
    (datetime.date | datetime.time, lambda value: value.isoformat()),
    (Decimal, lambda value: format(value, "f")),
)


def _first(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
