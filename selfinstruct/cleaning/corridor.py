"""The whole of `clean` on one screen: rows → judged one by one → compared in order → files.

Enters: settings and a directory. Leaves: kept.jsonl, rejected.jsonl, flagged.jsonl with --pii, and
summary.json; or nothing. The inputs and settings decide every byte: neither time nor interruptions
do.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import selfinstruct
from selfinstruct.cleaning.comparing import Comparer, chunks
from selfinstruct.cleaning.evaluation import Evaluation
from selfinstruct.cleaning.indexes import index_maker
from selfinstruct.cleaning.judging import RowJudge
from selfinstruct.cleaning.parts import ROWS, SUMMARY, Parts
from selfinstruct.cleaning.rules import Rules
from selfinstruct.cleaning.settings import CleanSettings
from selfinstruct.cleaning.tally import Tally
from selfinstruct.cleaning.writing import RowWriter, file_names
from selfinstruct.errors import Interrupted, UsageError
from selfinstruct.reading import Meter, identity, open_sources, read_rows

# Seconds between two checkpoints.
_CHECKPOINT = 10.0


class Watcher(Protocol):
    """Who is told how far a clean is."""

    def begun(self, meter: Meter, tally: Tally) -> None: ...

    def went_on(self) -> None: ...


def clean(settings: CleanSettings, out: Path, watcher: Watcher) -> dict[str, Any]:
    """Clean the inputs into `out` and return what summary.json holds. The same call goes on where
    an interrupted one stopped.

    Raises UsageError (inputs, settings, directory, a malformed row with strict), DiskError,
    Interrupted.
    """
    _refuse_overwriting(settings, out)
    rules = Rules(settings.profile)
    with (
        index_maker(settings, rules) as make_index,
        Parts(out, file_names(settings)) as parts,
        open_sources(settings.inputs) as sources,
        _signals() as stopped,
    ):
        evaluation = Evaluation.read(settings)
        facts = {
            "settings": settings.facts(),
            "profiles": rules.facts(),
            "inputs": identity(sources),
            "against": evaluation.identity,
            "version": selfinstruct.__version__,
        }
        state = parts.state(facts)
        tally = Tally.of(state["tally"]) if state else Tally()
        # Without this step every row is let through.
        comparer = Comparer(make_index) if "dedup" in settings.only else None
        judge = RowJudge(settings, rules, evaluation.runs)
        writer = RowWriter(settings, parts, tally)
        parts.open(state)
        if comparer:
            comparer.remember(evaluation.texts)
            comparer.remember(writer.kept_before(judge))
        meter = Meter(sources)
        watcher.begun(meter, tally)
        last = time.monotonic()
        for chunk in chunks(read_rows(sources, skip=tally.rows, meter=meter)):
            judged = [judge.judge(row) for row in chunk]
            writer.write(comparer.decide(judged) if comparer else judged)
            watcher.went_on()
            if stopped or time.monotonic() - last > _CHECKPOINT:
                parts.checkpoint({"facts": facts, "tally": tally.stored()})
                last = time.monotonic()
            if stopped:
                raise Interrupted(
                    f"interrupted after {tally.rows:,} rows; the same command goes on",
                    signal_number=stopped[0],
                )
        summary = tally.stored() | facts
        parts.publish(summary)
    return summary


def _refuse_overwriting(settings: CleanSettings, out: Path) -> None:
    for path in (*settings.inputs, *settings.against):
        for name in (*ROWS, SUMMARY):
            if path != "-" and Path(path).resolve() == (out / name).resolve():
                raise UsageError(f"{path} would be written over; give another --out")


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The first SIGINT or SIGTERM is noted, to stop between two chunks; a second one kills."""
    stopped: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _frame: FrameType | None) -> None:
        stopped.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in before:
        signal.signal(number, note)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
