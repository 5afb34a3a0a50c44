"""Where rows come from: a run directory, or a file in any layout that `import` reads.

Enters: a path. Leaves: Rows with their places, split into those to train on and those held out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from selfinstruct.errors import UsageError
from selfinstruct.exporting.choice import fraction
from selfinstruct.importing.rows import understand
from selfinstruct.reading import open_sources, read_rows
from selfinstruct.train.encode import Row

_RECORDS = "records.jsonl"


def read_source(source: str, langs: Sequence[str] = ()) -> list[Row]:
    """Every row of a run directory or a file ("-": standard input), of these languages only.

    Raises UsageError as FILE:LINE for what is no row, and when there is none.
    """
    path = Path(source)
    if path.is_dir():
        if not (path / _RECORDS).is_file():
            raise UsageError(f"{source}: no rows here; a run directory has {_RECORDS}")
        source = str(path / _RECORDS)
    rows = []
    with open_sources([source]) as sources:
        for row in read_rows(sources):
            stated = row.fields.get("lang") if row.fields else ""
            lang = stated if isinstance(stated, str) else ""
            try:
                found = understand(row, None, lang, any_language=True)
            except ValueError as error:
                raise UsageError(f"{row.place}: {error}") from None
            id = found.source_id or row.place
            rows.append(Row(id, found.lang, row.place, found.example))
    wanted = [row for row in rows if not langs or row.lang in langs]
    if not wanted:
        there = ", ".join(sorted({row.lang for row in rows})) or "none"
        raise UsageError(f"{source}: no rows in {', '.join(langs) or 'it'} (languages: {there})")
    return wanted


def split(rows: Iterable[Row], validation: float) -> tuple[list[Row], list[Row]]:
    """(rows to train on, rows held out). The same rule as `export --validation`: by the hash of the
    question, so that a row stays on its side whatever else is in the file."""
    sides: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        sides[fraction(row.example) < validation].append(row)
    return sides


def digest(rows: Iterable[Row]) -> str:
    """128 bits in hex of what the rows say, in their order: another file is another training."""
    whole = hashlib.sha256()
    for row in rows:
        task = row.example.task
        said = [row.example.system, row.example.history, task.instruction, task.input, task.output]
        whole.update(json.dumps(said).encode("ascii") + b"\n")
    return whole.hexdigest()[:32]
