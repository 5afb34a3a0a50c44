"""What a run will take before it is paid for: requests, tokens, dollars, hours, with their basis.

Enters: a Plan; after a probe, the run directory that it began. Leaves: a plain dict, ready for
JSON, and a table for people. Sends nothing itself: the probe is a real run that stops early.
`rates.py` has what a request gives and takes, and where that was measured.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from selfinstruct.display import span
from selfinstruct.errors import UsageError
from selfinstruct.history import History, settle
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.journal import read_fact
from selfinstruct.manifest import read_manifest
from selfinstruct.plan import Plan
from selfinstruct.prices import Price, dollars, picodollars
from selfinstruct.progress import Progress
from selfinstruct.rates import Range, Rates, assumed, each, measured
from selfinstruct.records import Reply
from selfinstruct.routes import find_prices

# Seconds between two looks at how many requests are in flight.
_LOOK_EVERY = 0.02


# ── without a probe ──────────────────────────────────────────────────────────────────────────


def estimate(plan: Plan) -> dict[str, Any]:
    """Without a network, from assumptions."""
    return _figures(plan, [assumed(track) for track in plan.tracks], _Pace())


# ── after a probe ────────────────────────────────────────────────────────────────────────────


@dataclass
class Stopwatch:
    """A watcher in front of another one that takes the time of a probe.

    busy: seconds with anything in flight. area: seconds that requests were in flight, added up.
    """

    watcher: Any
    busy: float = 0.0
    area: float = 0.0
    _look: Callable[[], Progress] = Progress
    _before: int = 0
    _task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def paid(self) -> int:
        """Answers that came while it ran."""
        return _paid(self._look()) - self._before

    def notice(self, text: str) -> None:
        self.watcher.notice(text)

    def watch(self, look: Callable[[], Progress]) -> None:
        """Called by the run in its own event loop, which ends the task with itself."""
        if self._task is None:
            self._look, self._before = look, _paid(look())
            self._task = asyncio.get_running_loop().create_task(self._sample())
        self.watcher.watch(look)

    def decided(self) -> None:
        self.watcher.decided()

    async def _sample(self) -> None:
        at = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            before, at = at, time.monotonic()
            in_flight = self._look().in_flight
            self.area += in_flight * (at - before)
            self.busy += (at - before) if in_flight else 0.0


def _paid(progress: Progress) -> int:
    return sum(place.paid for place in progress.endpoints)


@dataclass(frozen=True)
class _Pace:
    """How fast it went. rate: answers a second. latency: seconds for one answer; in_flight: how
    many were asked for at once on average; None where nobody looked."""

    rate: float | None = None
    latency: float | None = None
    in_flight: float | None = None
    requests: int = 0
    seconds: float = 0.0


def estimate_from(plan: Plan, directory: Path, stopwatch: Stopwatch) -> dict[str, Any]:
    """From what the run in `directory` gave so far. Raises UsageError when it gave nothing."""
    history, manifest = History.load(directory), read_manifest(directory)
    replies: dict[str, list[Reply]] = {track.lang: [] for track in plan.tracks}
    for ticket, offset in sorted(history.settled.items()):
        replies[ticket.lang].append(settle(read_fact(directory / JOURNAL, offset)))
    if manifest is None or not all(replies.values()):
        raise UsageError(f"{directory}: nothing was bought there that an estimate can rest on")
    counts = manifest.languages
    rates = [measured(track, replies[track.lang], counts[track.lang]) for track in plan.tracks]
    if stopwatch.paid and stopwatch.area:
        pace = _Pace(
            rate=stopwatch.paid / stopwatch.busy,
            latency=stopwatch.area / stopwatch.paid,
            in_flight=stopwatch.area / stopwatch.busy,
            requests=stopwatch.paid,
            seconds=stopwatch.busy,
        )
    else:
        paid, seconds = history.totals.paid, history.seconds
        pace = _Pace(rate=paid / seconds if seconds else None, requests=paid, seconds=seconds)
    prompt = sum(r.prompt_tokens or 0 for lang in replies.values() for r in lang)
    cached = sum(r.cached_tokens or 0 for lang in replies.values() for r in lang)
    found = _figures(plan, rates, pace, cached=cached / prompt if prompt else 0.0)
    return {
        **found,
        "probe": {
            "run": str(directory),
            "requests": sum(map(len, replies.values())),
            "kept": manifest.kept,
            "candidates": manifest.candidates,
            "cached_share": cached / prompt if prompt else None,
            "seconds_per_request": pace.latency,
            "in_flight": pace.in_flight,
        },
    }


# ── the whole run ────────────────────────────────────────────────────────────────────────────


def _figures(
    plan: Plan, rates: Sequence[Rates], pace: _Pace, *, cached: float = 0.0
) -> dict[str, Any]:
    """All languages together. cached: the share of the prompt tokens."""
    config = plan.config
    more = [rate.more() for rate in rates]
    languages: dict[str, Any] = {}
    for rate, left in zip(rates, more, strict=True):
        languages[rate.lang] = {
            "tasks_per_reply": _figure(rate.tasks, rate.tasks_basis),
            "kept_share": _figure(rate.kept, rate.kept_basis),
            "requests": each(lambda a, done=rate.requests: done + a, left),
            "prompt_tokens": _whole(left, rate.prompt, rate.prompt_so_far),
            "completion_tokens": _whole(left, rate.completion, rate.completion_so_far),
        }
    names = ("requests", "prompt_tokens", "completion_tokens")
    sums = {
        name: each(lambda *parts: sum(parts), *(lang[name] for lang in languages.values()))
        for name in names
    }
    bases = {
        "requests": "rows ÷ (tasks a reply × share kept)"
        if any(rate.most is None or rate.wanted < rate.most for rate in rates)
        else "one for each row of the source",
        "prompt_tokens": "; ".join(dict.fromkeys(rate.prompt_basis for rate in rates)),
        "completion_tokens": "; ".join(dict.fromkeys(rate.completion_basis for rate in rates)),
    }
    for lang in languages.values():
        lang.update({name: _figure(lang[name], bases[name]) for name in names})
    left_over = each(lambda *parts: sum(parts), *more)
    return {
        "n": config.n,
        "recipe": config.recipe,
        "lang": list(config.lang),
        "model": list(config.models),
        **{name: _figure(sums[name], bases[name]) for name in names},
        "usd": _usd(plan, sums["prompt_tokens"], sums["completion_tokens"], cached),
        "hours": _hours(plan, sums, left_over, pace),
        "languages": languages,
    }


def _whole(requests: Range, one: Range, so_far: int) -> Range:
    return each(lambda a, b: so_far + (a * b if a else 0.0), requests, one)


def _figure(values: Range | None, basis: str) -> dict[str, Any]:
    """low ≤ likely ≤ high, null where there is no telling."""
    low, likely, high = sorted(values) if values is not None else (math.inf,) * 3
    ends = {"low": low, "likely": likely, "high": high}
    shown = {
        name: None if math.isinf(end) else round(end) if end >= 100 else float(f"{end:.4g}")
        for name, end in ends.items()
    }
    return {**shown, "basis": basis}


def _usd(plan: Plan, prompt: Range, completion: Range, cached: float) -> dict[str, Any]:
    config = plan.config
    # A --max-cost is for the run; it needs no price here.
    known = find_prices(config.model_copy(update={"max_cost": None}))
    prices: list[Price] = [known[model] for model in config.models if model in known]
    if config.embedded:
        return _figure(Range(0.0, 0.0, 0.0), "the embedded model runs on this machine")
    if not prices or len(prices) < len(config.models):
        return _figure(None, "unknown: give --price-in and --price-out")

    def cost(asked: float, answered: float) -> float:
        if math.isinf(asked) or math.isinf(answered):
            return math.inf
        whole = round(asked), round(answered), round(asked * cached)
        return statistics.fmean(price.cost(*whole) for price in prices) / 10**12

    # The rest of a source is an address, which is in prices.toml.
    said = "; ".join(dict.fromkeys(price.source.partition(": ")[0] for price in prices))
    said += ", by the batch API" if config.batch_api else ""
    said += f"; {cached:.0%} of the prompts cached" if cached else "; nothing cached"
    return _figure(each(cost, prompt, completion), said)


def _hours(plan: Plan, sums: dict[str, Range], more: Range, pace: _Pace) -> dict[str, Any]:
    """At the given limits, whichever binds, and at the measured rate of `more` requests."""
    config = plan.config
    if config.batch_api:
        return _figure(None, "unknown: the batch API answers within 24 hours a batch")
    places = len(config.places)
    ways: list[tuple[Range, str]] = []
    if config.rpm is not None:
        a_minute = config.rpm * places
        ways.append((each(lambda a: a / a_minute / 60, sums["requests"]), "--rpm"))
    if config.tpm is not None:
        a_minute_t = config.tpm * places
        both = each(lambda a, b: a + b, sums["prompt_tokens"], sums["completion_tokens"])
        ways.append((each(lambda a: a / a_minute_t / 60, both), "--tpm"))
    if pace.rate:
        ways.append(_at_pace(plan, more, pace))
    if not ways:
        return _figure(None, "unknown without --probe, --rpm or --tpm")
    hours, basis = max(ways, key=lambda way: way[0].likely)
    if basis.startswith("--") and places > 1:
        basis += f" at {places} endpoints"
    return _figure(each(lambda *ends: max(ends), hours, *(way[0] for way in ways)), basis)


def _at_pace(plan: Plan, more: Range, pace: _Pace) -> tuple[Range, str]:
    """Hours for `more` requests on top of the measured ones."""
    config = plan.config
    assert pace.rate is not None
    slowest = fastest = pace.rate
    basis = f"measured: {pace.requests:,} answers in {pace.seconds:.1f} s"
    if pace.latency and pace.in_flight:
        basis = f"measured: {pace.latency:.2f} s a request, {pace.in_flight:.1f} in flight"
        if isinstance(config.concurrency, int):
            # A short probe does not fill all slots, the run does.
            slots = config.concurrency * len(config.places)
            fastest = max(fastest, slots / pace.latency)
            basis += f"; {slots} in the run"
    rates = Range(fastest, fastest, slowest)
    return each(lambda a, rate: (pace.seconds + a / rate) / 3600, more, rates), basis


# ── for people ───────────────────────────────────────────────────────────────────────────────


def table(found: dict[str, Any]) -> Table:
    """An estimate, a line for each figure."""
    rows = Table(box=None, pad_edge=False, header_style="bold")
    rows.add_column("")
    for name in ("low", "likely", "high"):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("basis", overflow="fold")
    several = len(found["languages"]) > 1
    lines: list[tuple[str, dict[str, Any], Callable[[float], str]]] = []
    for lang, figures in found["languages"].items():
        mark = f"{lang}: " if several else ""
        lines.append((f"{mark}tasks a reply", figures["tasks_per_reply"], "{:.1f}".format))
        lines.append((f"{mark}kept of them", figures["kept_share"], "{:.0%}".format))
    lines += [
        ("requests", found["requests"], "{:,.0f}".format),
        ("prompt tokens", found["prompt_tokens"], "{:,.0f}".format),
        ("completion tokens", found["completion_tokens"], "{:,.0f}".format),
        ("dollars", found["usd"], lambda amount: dollars(picodollars(amount))),
        ("time", found["hours"], lambda hours: span(3600 * hours)),
    ]
    for name, figure, form in lines:
        ends = [figure[end] for end in ("low", "likely", "high")]
        shown = ["–" if end is None else form(end) for end in ends]
        rows.add_row(name, *shown, Text(figure["basis"]))
    return rows
