"""One process's share of a run: replies through parser, filters and pool, and what comes of it.

Enters: a Plan, an open journal and the endpoints. Leaves: records for the exports, and a manifest
of what the desks have decided. Sends nothing itself: the generator or the batches do.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Protocol

import selfinstruct
from selfinstruct.accounts import by_endpoint
from selfinstruct.batches import Batches, poll_seconds
from selfinstruct.demand import Demand
from selfinstruct.desk import Desk
from selfinstruct.errors import DiskError, GaveUp
from selfinstruct.exports import Exports
from selfinstruct.generator import Generator, Lane
from selfinstruct.history import History
from selfinstruct.journal import Journal
from selfinstruct.manifest import Manifest
from selfinstruct.plan import Plan
from selfinstruct.progress import EndpointProgress, Progress
from selfinstruct.records import Reply, Ticket
from selfinstruct.routes import Endpoint, make_budget, make_routes
from selfinstruct.sender import Policy

# Requests that no answer came to: the generator's breaker watches over those.
_NO_ANSWER = ("exhausted", "malformed")


class Watcher(Protocol):
    """Who is told how it goes."""

    def notice(self, text: str) -> None: ...

    def watch(self, look: Callable[[], Progress]) -> None: ...

    def decided(self) -> None: ...


def request_limits(plan: Plan, history: History, first: int | None) -> dict[str, int | None]:
    """How many requests there can be of each language, None for no end.

    first: as many may be settled in all, shared evenly, those of earlier processes included.
    """
    limits: dict[str, int | None] = {}
    for index, track in enumerate(plan.tracks):
        limits[track.lang] = track.recipe.requests
        if first is None:
            continue
        settled = {ticket.k for ticket in history.settled if ticket.lang == track.lang}
        share = first // len(plan.tracks) + (index < first % len(plan.tracks))
        room = share - len(settled)
        limit = 0
        while limit != track.recipe.requests and (limit in settled or room > 0):
            room -= limit not in settled
            limit += 1
        limits[track.lang] = limit
    return limits


def make_manifest(
    plan: Plan,
    history: History,
    desks: Sequence[Desk],
    files: dict[str, dict[str, Any]],
    journal_bytes: int,
) -> Manifest:
    """The manifest of what the desks have decided."""
    totals = history.totals
    rejected: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for desk in desks:
        rejected += desk.judge.rejected
        outcomes += desk.outcomes
    kept = sum(desk.judge.kept for desk in desks)
    started = datetime.fromtimestamp(history.header["at"], tz=UTC)
    return Manifest(
        complete=all(_complete(desk) for desk in desks),
        n=plan.config.n,
        kept=kept,
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
            **totals.requests(),
        },
        tokens=totals.tokens(),
        tokens_per_kept_row=totals.tokens_per_row(kept),
        cost=totals.money(kept),
        endpoints=by_endpoint(history.accounts),
        seconds=round(history.seconds, 3),
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


class Run:
    """One process's share of a run: the loop, and the numbers it leaves."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        history: History,
        exports: Exports,
        endpoints: Sequence[Endpoint],
        watcher: Watcher,
        first: int | None = None,
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._history = history
        self._exports = exports
        self._watcher = watcher
        self._desks = {track.lang: Desk(track) for track in plan.tracks}
        limits = request_limits(plan, history, first)
        self._lanes = {
            track.lang: Lane(
                track.lang,
                track.prompt,
                track.most,
                Demand(track.wanted, track.most_tasks, limits[track.lang]),
            )
            for track in plan.tracks
        }
        self._providers, self._routes, self._fleet = make_routes(
            plan.config, endpoints, history, journal
        )
        self._budget = make_budget(plan.config, history)
        self._begun = time.monotonic()
        self._tokens_before = history.totals.completion_tokens
        self._kept_before = 0
        # Live, a batch's replies enter the history too: only these were here before.
        self._replayed = frozenset(history.settled)
        self._barren: Counter[str] = Counter()
        self._addresses = endpoints
        self._generator: Generator | Batches | None = None

    async def buy(self) -> None:
        """Replies in request order through parser, filters and pool until n rows are kept."""
        barren = failed = None
        async with AsyncExitStack() as providers:
            for provider in self._providers:
                await providers.enter_async_context(provider)
            for make in self._ways():
                async with make() as generator:
                    self._generator = generator
                    self._watcher.watch(self.progress)
                    async for reply in generator.replies():
                        await self._decide(reply)
                        self._watcher.decided()
                        if barren := self._gives_nothing(self._desks[reply.lang]):
                            break
                failed = generator.error
                if barren or failed:
                    break
        error = barren or failed or self._source_too_small()
        if isinstance(error, DiskError):
            raise error
        if error is not None and not all(_complete(desk) for desk in self._desks.values()):
            self.publish()
            raise error

    def _arrived(self, reply: Reply) -> None:
        tasks = self._desks[reply.lang].look(reply)
        self._lanes[reply.lang].demand.reply_arrived(reply.request, tasks)

    async def _decide(self, reply: Reply) -> None:
        desk = self._desks[reply.lang]
        before = desk.judge.kept
        # In a thread: comparing with thousands of rows is mostly done outside of the GIL, and
        # requests go out meanwhile. One at a time, so the order stays what it is.
        for record in await asyncio.to_thread(desk.decide, reply):
            self._exports.add(record)
        kept = desk.judge.kept - before
        self._lanes[reply.lang].demand.reply_decided(kept)
        if Ticket(reply.request, reply.lang) in self._replayed:
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
        self._history.seconds += seconds
        self._journal.append({"type": "session", "seconds": seconds})
        self._journal.sync()
        desks = list(self._desks.values())
        files = self._exports.seal()
        manifest = make_manifest(self._plan, self._history, desks, files, self._journal.size)
        self._exports.publish(manifest.model_dump())
        return manifest

    def _ways(self) -> list[Callable[[], Generator | Batches]]:
        """How requests are bought; an open batch is fetched first, whatever comes after it."""
        if self._plan.config.batch_api:
            return [self._make_batches]
        if self._history.batches:
            return [self._make_batches, self._make_generator]
        return [self._make_generator]

    def _make_batches(self) -> Batches:
        poll, longest = poll_seconds(os.environ)
        return Batches(
            config=self._plan.config,
            lanes=list(self._lanes.values()),
            endpoints=self._addresses,
            providers=self._providers,
            routes=self._routes,
            budget=self._budget,
            journal=self._journal,
            history=self._history,
            arrived=self._arrived,
            notice=self._watcher.notice,
            submit=self._plan.config.batch_api,
            poll=poll,
            longest=longest,
        )

    def _make_generator(self) -> Generator:
        config = self._plan.config
        return Generator(
            lanes=list(self._lanes.values()),
            models=config.models,
            routes=self._routes,
            fleet=self._fleet,
            budget=self._budget,
            journal=self._journal,
            history=self._history,
            policy=Policy(config.timeout, config.patience, config.durability == "strict"),
            arrived=self._arrived,
            notice=self._watcher.notice,
        )

    def progress(self) -> Progress:
        """This moment's numbers."""
        totals = self._history.totals
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
            session_tokens=totals.completion_tokens - self._tokens_before,
            fresh=kept - self._kept_before,
            elapsed=time.monotonic() - self._begun,
            cost=totals.cost if totals.priced else None,
            budget=self._budget.cost,
            endpoints=self._endpoints(),
        )

    def _endpoints(self) -> tuple[EndpointProgress, ...]:
        now = time.monotonic()  # The event loop's clock, by which the fleet lives.
        members = {
            (route.account.url, route.account.model): member
            for member, route in zip(self._fleet.members, self._routes, strict=True)
        }
        found = []
        for taken in by_endpoint(self._history.accounts):
            place = taken["url"], taken["model"]
            counts = {name: taken[name] for name in ("sent", "paid", "failed")}
            for kind in ("prompt", "cached", "completion"):
                counts[f"{kind}_tokens"] = taken["tokens"][kind]
            if member := members.get(place):
                throttle = member.throttle
                counts.update(in_flight=throttle.in_flight, limit=throttle.limit)
                counts.update(state=member.state(now))
            found.append(EndpointProgress(*place, **counts))
        return tuple(found)
