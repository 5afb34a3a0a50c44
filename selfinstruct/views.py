"""Readable views of a run directory: rows as panels, status as lines. Reads, never writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from selfinstruct.display import span, visible
from selfinstruct.errors import UsageError
from selfinstruct.exports import RECORDS, REJECTED
from selfinstruct.prices import dollars, picodollars

_LONGEST_FIELD = 1500


def row_panels(directory: Path, *, rejected: bool, count: int) -> Iterator[Panel]:
    """`count` rows, evenly spread over the file. Raises UsageError when there is none."""
    path = directory / (REJECTED if rejected else RECORDS)
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            hint="a run writes its files when it ends or is interrupted; see `selfinstruct status`",
        ) from None
    step = max(1, len(lines) / count)
    for index in range(min(count, len(lines))):
        try:
            row = json.loads(lines[int(index * step)])
        except ValueError:
            line = int(index * step) + 1
            raise UsageError(f"{path}:{line}: not JSON; `selfinstruct verify` tells more") from None
        yield _panel(row)


def _panel(row: Mapping[str, Any]) -> Panel:
    parts = [Text(_cut(text), style="dim") for text in _earlier(row)]
    parts.append(Text(_cut(row["instruction"]), style="bold"))
    if row["input"]:
        parts.append(Text(_cut(row["input"]), style="cyan"))
    parts.append(Text(_cut(row["output"])))
    if row.get("reason"):
        # Inside: a title is cut at the width of the terminal.
        parts.insert(0, Text(f"rejected: {row['reason']} ({row['evidence'][:80]})", style="red"))
    nearest = row["nearest"]
    subtitle = f"nearest {nearest['id']} ROUGE-L {nearest['rouge_l']:.2f}" if nearest else None
    style = "red" if row.get("reason") else "green"
    return Panel(
        Group(*parts),
        title=Text(row["id"]),
        subtitle=Text(subtitle) if subtitle else None,
        title_align="left",
        subtitle_align="right",
        border_style=style,
    )


def _earlier(row: Mapping[str, Any]) -> Iterator[str]:
    """What was said before: the system message and earlier turns of imported rows."""
    if row.get("system"):
        yield row["system"]
    for asked, answered in row.get("history", ()):
        yield asked
        yield answered


def _cut(text: str) -> str:
    clean = visible(text)
    return clean if len(clean) <= _LONGEST_FIELD else f"{clean[:_LONGEST_FIELD]}…"


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A status dict for people."""
    state = found["state"]
    if found["writer_pid"]:
        state += f" (process {found['writer_pid']})"
    yield f"{found['run']}: {state}"
    endpoint = _several(found["base_url"]) or "embedded model"
    langs = " + ".join(found["lang"])
    yield f"recipe {found['recipe']}, language {langs}, {_several(found['model'])} at {endpoint}"
    wanted = "all" if found["n"] is None else f"{found['n']:,}"
    if not found["languages"]:
        yield f"rows: none published yet of {wanted}"
    for lang, counts in found["languages"].items():
        name = f"{lang} " if len(found["languages"]) > 1 else ""
        judged = f"{counts['candidates']:,} candidates"
        yield f"rows: {name}{counts['kept']:,} of {wanted} from {judged}"
    rejected = sorted(found["rejected"].items(), key=lambda item: -item[1])
    if rejected:
        yield "rejected: " + ", ".join(f"{reason} {count:,}" for reason, count in rejected)
    requests, tokens = found["requests"], found["tokens"]
    yield (
        f"requests: {requests['sent']:,} sent, {requests['paid']:,} paid, "
        f"{requests['failed']:,} failed, {requests['settled']:,} settled"
    )
    yield (
        f"tokens: {tokens['prompt']:,} prompt ({tokens['cached']:,} cached), "
        f"{tokens['completion']:,} completion · time {span(found['seconds'])}"
    )
    yield from money_lines(found["cost"], tokens)
    for batch in found["batches"]:
        done = batch["completed"] + batch["failed"]
        yield (
            f"open batch {batch['id'] or batch['b']}: {batch['status']} when last seen, "
            f"{done:,} of {batch['requests']:,} requests done"
        )
    if len(found["endpoints"]) > 1:
        for taken in found["endpoints"]:
            yield (
                f"  {taken['url'] or 'embedded model'} {taken['model']}: {taken['sent']:,} sent, "
                f"{taken['paid']:,} paid, {taken['failed']:,} failed, "
                f"{taken['tokens']['completion']:,} completion tokens"
            )


def cancelled_lines(directory: Path, batches: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What `cancel` did, for people."""
    if not batches:
        yield f"{directory}: no open batches"
        return
    for batch in batches:
        name = batch["id"] or f"batch {batch['b']}"
        done = f", {batch['completed']:,} of {batch['total']:,} done" if batch["total"] else ""
        yield f"{name} at {batch['url']}: {batch['status']}{done}"
    yield f"`selfinstruct resume {directory}` fetches what is done and asks for the rest again"


def money_lines(cost: Mapping[str, Any] | None, tokens: Mapping[str, Any]) -> Iterator[str]:
    """What it cost, for people."""
    if tokens["doubtful"] and cost is None:
        yield f"doubtful: {tokens['doubtful']:,} tokens at the most for attempts without an answer"
    if cost is None:
        yield "cost: unknown (--price-in and --price-out make it known)"
        return
    line = f"cost: {_dollars(cost['usd'])}"
    if cost["usd_per_kept_row"] is not None:
        line += f", {_dollars(cost['usd_per_kept_row'])} a kept row"
    if cost["doubtful_usd"]:
        doubt = _dollars(cost["doubtful_usd"])
        line += f"; {doubt} more at the most for attempts without an answer"
    yield line


def _dollars(usd: float) -> str:
    return dollars(picodollars(usd))


def _several(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def stats_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A stats dict for people."""
    yield f"{found['run']}: {found['rows']:,} rows"
    if not found["rows"]:
        return
    yield f"with input: {found['with_input']:.0%}"
    yield "characters             5 %   median     95 %"
    for name, length in found["lengths"].items():
        yield f"  {name:<12} {length['p5']:>11,.0f} {length['p50']:>8,.0f} {length['p95']:>8,.0f}"
    if near := found["rouge_l"]:
        yield f"ROUGE-L to nearest {near['p5']:>7.2f} {near['p50']:>8.2f} {near['p95']:>8.2f}"
    openings = ", ".join(f"{word} {count:,}" for word, count in found["openings"].items())
    yield f"openings: {found['distinct_openings']:,} different; most common: {openings}"
