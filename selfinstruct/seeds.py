"""Seed tasks: bytes of a seed file → tuple of Seed.

Reads the published layouts, as JSON Lines (whatever the extension) or one JSON array:
Self-Instruct / Alpaca `{"id","name","instruction","instances":[{"input","output"}],
"is_classification"}`, BELLE (the same fields, Chinese) and flat Alpaca rows
`{"instruction","input","output"}`. Knows no path but the one that it names in errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from selfinstruct.errors import UsageError
from selfinstruct.records import Seed, Task


def load_seeds(content: bytes, name: str) -> tuple[Seed, ...]:
    """All seeds of a file, in order; `name` is what errors call it.

    Raises UsageError with FILE:LINE (JSON Lines) or FILE: item N (array) at the first bad task.
    """
    seeds: dict[str, Seed] = {}
    for place, item in _items(content, name):
        seed = _seed(item, place, fallback_id=f"seed_{len(seeds)}")
        if seed.id in seeds:
            raise UsageError(f"{place}: the id {seed.id!r} is taken by an earlier task")
        seeds[seed.id] = seed
    if not seeds:
        raise UsageError(f"{name}: no seed task in it")
    return tuple(seeds.values())


def _items(content: bytes, name: str) -> Iterator[tuple[str, Any]]:
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        place = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{name}:{place}: not UTF-8 text") from None
    if text.lstrip().startswith("["):
        try:
            array = json.loads(text)
        except (ValueError, RecursionError) as error:
            place = getattr(error, "lineno", 1)
            raise UsageError(f"{name}:{place}: not a JSON array: {error}") from None
        yield from ((f"{name}: item {number}", item) for number, item in enumerate(array))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"{name}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", str(error))
                raise UsageError(f"{name}:{number}: not JSON: {reason}") from None


def _seed(item: Any, place: str, fallback_id: str) -> Seed:
    if not isinstance(item, dict):
        raise UsageError(f"{place}: a seed task is a JSON object, not {type(item).__name__}")
    source = item
    instances = item.get("instances")
    if instances is not None:
        if not (isinstance(instances, list) and instances and isinstance(instances[0], dict)):
            raise UsageError(f"{place}: 'instances' must be a list with one {{input, output}}")
        source = {"instruction": item.get("instruction"), **instances[0]}
    fields = {}
    for field in ("instruction", "input", "output"):
        value = source.get(field)
        if value is None and field == "input":
            value = ""
        if not isinstance(value, str) or (field != "input" and not value.strip()):
            raise UsageError(f"{place}: {field!r} must be a non-empty string")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise UsageError(f"{place}: {field!r} has a lone surrogate, which UTF-8 cannot hold")
        fields[field] = value.strip()
    is_classification = item.get("is_classification", False)
    if not isinstance(is_classification, bool):
        raise UsageError(f"{place}: 'is_classification' must be true or false")
    return Seed(
        id=fallback_id if item.get("id") is None else str(item["id"]),
        task=Task(**fields),
        is_classification=is_classification,
        name=str(item.get("name") or ""),
    )
