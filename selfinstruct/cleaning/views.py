"""What a clean shows: how far it is, a table of what it did, and one row explained."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from selfinstruct.cleaning.parts import REJECTED
from selfinstruct.cleaning.tally import Tally
from selfinstruct.display import span, visible
from selfinstruct.reading import Meter

# Seconds between two lines when stderr is not a terminal.
_LOG_EVERY = 10.0
_LONGEST = 1500


class Screen:
    """A watcher on a console: a bar on a terminal, lines elsewhere, nothing when quiet."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._begun = self._logged = time.monotonic()
        self._before = 0

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begun(self, meter: Meter, tally: Tally) -> None:
        """meter, tally: looked at from now on. The tally may hold what an earlier process did."""
        self._meter, self._tally = meter, tally
        self._begun = self._logged = time.monotonic()
        self._before = tally.rows
        if self._quiet:
            return
        if tally.rows:
            self._console.print(f"going on after {tally.rows:,} rows")
        if self._console.is_terminal:
            text = TextColumn("{task.fields[text]}")
            self._bar = Progress(BarColumn(), text, TimeRemainingColumn(), console=self._console)
            self._task = self._bar.add_task("", total=meter.total, text="")
            self._bar.start()

    def went_on(self) -> None:
        """Show the numbers of this moment."""
        meter, tally = self._meter, self._tally
        seconds = time.monotonic() - self._begun
        rate = (tally.rows - self._before) / max(seconds, 1e-9)
        text = f"{tally.rows:,} rows, {tally.kept:,} kept, {rate:,.0f} rows/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=meter.read, text=text)
        elif not self._quiet and time.monotonic() - self._logged > _LOG_EVERY:
            self._logged = time.monotonic()
            left = seconds * (meter.total / meter.read - 1) if meter.read else None
            self._console.print(f"{text}, ETA {span(left)}")


def summary_table(summary: Mapping[str, Any], out: Path) -> RenderableType:
    """Kept and rejected by reason, languages, and the first malformed rows."""
    rows = summary["rows"]
    table = Table("", "rows", "share", box=None, pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"

    def add(name: str, count: int, style: str = "") -> None:
        share = f"{count / rows:.2%}" if rows else ""
        table.add_row(Text(name, style), f"{count:,}", share)

    add("kept", summary["kept"], "green")
    for reason, count in sorted(summary["rejected"].items(), key=lambda item: -item[1]):
        add(reason, count, "red")
    add("rows", rows, "bold")
    lines: list[RenderableType] = [table]
    languages = ", ".join(
        f"{lang or 'none'} {count:,}"
        for lang, count in sorted(summary["languages"].items(), key=lambda item: -item[1])
    )
    lines.append(Text(f"languages: {languages}"))
    if summary["flagged"]:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in summary["flagged"].items())
        lines.append(Text(f"rows with personal data, of those kept: {kinds}"))
    lines += [Text(visible(f"malformed: {place}")) for place in summary["malformed"]]
    more = summary["rejected"].get("malformed", 0) - len(summary["malformed"])
    if more:
        lines.append(Text(f"… and {more:,} more in {out / REJECTED}"))
    lines.append(Text(f"in {out}; `selfinstruct explain {out} ROW` tells about one row"))
    return Group(*lines)


def explained(found: Mapping[str, Any]) -> RenderableType:
    """A row with everything for and against it, as `explain` found it."""
    where = f" ({found['place']})" if found["place"] else ""
    title = f"row {found['row']}{where} {'kept' if found['kept'] else 'rejected'}"
    if not found["kept"]:
        title += f": {found['reason']}"
    style = "green" if found["kept"] else "red"
    lines: list[RenderableType] = [_panel(found["fields"], title, style)]
    if found["evidence"]:
        lines.append(Text(visible(f"{found['reason']}: {found['evidence']}"), style))
    if found["layout"]:
        lines.append(Text(f"layout {found['layout']}, language {found['lang']}"))
    lines += _filters(found["filters"], found["off"])
    if found["profile_changed"]:
        lines.append(Text("by a profile that has changed since the clean", "yellow"))
    if nearest := found["nearest"]:
        name = f"row {nearest['row']}" if "row" in nearest else nearest["against"]
        title = f"nearest: {name}, score {nearest['score']:.4f}"
        if found["nearest_fields"]:
            lines.append(_panel(found["nearest_fields"], title, "cyan"))
        else:
            lines.append(Text(visible(title)))
    return Group(*lines)


def _filters(filters: list[tuple[str, str | None]], off: list[str]) -> Iterator[RenderableType]:
    """off: filters that were not asked."""
    passed = [name for name, evidence in filters if evidence is None]
    for name, evidence in filters:
        if evidence is not None and name not in off:
            yield Text(visible(f"objects  {name}: {evidence}"), "red")
        elif evidence is not None:
            yield Text(visible(f"is off   {name}: {evidence}"), "dim")
    if passed:
        yield Text(f"passes   {', '.join(passed)}", "green")


def _panel(fields: object, title: str, style: str) -> Panel:
    """Fields as they are, long ones cut."""
    if isinstance(fields, Mapping):
        parts = [
            Text.assemble((visible(f"{name}: "), "bold"), _cut(value))
            for name, value in fields.items()
        ]
        body: RenderableType = Group(*parts)
    else:
        body = Text(_cut(fields))
    return Panel(body, title=Text(visible(title)), title_align="left", border_style=style)


def _cut(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = visible(text[:_LONGEST])
    return shown if len(text) <= _LONGEST else f"{shown}… ({len(text):,} characters)"
