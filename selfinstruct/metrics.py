"""`--metrics-port`: the numbers of a run as Prometheus scrapes them, on this machine only.

Enters: Progress, whenever somebody asks. Leaves: text on http://127.0.0.1:PORT/metrics as long as
the `with` block lasts. Knows no key, no prompt and no row; addresses come without their query.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from selfinstruct.errors import UsageError
from selfinstruct.prices import usd
from selfinstruct.progress import Progress

# Loopback only: the numbers say what somebody works on and what it costs.
HOST = "127.0.0.1"
# Seconds that a scrape waits for the run's own thread before it shows what was seen last.
_WAIT = 5.0
_STATES = ("up", "on trial", "ejected", "refused", "not used now")


class Watcher(Protocol):
    """Who is told how it goes, as the pipeline has it."""

    def notice(self, text: str) -> None: ...

    def watch(self, look: Callable[[], Progress]) -> None: ...

    def decided(self) -> None: ...


class Metrics:
    """A watcher in front of another one, which hears everything, too. Use as a context manager.

    port: 0 lets the system choose; the address is said as a notice. Entering raises UsageError when
    the port is not to be had.
    """

    def __init__(self, watcher: Watcher, port: int) -> None:
        self._watcher = watcher
        self._port = port
        self._source = Source()

    def __enter__(self) -> Metrics:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._source)
        try:
            self._server, self._thread = start_http_server(self._port, HOST, registry)
        except OSError as error:
            raise UsageError(
                f"--metrics-port: cannot listen on {HOST}:{self._port}: {error.strerror}",
                hint="0 lets the system choose a free one",
            ) from None
        self.url = f"http://{HOST}:{self._server.server_port}/metrics"
        self._watcher.notice(f"metrics at {self.url}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def notice(self, text: str) -> None:
        self._watcher.notice(text)

    def watch(self, look: Callable[[], Progress]) -> None:
        """Called by the run in its own event loop."""
        self._source.follow(look, asyncio.get_running_loop())
        self._watcher.watch(look)

    def decided(self) -> None:
        self._watcher.decided()


class Source(Collector):
    """What the registry asks, in a thread of the HTTP server for each scrape."""

    def __init__(self) -> None:
        self._look: Callable[[], Progress] = Progress
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last = Progress()

    def follow(self, look: Callable[[], Progress], loop: asyncio.AbstractEventLoop) -> None:
        """Ask `look` in `loop` from now on."""
        self._look, self._loop = look, loop

    def collect(self) -> Iterator[Metric]:
        """All families at one moment of the run."""
        return families(self._moment())

    def _moment(self) -> Progress:
        """Progress as the run's own thread sees it: its dicts change under the feet of another."""
        loop = self._loop
        if loop is not None and loop.is_running():
            answer: concurrent.futures.Future[Progress] = concurrent.futures.Future()

            def look() -> None:
                # False: the scrape has given up waiting.
                if answer.set_running_or_notify_cancel():
                    answer.set_result(self._look())

            # RuntimeError: the loop was closed in this very moment.
            with contextlib.suppress(RuntimeError, TimeoutError):
                loop.call_soon_threadsafe(look)
                self._last = answer.result(timeout=_WAIT)
            answer.cancel()
        elif loop is not None:
            # The run is over, nothing changes any more.
            self._last = self._look()
        return self._last


def families(progress: Progress) -> Iterator[Metric]:
    """Progress as Prometheus's metric families."""
    yield from _rows(progress)
    yield from _requests(progress)
    yield from _endpoints(progress)
    gauges = [("selfinstruct_elapsed_seconds", "Seconds that this process has run.")]
    values: list[float] = [progress.elapsed]
    if progress.cost is not None:
        gauges.append(("selfinstruct_cost_usd", "US dollars that the whole run has cost so far."))
        values.append(usd(progress.cost))
    if progress.budget is not None:
        gauges.append(("selfinstruct_budget_usd", "US dollars that the whole run may cost."))
        values.append(usd(progress.budget))
    for (name, text), value in zip(gauges, values, strict=True):
        yield GaugeMetricFamily(name, text, value=value)


def _rows(progress: Progress) -> Iterator[Metric]:
    kept = GaugeMetricFamily("selfinstruct_rows_kept", "Rows kept so far.", labels=["lang"])
    wanted = GaugeMetricFamily("selfinstruct_rows_wanted", "Rows to keep.", labels=["lang"])
    for lang, (so_far, in_all) in progress.languages.items():
        kept.add_metric([lang], so_far)
        wanted.add_metric([lang], in_all)
    yield kept
    yield wanted
    yield CounterMetricFamily(
        "selfinstruct_candidates", "Candidates judged so far.", value=progress.candidates
    )
    rejected = CounterMetricFamily(
        "selfinstruct_rejected", "Candidates rejected so far.", labels=["reason"]
    )
    for reason, count in sorted(progress.rejected.items()):
        rejected.add_metric([reason], count)
    yield rejected


def _requests(progress: Progress) -> Iterator[Metric]:
    """What the whole run took, from each endpoint and model."""
    labels = ["endpoint", "model"]
    sent = CounterMetricFamily("selfinstruct_requests_sent", "Attempts sent.", labels=labels)
    paid = CounterMetricFamily("selfinstruct_requests_paid", "200s received.", labels=labels)
    failed = CounterMetricFamily("selfinstruct_requests_failed", "Attempts failed.", labels=labels)
    tokens = CounterMetricFamily(
        "selfinstruct_tokens",
        "Tokens by the provider's own count; cached ones are part of the prompt's.",
        labels=[*labels, "kind"],
    )
    for place in progress.endpoints:
        who = [place.url or "embedded", place.model]
        sent.add_metric(who, place.sent)
        paid.add_metric(who, place.paid)
        failed.add_metric(who, place.failed)
        tokens.add_metric([*who, "prompt"], place.prompt_tokens)
        tokens.add_metric([*who, "cached"], place.cached_tokens)
        tokens.add_metric([*who, "completion"], place.completion_tokens)
    yield from (sent, paid, failed, tokens)


def _endpoints(progress: Progress) -> Iterator[Metric]:
    """How each endpoint is doing now."""
    labels = ["endpoint", "model"]
    in_flight = GaugeMetricFamily(
        "selfinstruct_requests_in_flight", "Requests without an answer yet.", labels=labels
    )
    limit = GaugeMetricFamily(
        "selfinstruct_requests_in_flight_limit", "Requests that may be in flight.", labels=labels
    )
    state = GaugeMetricFamily(
        "selfinstruct_endpoint_state",
        "1 for the state that the endpoint is in, 0 for the others.",
        labels=[*labels, "state"],
    )
    for place in progress.endpoints:
        who = [place.url or "embedded", place.model]
        in_flight.add_metric(who, place.in_flight)
        limit.add_metric(who, place.limit)
        for name in _STATES:
            state.add_metric([*who, name], place.state == name)
    yield from (in_flight, limit, state)
