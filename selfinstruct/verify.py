"""`verify`: derive everything again from the journal and compare it with what the files say.

Enters: a run directory. Leaves: the list of what differs. Writes nothing, buys nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfinstruct.desk import Desk
from selfinstruct.exports import RECORDS, REJECTED, dataset_name, file_digest, rows_of
from selfinstruct.history import History, settle
from selfinstruct.journal import NAME, read_fact
from selfinstruct.manifest import read_manifest
from selfinstruct.plan import Plan
from selfinstruct.records import Ticket, prompt_digest
from selfinstruct.run import make_manifest


def verify(directory: Path) -> list[str]:
    """What is wrong with a run directory, one line each; empty when nothing is.

    Raises UsageError when there is no run, JournalDamaged when the journal cannot be trusted.
    """
    journal = directory / NAME
    history = History.load(directory)
    manifest = read_manifest(directory)
    if manifest is None:
        return [f"{directory}: no manifest; the run was cut off: `selfinstruct resume {directory}`"]
    plan = Plan.from_header(history.header, directory, {"n": manifest.n})
    problems = list(_prompt_problems(plan, history))
    if plan.fingerprint() != manifest.fingerprint:
        problems.append("manifest.json: the fingerprint is not the journal's")
    digests: dict[str, Any] = {}
    rows: Counter[str] = Counter()
    desks = [Desk(track) for track in plan.tracks]
    for desk in desks:
        for name in (dataset_name(desk.track.lang), RECORDS, REJECTED):
            digests.setdefault(name, hashlib.sha256())
        # What was bought after the files were published is not in them yet.
        decided = manifest.languages.get(desk.track.lang, {}).get("requests", 0)
        while desk.requests < decided and (desk.requests, desk.track.lang) in history.settled:
            fact = read_fact(journal, history.settled[Ticket(desk.requests, desk.track.lang)])
            for record in desk.decide(settle(fact)):
                for name, data in rows_of(record):
                    digests[name].update(data)
                    rows[name] += 1
    for name, digest in digests.items():
        if file_digest(directory / name) != digest.hexdigest():
            problems.append(f"{name}: missing, or not what the journal gives")
    files = {name: {"rows": rows[name], "sha256": digests[name].hexdigest()} for name in digests}
    derived = make_manifest(plan, history, desks, files, manifest.journal_bytes)
    fields = [
        "complete",
        "kept",
        "candidates",
        "rejected",
        "languages",
        "unusable_replies",
        "files",
    ]
    if journal.stat().st_size == manifest.journal_bytes:
        fields += ["requests", "tokens", "seconds"]
    for field in fields:
        if getattr(derived, field) != getattr(manifest, field):
            problems.append(
                f"manifest.json: {field} is {getattr(manifest, field)}, "
                f"the journal gives {getattr(derived, field)}"
            )
    return problems


def _prompt_problems(plan: Plan, history: History) -> Iterator[str]:
    tracks = {track.lang: track for track in plan.tracks}
    for (k, lang), digest in sorted(history.prompts.items()):
        if prompt_digest(tracks[lang].prompt(k)) != digest:
            yield f"journal.jsonl: the prompt of request {lang} {k} is not the one that was sent"
            return
