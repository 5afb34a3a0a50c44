"""The corridor: one run from its journal to its published files.

Enters: a Plan and a directory. Leaves: the run directory's files and a manifest. The only module
that knows all the others; each step is a call into one room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from selfinstruct.errors import UsageError
from selfinstruct.exports import (
    MANIFEST,
    RECORDS,
    REJECTED,
    Exports,
    dataset_name,
    file_digest,
    write_whole,
)
from selfinstruct.history import TERMS, History, header_fact
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.journal import Journal
from selfinstruct.manifest import Manifest, read_manifest
from selfinstruct.plan import KNOWN, SOURCE, Plan
from selfinstruct.routes import Endpoint, find_prices
from selfinstruct.run import Run, Watcher


async def generate(
    plan: Plan,
    directory: Path,
    connect: Callable[[ExitStack], Sequence[Endpoint]],
    watcher: Watcher,
    *,
    first: int | None = None,
) -> Manifest:
    """Make the run in `directory` hold exactly plan.config.n kept rows of each language.

    first: stop, with an incomplete manifest, after so many requests of all languages together.
    `connect` is called only when something may have to be bought; what it enters on the stack
    (the embedded model's server) lives as long as the run. Raises SelfInstructError; a directory
    that holds part of a run can always be gone on with.
    """
    config = plan.config
    refuse_foreign_files(directory, plan)
    find_prices(config)  # A --max-cost that cannot be kept is refused before anything else.
    finished = finished_manifest(plan, directory)
    if finished is not None:
        watcher.notice(f"{directory} already holds the {finished.kept} rows asked for")
        return finished
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(directory))
        history = open_run(plan, journal, directory, watcher)
        exports = stack.enter_context(Exports(directory, config.lang))
        endpoints = connect(stack)
        run = Run(plan, journal, history, exports, endpoints, watcher, first)
        await run.buy()
        return run.publish()


def open_run(plan: Plan, journal: Journal, directory: Path, watcher: Watcher) -> History:
    """Start a journal with the plan, or check that it is this plan's. Raises RunMismatch."""
    config = plan.config
    if journal.set_aside:
        watcher.notice(
            f"{journal.path}: {journal.set_aside} bytes that a crash left half-written "
            "were moved to journal.tail"
        )
    if journal.recovered:
        watcher.notice(
            f"{journal.recovered} facts that did not fit on the disk "
            "were kept beside the journal and are back in it"
        )
    history = History.of(journal.facts())
    if (
        history.header
        and not history.totals.paid
        and not history.totals.doubtful
        and not history.batches
        and plan.fingerprint() != history.header["fingerprint"]
    ):
        journal.restart()  # Nothing was bought: a wrong --model must not hold the directory.
    if journal.empty:
        for track in plan.tracks:
            _ = track.recipe  # Seeds and template are read before anything is written or bought.
        for name, content in ((SOURCE, plan.source_bytes), (KNOWN, plan.known_bytes)):
            if content:
                write_whole(directory / name, content)
        journal.append(
            header_fact(
                fingerprint=plan.fingerprint(),
                config=config.stored(),
                seeds={track.lang: track.seed_bytes.decode() for track in plan.tracks},
                templates={track.lang: track.template_bytes.decode() for track in plan.tracks},
                at=time.time(),
            )
        )
        journal.sync()
    history = History.of(journal.facts())
    plan.check(history.header, directory)
    if history.target != config.n:
        journal.append({"type": "target", "n": config.n})
    terms = {name: getattr(config, name) for name in TERMS}
    if history.terms != terms:
        journal.append({"type": "terms", **terms})
    if history.settled:
        watcher.notice(f"going on: {history.totals.paid} replies are already paid for")
    return history


def refuse_foreign_files(directory: Path, plan: Plan) -> None:
    """Raises UsageError when the directory has row files but no journal that they come from."""
    if (directory / JOURNAL).exists():
        return
    names = [*map(dataset_name, plan.config.lang), RECORDS, REJECTED, MANIFEST]
    copies = {SOURCE: plan.source_bytes, KNOWN: plan.known_bytes}
    names += [name for name, content in copies.items() if content]
    for name in names:
        if (directory / name).exists():
            raise UsageError(
                f"{directory / name} is there, but no {JOURNAL} that it comes from",
                hint="nothing is overwritten; use another --out",
            )


def finished_manifest(plan: Plan, directory: Path) -> Manifest | None:
    """The manifest, when this very run is already complete in `directory`."""
    manifest = read_manifest(directory)
    if manifest is None or not manifest.complete:
        return None
    plan.check({"fingerprint": manifest.fingerprint}, directory)
    held = manifest.n or manifest.kept
    if plan.config.n and held > plan.config.n:
        raise UsageError(
            f"{directory} already holds {held} rows, more than the {plan.config.n} asked for",
            hint="use another --out, or take the first rows of its files",
        )
    untouched = (directory / JOURNAL).stat().st_size == manifest.journal_bytes
    whole = untouched and all(
        file_digest(directory / name) == stated["sha256"] for name, stated in manifest.files.items()
    )
    return manifest if manifest.n == plan.config.n and whole else None
