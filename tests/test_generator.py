"""The window and the retries in virtual time: outages, storms and patience, in no time at all."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from selfinstruct.accounts import Account, Most
from selfinstruct.budget import Budget
from selfinstruct.demand import Demand
from selfinstruct.errors import (
    GaveUp,
    RateLimited,
    RequestFailed,
    ServerFailed,
    TransportFailed,
)
from selfinstruct.fleet import Fleet, Member
from selfinstruct.generator import Generator, Lane
from selfinstruct.history import History
from selfinstruct.journal import Journal, read_facts
from selfinstruct.records import Answer, Prompt, Reply
from selfinstruct.sender import Policy, Route
from selfinstruct.throttle import Throttle
from tests.virtual_time import VirtualLoop

BODY = json.dumps({"choices": [{"text": "x", "finish_reason": "stop"}]}).encode()
Weather = Callable[[float], RequestFailed | None]


class Server:
    """Answers after a second, unless the weather at that time is bad."""

    base_url = "http://server/v1"

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self.sent: list[tuple[float, str]] = []

    async def send(self, prompt: Prompt) -> Answer:
        now = asyncio.get_running_loop().time()
        self.sent.append((now, prompt.text))
        await asyncio.sleep(1.0)
        if error := self._weather(now):
            raise error
        return Answer("completions", BODY, {})

    def apply(self, change: str) -> bool:
        raise AssertionError(change)

    def between(self, since: float, until: float) -> Counter[str]:
        """Prompts sent between two times, and how often."""
        return Counter(text for at, text in self.sent if since <= at < until)


async def _run(
    directory: Path, servers: list[Server], requests: int, fixed: int | None
) -> tuple[Generator, list[Reply]]:
    demand = Demand(requests, 1)
    lane = Lane(
        "en",
        lambda k: Prompt(f"prompt {k}", (), (), 1, 1, k),
        lambda _prompt: Most(1, 1),
        demand,
    )
    replies = []
    with Journal(directory) as journal:
        history = History()
        routes = []
        for number, server in enumerate(servers):
            history.accounts[number] = Account(server.base_url, "m")
            routes.append(Route(server, history.accounts[number], number))
        generator = Generator(
            lanes=[lane],
            models=["m"],
            routes=routes,
            fleet=Fleet([Member(id, "m", Throttle(fixed=fixed)) for id in range(len(servers))]),
            budget=Budget(),
            journal=journal,
            history=history,
            policy=Policy(timeout=600.0, patience=60.0, strict=False),
            arrived=lambda reply: demand.reply_arrived(reply.request, 1),
            notice=lambda _text: None,
        )
        async with generator:
            async for reply in generator.replies():
                replies.append(reply)
                demand.reply_decided(1)
    return generator, replies


def play(
    directory: Path, *weathers: Weather, requests: int, fixed: int | None = 8
) -> tuple[Generator, list[Reply], list[Server]]:
    """A run against a server for each weather."""
    servers = [Server(weather) for weather in weathers]
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        generator, replies = runner.run(_run(directory, servers, requests, fixed))
    return generator, replies, servers


def outage(since: float, until: float) -> Weather:
    return lambda now: ServerFailed("HTTP 502", status=502) if since <= now < until else None


def test_an_outage_below_the_patience_costs_no_request(tmp_path: Path) -> None:
    generator, replies, (server,) = play(tmp_path, outage(5, 60), requests=200)
    assert generator.error is None
    assert [reply.request for reply in replies] == list(range(200))
    assert not any(reply.outcome for reply in replies)
    # A request that rests keeps its place: nothing new was sent to a server that only fails.
    asked = server.between(7, 60)
    assert len(asked) <= 8
    assert asked.total() <= 8 * 8


def test_a_longer_outage_ends_the_run_and_settles_nothing(tmp_path: Path) -> None:
    generator, replies, (server,) = play(tmp_path, outage(5, 1e9), requests=200)
    assert isinstance(generator.error, GaveUp)
    assert "no answer for" in str(generator.error)
    assert 64 <= max(at for at, _text in server.sent) <= 100
    facts = [fact for _offset, fact in read_facts(tmp_path / "journal.jsonl")]
    assert not [fact for fact in facts if fact["type"] == "outcome"]
    assert len(replies) == sum(fact["type"] == "reply" for fact in facts)


def test_a_server_that_was_never_reached_is_given_up_early(tmp_path: Path) -> None:
    generator, _replies, (server,) = play(
        tmp_path, lambda _now: TransportFailed("refused"), requests=9
    )
    assert isinstance(generator.error, GaveUp)
    assert max(at for at, _text in server.sent) <= 30


def test_a_storm_of_refusals_is_sat_out(tmp_path: Path) -> None:
    def storm(now: float) -> RequestFailed | None:
        bad = 5 <= now < 305
        return RateLimited("HTTP 429", status=429, retry_after=10.0) if bad else None

    generator, replies, (server,) = play(tmp_path, storm, requests=300)
    assert generator.error is None
    assert [reply.request for reply in replies] == list(range(300))
    # Every ten seconds, by as many as were in flight at the most.
    assert server.between(7, 305).total() <= 30 * 8


def test_with_a_second_endpoint_an_outage_costs_no_time(tmp_path: Path) -> None:
    calm: Weather = lambda _now: None  # noqa: E731 - a name for a weather
    generator, replies, (bad, good) = play(tmp_path, outage(5, 1e9), calm, requests=400)
    assert generator.error is None
    assert len(replies) == 400
    assert not any(reply.outcome for reply in replies)
    assert max(at for at, _text in good.sent) <= 60
    # Half-open: one request now and then.
    assert bad.between(10, 60).total() <= 8


def test_slow_start_reaches_what_is_wanted(tmp_path: Path) -> None:
    generator, replies, (server,) = play(tmp_path, lambda _now: None, requests=1000, fixed=None)
    assert generator.error is None
    assert len(replies) == 1000
    assert max(at for at, _text in server.sent) <= 10


def test_after_a_pause_all_slots_are_filled_at_once(tmp_path: Path) -> None:
    """The pause ends by itself; nobody waits for the answer to the request that was refused."""
    refused: list[float] = []

    def once(now: float) -> RequestFailed | None:
        if now < 3 or refused:
            return None
        refused.append(now + 1)
        return RateLimited("HTTP 429", status=429, retry_after=5.0)

    generator, _replies, (server,) = play(tmp_path, once, requests=100, fixed=4)
    assert generator.error is None
    after = sorted(at for at, _text in server.sent if at > refused[0] + 0.5)
    # Four a second is the rate that the refusal taught; an answer takes one second.
    assert refused[0] + 5 <= after[0] <= after[3] < refused[0] + 6
