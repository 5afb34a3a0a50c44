"""Personal data in the fields of a row: where it is, and the row without it. Pure.

Enters: the fields of a row. Leaves: masked fields, findings. Knows no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def personal(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The fields with a marker for each finding, and the findings: field, kind, start and end in
    the text as it was. Fields that were masked once stay as they are."""
    from selfinstruct.pii import find, mask

    found: list[dict[str, Any]] = []

    def look(name: str, text: str) -> str:
        findings = find(text)
        # What was found is left out of the list: nobody should have to see it again.
        found.extend(
            {"field": name, "kind": one.kind, "start": one.start, "end": one.end}
            for one in findings
        )
        return mask(text)[0] if findings else text

    return {key: _each_text(one, key, look) for key, one in fields.items()}, found


def _each_text(value: Any, name: str, change: Callable[[str, str], str]) -> Any:
    """The value with every text in it changed, at any depth; names say where it stands."""
    if isinstance(value, str):
        return change(name, value)
    if isinstance(value, dict):
        return {key: _each_text(one, f"{name}.{key}", change) for key, one in value.items()}
    if isinstance(value, list):
        return [_each_text(one, f"{name}[{i}]", change) for i, one in enumerate(value)]
    return value
