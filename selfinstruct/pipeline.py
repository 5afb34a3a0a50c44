"""The corridor: one run from its journal to its published files.

Enters: a Plan and a directory. Leaves: the run directory's files and a manifest. The only module
that knows all the others; each step is a call into one room.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import selfinstruct
from selfinstruct.demand import Demand
from selfinstruct.desk import Desk
from selfinstruct.errors import DiskError, GaveUp, UsageError
from selfinstruct.exports import Exports, file_digest
from selfinstruct.generator import Generator, Policy
from selfinstruct.history import History, header_fact
from selfinstruct.journal import Journal
from selfinstruct.manifest import Manifest, read_manifest
from selfinstruct.plan import Plan
from selfinstruct.progress import Progress
from selfinstruct.providers.openai import Dialect, OpenAIProvider
from selfinstruct.records import Reply
from selfinstruct.throttle import Throttle


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
    """Make the run in `directory` hold exactly plan.config.n kept rows.

    `connect` is called only when something may have to be bought; what it enters on the stack
    (the embedded model's server) lives as long as the run. Raises SelfInstructError; a directory
    that holds part of a run can always be gone on with.
    """
    config = plan.config
    finished = finished_manifest(plan, directory)
    if finished is not None:
        watcher.notice(f"{directory} already holds the {config.n} rows asked for")
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
    if journal.empty:
        _ = plan.recipe  # Seeds and template are read before anything is written or bought.
        journal.append(
            header_fact(
                fingerprint=plan.fingerprint(),
                config=config.stored(),
                seeds=plan.seed_bytes,
                template=plan.template_bytes,
                at=time.time(),
            )
        )
        journal.sync()
    history = History.of(journal.facts())
    plan.check(history.header, directory)
    if history.target != config.n:
        journal.append({"type": "target", "n": config.n})
    if history.settled:
        watcher.notice(f"going on: {len(history.settled)} requests are already paid for")
    return history


def finished_manifest(plan: Plan, directory: Path) -> Manifest | None:
    """The manifest, when this very run is already complete in `directory`."""
    manifest = read_manifest(directory)
    if manifest is None or not manifest.complete:
        return None
    plan.check({"fingerprint": manifest.fingerprint}, directory)
    if manifest.n > plan.config.n:
        raise UsageError(
            f"{directory} already holds {manifest.n} rows, more than the {plan.config.n} asked for",
            hint="use another --out, or take the first rows of its files",
        )
    journal = directory / "journal.jsonl"
    untouched = journal.exists() and journal.stat().st_size == manifest.journal_bytes
    whole = untouched and all(
        file_digest(directory / name) == stated["sha256"] for name, stated in manifest.files.items()
    )
    return manifest if manifest.n == plan.config.n and whole else None


def make_manifest(
    plan: Plan, history: History, desk: Desk, files: dict[str, dict[str, Any]], journal_bytes: int
) -> Manifest:
    """The manifest of what the desk has decided."""
    bought, judge = history.bought, desk.judge
    started = datetime.fromtimestamp(history.header["at"], tz=UTC)
    return Manifest(
        complete=judge.kept >= plan.config.n,
        n=plan.config.n,
        kept=judge.kept,
        candidates=judge.candidates,
        rejected=dict(sorted(judge.rejected.items())),
        unusable_replies=dict(sorted(desk.outcomes.items())),
        requests={
            "decided": desk.requests,
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
        self._desk = Desk(plan)
        self._demand = Demand(plan.config.n, plan.config.tasks)
        self._begun = time.monotonic()
        self._tokens_before = history.bought.completion_tokens
        self._kept_before = 0
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
                if barren := self._barren():
                    break
        error = barren or generator.error
        if error is not None and not self._demand.met:
            if not isinstance(error, DiskError):
                self.publish()
            raise error

    def _arrived(self, reply: Reply) -> None:
        self._demand.reply_arrived(reply.request, self._desk.look(reply))

    def _decide(self, reply: Reply) -> None:
        judge = self._desk.judge
        before = judge.kept
        for record in self._desk.decide(reply):
            self._exports.add(record)
        self._demand.reply_decided(judge.kept - before)
        if reply.request in self._history.settled:
            self._kept_before = judge.kept

    def _barren(self) -> GaveUp | None:
        """The reason to stop paying for replies that give nothing."""
        desk = self._desk
        if desk.barren < self._plan.config.max_barren:
            return None
        return GaveUp(
            f"the last {desk.barren} replies gave no new row; most common reason so far: "
            f"{desk.most_common_reason}",
            hint="look at rejected.jsonl; max_barren in a --config file allows more",
        )

    def publish(self) -> Manifest:
        """Write the derived files for what is decided so far."""
        seconds = round(time.monotonic() - self._begun, 3)
        self._history.bought.seconds += seconds
        self._journal.append({"type": "session", "seconds": seconds})
        self._journal.sync()
        manifest = make_manifest(
            self._plan, self._history, self._desk, self._exports.files(), self._journal.size
        )
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
            prompt=self._plan.prompt,
            provider=provider,
            journal=self._journal,
            history=self._history,
            demand=self._demand,
            throttle=Throttle(fixed=fixed or self._endpoint.concurrency),
            policy=Policy(config.timeout, config.patience, config.durability == "strict"),
            arrived=self._arrived,
            notice=self._watcher.notice,
        )

    def progress(self) -> Progress:
        """This moment's numbers."""
        bought, judge = self._history.bought, self._desk.judge
        return Progress(
            kept=judge.kept,
            wanted=self._demand.wanted,
            candidates=judge.candidates,
            rejected=judge.rejected.copy(),
            requests=self._demand.decided,
            in_flight=self._generator.in_flight if self._generator else 0,
            prompt_tokens=bought.prompt_tokens,
            completion_tokens=bought.completion_tokens,
            session_tokens=bought.completion_tokens - self._tokens_before,
            fresh=judge.kept - self._kept_before,
            elapsed=time.monotonic() - self._begun,
            model=self._plan.config.model,
        )
