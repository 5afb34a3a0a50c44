"""`stats`: a picture of a dataset in numbers, from a run's records.

Enters: a run directory. Leaves: a plain dict, ready for JSON. Lengths are characters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfinstruct.errors import UsageError
from selfinstruct.exports import RECORDS

_QUANTILES = (0.05, 0.5, 0.95)
_MOST_COMMON = 12


def stats(directory: Path) -> dict[str, Any]:
    """Length quantiles, share of rows with input, openings and nearness of the kept rows.

    openings: the most common first words, in scripts without spaces the first two characters.
    rouge_l: quantiles of the ROUGE-L to each row's nearest earlier row: low means varied; None
    where no row was compared, as in imported directories.
    Raises UsageError when no records are published or the file is damaged.
    """
    import polars as pl

    path = directory / RECORDS
    schema: dict[str, pl.DataType] = {
        "instruction": pl.String(),
        "input": pl.String(),
        "output": pl.String(),
        "nearest": pl.Struct({"rouge_l": pl.Float64}),
    }
    try:
        rows = pl.scan_ndjson(path, schema=schema).collect()
    except FileNotFoundError:
        raise UsageError(
            f"cannot read {path}: no rows are published", hint="see `selfinstruct status`"
        ) from None
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{path}: {str(error).splitlines()[0]}") from None
    if rows.is_empty():
        return {"run": str(directory), "rows": 0}
    opening = pl.col("instruction").str.to_lowercase().str.extract(r"^([a-z0-9']+|..?)")
    near = rows["nearest"].struct.field("rouge_l").drop_nulls()
    common = rows.select(opening.alias("opening"))["opening"].value_counts(sort=True)
    return {
        "run": str(directory),
        "rows": rows.height,
        "with_input": float((rows["input"] != "").mean() or 0.0),  # type: ignore[arg-type]
        "lengths": {
            name: _quantiles(rows[name].str.len_chars())
            for name in ("instruction", "input", "output")
        },
        "rouge_l": _quantiles(near) if len(near) else None,
        "openings": {
            row["opening"]: row["count"] for row in common.head(_MOST_COMMON).iter_rows(named=True)
        },
        "distinct_openings": common.height,
    }


def _quantiles(values: Any) -> dict[str, float]:
    return {f"p{round(100 * q)}": round(float(values.quantile(q) or 0.0), 3) for q in _QUANTILES}
