"""`verify`: derive everything again from the journal and compare it with what the files say.

Enters: a run directory. Leaves: the list of what differs. Writes nothing, buys nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from selfinstruct.desk import Desk
from selfinstruct.exports import RECORDS, REJECTED, dataset_name, file_digest, rows_of
from selfinstruct.history import History, settle
from selfinstruct.journal import NAME, read_fact
from selfinstruct.manifest import read_manifest
from selfinstruct.plan import Plan
from selfinstruct.records import prompt_digest


def verify(directory: Path) -> list[str]:
    """What is wrong with a run directory, one line each; empty when nothing is.

    Raises UsageError when there is no run, JournalDamaged when the journal cannot be trusted.
    """
    journal = directory / NAME
    history = History.load(directory)
    manifest = read_manifest(directory)
    if manifest is None:
        return [f"{directory}: no manifest; the run was cut off: `selfinstruct resume {directory}`"]
    plan = Plan.from_header(history.header, {"n": manifest.n})
    problems = list(_prompt_problems(plan, history))
    if plan.fingerprint() != manifest.fingerprint:
        problems.append("manifest.json: the fingerprint is not the journal's")
    desk = Desk(plan)
    names = (dataset_name(plan.config.lang), RECORDS, REJECTED)
    digests = {name: hashlib.sha256() for name in names}
    while not desk.done and desk.requests in history.settled:
        fact = read_fact(journal, history.settled[desk.requests])
        for record in desk.decide(settle(fact)):
            for name, data in rows_of(record):
                digests[name].update(data)
    for name in names:
        if file_digest(directory / name) != digests[name].hexdigest():
            problems.append(f"{name}: missing, or not what the journal gives")
    for field, derived, stated in (
        ("kept", desk.judge.kept, manifest.kept),
        ("candidates", desk.judge.candidates, manifest.candidates),
        ("rejected", dict(desk.judge.rejected), manifest.rejected),
    ):
        if derived != stated:
            problems.append(f"manifest.json: {field} is {stated}, the journal gives {derived}")
    return problems


def _prompt_problems(plan: Plan, history: History) -> Iterator[str]:
    for request, digest in sorted(history.prompts.items()):
        if prompt_digest(plan.prompt(request)) != digest:
            yield f"journal.jsonl: request {request} was sent with another prompt than it gives now"
            return
