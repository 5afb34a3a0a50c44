"""The corridor: one run from its journal to its published files.

Enters: a Plan and a directory. Leaves: the run directory's files and a manifest. The only module
that knows all the others; each step is a call into one room.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import selfinstruct
from selfinstruct.demand import Demand
from selfinstruct.desk import Desk
from selfinstruct.errors import DiskError, GaveUp, UsageError
from selfinstruct.exports import (
    MANIFEST,
    RECORDS,
    REJECTED,
    Exports,
    dataset_name,
    file_digest,
    write_whole,
)
from selfinstruct.generator import Generator, Lane, Policy
from selfinstruct.history import History, header_fact
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.journal import Journal
from selfinstruct.manifest import Manifest, read_manifest
from selfinstruct.plan import SOURCE, Plan
from selfinstruct.progress import Progress
from selfinstruct.providers.dialect import Dialect
from selfinstruct.providers.openai import OpenAIProvider
from selfinstruct.records import Reply, Ticket
from selfinstruct.throttle import Throttle

# Requests that no answer came to: the generator's breaker watches over those.
_NO_ANSWER = ("exhausted", "malformed")


@dataclass(frozen=True)
class Endpoint:
    """Where requests go. concurrency: what it can serve at once, None when unknown."""

    base_url: str
    api_key: str
    concurrency: int | None = None


class Watcher(Protocol):
    """Who is told how it goes."""

    def notice(self, text: str) -> None: ...

    def watch(self, look: Callable[[], Progress]) -> None: ...

    def decided(self) -> None: ...


async def generate(
    plan: Plan, directory: Path, connect: Callable[[ExitStack], Endpoint], watcher: Watcher
) -> Manifest:
    """Make the run in `directory` hold exactly plan.config.n kept rows of each language.

    `connect` is called only when something may have to be bought; what it enters on the stack
    (the embedded model's server) lives as long as the run. Raises SelfInstructError; a directory
    that holds part of a run can always be gone on with.
    """
    config = plan.config
    refuse_foreign_files(directory, plan)
    finished = finished_manifest(plan, directory)
    if finished is not None:
        watcher.notice(f"{directory} already holds the {finished.kept} rows asked for")
        return finished
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(directory))
        history = open_run(plan, journal, directory, watcher)
        exports = stack.enter_context(Exports(directory, config.lang))
        endpoint = connect(stack)
        run = _Run(plan, journal, history, exports, endpoint, watcher)
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
    history = History.of(journal.facts())
    if (
        history.header
        and not history.bought.paid
        and plan.fingerprint() != history.header["fingerprint"]
    ):
        journal.restart()  # Nothing was bought: a wrong --model must not hold the directory.
    if journal.empty:
        for track in plan.tracks:
            _ = track.recipe  # Seeds and template are read before anything is written or bought.
        if plan.source_bytes:
            write_whole(directory / SOURCE, plan.source_bytes)
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
    if history.settled:
        watcher.notice(f"going on: {history.bought.paid} replies are already paid for")
    return history


def refuse_foreign_files(directory: Path, plan: Plan) -> None:
    """Raises UsageError when the directory has row files but no journal that they come from."""
    if (directory / JOURNAL).exists():
        return
    names = [*map(dataset_name, plan.config.lang), RECORDS, REJECTED, MANIFEST]
    if plan.source_bytes:
        names.append(SOURCE)
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


def make_manifest(
    plan: Plan,
    history: History,
    desks: Sequence[Desk],
    files: dict[str, dict[str, Any]],
    journal_bytes: int,
) -> Manifest:
    """The manifest of what the desks have decided."""
    bought = history.bought
    rejected: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for desk in desks:
        rejected += desk.judge.rejected
        outcomes += desk.outcomes
    started = datetime.fromtimestamp(history.header["at"], tz=UTC)
    return Manifest(
        complete=all(_complete(desk) for desk in desks),
        n=plan.config.n,
        kept=sum(desk.judge.kept for desk in desks),
        candidates=sum(desk.judge.candidates for desk in desks),
        rejected=dict(sorted(rejected.items())),
        unusable_replies=dict(sorted(outcomes.items())),
        languages={
            desk.track.lang: {
                "kept": desk.judge.kept,
                "candidates": desk.judge.candidates,
                "requests": desk.requests,
            }
            for desk in desks
        },
        requests={
            "decided": sum(desk.requests for desk in desks),
            "paid": bought.paid,
            "sent": bought.sent,
            "failed": bought.failed,
        },
        tokens={"prompt": bought.prompt_tokens, "completion": bought.completion_tokens},
        seconds=round(bought.seconds, 3),
        started_at=started.isoformat(timespec="seconds"),
        files=files,
        journal_bytes=journal_bytes,
        fingerprint=plan.fingerprint(),
        config=plan.config.stored(),
        versions={
            "selfinstruct": selfinstruct.__version__,
            "python": platform.python_version(),
        },
    )


def _complete(desk: Desk) -> bool:
    """As many rows as asked for; without a number, all that the source gives."""
    return desk.full or (desk.track.config.n is None and desk.done)


class _Run:
    """One process's share of a run: the loop, and the numbers it leaves."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        history: History,
        exports: Exports,
        endpoint: Endpoint,
        watcher: Watcher,
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._history = history
        self._exports = exports
        self._endpoint = endpoint
        self._watcher = watcher
        self._desks = {track.lang: Desk(track) for track in plan.tracks}
        self._lanes = {
            track.lang: Lane(
                track.lang,
                track.prompt,
                Demand(track.wanted, track.tasks, track.recipe.requests),
            )
            for track in plan.tracks
        }
        self._begun = time.monotonic()
        self._tokens_before = history.bought.completion_tokens
        self._kept_before = 0
        self._barren: Counter[str] = Counter()
        self._generator: Generator | None = None

    async def buy(self) -> None:
        """Replies in request order through parser, filters and pool until n rows are kept."""
        barren = None
        async with self._provider() as provider, self._make_generator(provider) as generator:
            self._generator = generator
            self._watcher.watch(self.progress)
            async for reply in generator.replies():
                self._decide(reply)
                self._watcher.decided()
                if barren := self._gives_nothing(self._desks[reply.lang]):
                    break
        error = barren or generator.error or self._source_too_small()
        if isinstance(error, DiskError):
            raise error
        if error is not None and not all(_complete(desk) for desk in self._desks.values()):
            self.publish()
            raise error

    def _arrived(self, reply: Reply) -> None:
        tasks = self._desks[reply.lang].look(reply)
        self._lanes[reply.lang].demand.reply_arrived(reply.request, tasks)

    def _decide(self, reply: Reply) -> None:
        desk = self._desks[reply.lang]
        before = desk.judge.kept
        for record in desk.decide(reply):
            self._exports.add(record)
        kept = desk.judge.kept - before
        self._lanes[reply.lang].demand.reply_decided(kept)
        if Ticket(reply.request, reply.lang) in self._history.settled:
            self._kept_before += kept
        elif kept:
            self._barren[reply.lang] = 0
        elif reply.outcome not in _NO_ANSWER:
            self._barren[reply.lang] += 1

    def _gives_nothing(self, desk: Desk) -> GaveUp | None:
        """The reason to stop paying for replies that give nothing. Replayed ones do not count:
        the same command must be able to go on."""
        barren = self._barren[desk.track.lang]
        if desk.full or barren < self._plan.config.max_barren:
            return None
        if desk.track.recipe.requests is not None:
            return None  # The source itself is the limit.
        return GaveUp(
            f"the last {barren} replies gave no new row; most common reason so far: "
            f"{desk.most_common_reason}",
            hint="look at rejected.jsonl; max_barren in a --config file allows more",
        )

    def _source_too_small(self) -> GaveUp | None:
        for desk in self._desks.values():
            if desk.done and not desk.full:
                return GaveUp(
                    f"all {desk.requests} rows of the source are decided and {desk.judge.kept} "
                    f"kept; {desk.track.wanted} were asked for",
                    hint="leave --n out to take all that the source gives",
                )
        return None

    def publish(self) -> Manifest:
        """Write the derived files for what is decided so far."""
        seconds = round(time.monotonic() - self._begun, 3)
        self._history.bought.seconds += seconds
        self._journal.append({"type": "session", "seconds": seconds})
        self._journal.sync()
        desks = list(self._desks.values())
        files = self._exports.seal()
        manifest = make_manifest(self._plan, self._history, desks, files, self._journal.size)
        self._exports.publish(manifest.model_dump())
        return manifest

    def _provider(self) -> OpenAIProvider:
        config, endpoint = self._plan.config, self._endpoint
        dialect = Dialect(api="chat" if config.api == "chat" else "completions")
        for change in self._history.changes:
            dialect = dialect.changed(change)
        return OpenAIProvider(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key,
            model=config.model,
            sampling={
                **config.extra_body,
                "temperature": config.temperature,
                "top_p": config.top_p,
                "max_tokens": config.max_tokens,
            },
            dialect=dialect,
            adapt_api=config.api == "auto",
            connections=4096,
        )

    def _make_generator(self, provider: OpenAIProvider) -> Generator:
        config = self._plan.config
        fixed = config.concurrency if isinstance(config.concurrency, int) else None
        return Generator(
            lanes=list(self._lanes.values()),
            provider=provider,
            journal=self._journal,
            history=self._history,
            throttle=Throttle(fixed=fixed or self._endpoint.concurrency),
            policy=Policy(config.timeout, config.patience, config.durability == "strict"),
            arrived=self._arrived,
            notice=self._watcher.notice,
        )

    def progress(self) -> Progress:
        """This moment's numbers."""
        bought = self._history.bought
        judges = {lang: desk.judge for lang, desk in self._desks.items()}
        rejected: Counter[str] = Counter()
        for judge in judges.values():
            rejected += judge.rejected
        kept = sum(judge.kept for judge in judges.values())
        return Progress(
            kept=kept,
            wanted=sum(lane.demand.wanted for lane in self._lanes.values()),
            candidates=sum(judge.candidates for judge in judges.values()),
            rejected=rejected,
            languages={
                lang: (judge.kept, self._lanes[lang].demand.wanted)
                for lang, judge in judges.items()
            },
            requests=sum(lane.demand.decided for lane in self._lanes.values()),
            in_flight=self._generator.in_flight if self._generator else 0,
            prompt_tokens=bought.prompt_tokens,
            completion_tokens=bought.completion_tokens,
            session_tokens=bought.completion_tokens - self._tokens_before,
            fresh=kept - self._kept_before,
            elapsed=time.monotonic() - self._begun,
            model=self._plan.config.model,
        )
