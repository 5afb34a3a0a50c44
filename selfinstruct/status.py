"""`status`: what a run directory holds, without touching it.

Enters: a directory. Leaves: a plain dict, ready for JSON. Works beside a running writer.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

from selfinstruct.accounts import by_endpoint
from selfinstruct.history import History, OpenBatch
from selfinstruct.journal import LOCK
from selfinstruct.manifest import read_manifest


def status(directory: Path) -> dict[str, Any]:
    """State and counts of a run. Raises UsageError when there is no run, JournalDamaged.

    state: "running" (a process holds it), "complete" or "interrupted". Rows and rejections are
    those of the last published files; requests and tokens those of the journal, right now.
    """
    history = History.load(directory)
    manifest = read_manifest(directory)
    writer = _writer(directory)
    complete = manifest is not None and manifest.complete and manifest.n == history.target
    config = history.header["config"]
    totals = history.totals
    kept = manifest.kept if manifest else 0
    return {
        "run": str(directory),
        "state": "running" if writer else "complete" if complete else "interrupted",
        "writer_pid": writer,
        "n": history.target,
        "kept": manifest.kept if manifest else None,
        "candidates": manifest.candidates if manifest else None,
        "rejected": manifest.rejected if manifest else {},
        "languages": manifest.languages if manifest else {},
        "requests": {
            "settled": len(history.settled),
            **totals.requests(),
        },
        "tokens": totals.tokens(),
        "tokens_per_kept_row": totals.tokens_per_row(kept),
        "cost": totals.money(kept),
        "endpoints": by_endpoint(history.accounts),
        "batches": [_batch_row(batch) for batch in history.batches.values()],
        "seconds": round(history.seconds, 3),
        "recipe": config["recipe"],
        "lang": config["lang"],
        "model": config["model"],
        "base_url": config["base_url"],
    }


def _batch_row(batch: OpenBatch) -> dict[str, Any]:
    """An open batch as the provider described it last. fetched: answers that are in the journal."""
    return {
        "b": batch.number,
        "id": batch.id,
        "status": batch.status,
        "requests": batch.requests,
        "completed": batch.counts.get("completed", 0),
        "failed": batch.counts.get("failed", 0),
        "fetched": batch.replies,
    }


def _writer(directory: Path) -> int | None:
    """The pid of the process that holds the directory, None when none does."""
    try:
        with (directory / LOCK).open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read(20) or 0)
    except (OSError, ValueError):
        return None
    return None
