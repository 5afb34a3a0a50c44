"""`--known`: the instructions of rows that are there already, from runs, imports and files.

Enters: paths. Leaves: the bytes of known.jsonl, which a run keeps so that it needs nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from selfinstruct.errors import UsageError
from selfinstruct.exporting.rows import Rows, open_records
from selfinstruct.exports import line
from selfinstruct.formats import Fields, alpaca, recognise
from selfinstruct.reading import open_sources, read_rows
from selfinstruct.records import Example


def read_known(paths: Sequence[str]) -> bytes:
    """A line for each question that is known: its id, its language ("" for files, which do not
    state it) and the question. Raises UsageError (FILE:LINE, no rows)."""
    found: list[bytes] = []
    for path in paths:
        before = len(found)
        read = _of_directory if Path(path).is_dir() else _of_file
        found += map(line, read(path))
        if len(found) == before:
            raise UsageError(f"--known {path}: no rows")
    return b"".join(found)


def _of_directory(path: str) -> Iterator[dict[str, Any]]:
    directory = Path(path)
    with open_records(directory) as file:
        rows = Rows(directory, file)
        for lang, places in rows.places.items():
            for index in range(len(places)):
                row = rows.at(lang, index)
                yield from _questions(f"{directory.name}/{row.id}", lang, row.example)


def _of_file(path: str) -> Iterator[dict[str, Any]]:
    with open_sources([path]) as sources:
        for row in read_rows(sources):
            try:
                if row.fields is None:
                    raise ValueError(row.problem)
                example = _example(row.fields)
            except ValueError as problem:
                raise UsageError(
                    f"{row.place}: {problem}", hint="`selfinstruct import` sets such rows aside"
                ) from None
            yield from _questions(f"{Path(path).name}:{row.number + 1}", "", example)


def _example(fields: Fields) -> Example:
    """Of any layout; also a row that has an instruction and no answer."""
    if layout := recognise(fields):
        return layout.read(fields)
    return alpaca.read_alpaca({"output": "", **fields})


def _questions(id: str, lang: str, example: Example) -> Iterator[dict[str, Any]]:
    """All that the user says."""
    for asked, _answered in example.history:
        yield {"id": id, "lang": lang, "instruction": asked}
    yield {"id": id, "lang": lang, "instruction": example.task.instruction}
