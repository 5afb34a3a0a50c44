"""Waiting for a provider: calls in threads, one retry layer, and signals that end all of it.

Enters: blocking calls. Leaves: their results, or Interrupted, or GaveUp. Knows nothing of batches.
"""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from selfinstruct.breaker import Breaker
from selfinstruct.errors import GaveUp, Interrupted, RequestFailed, UsageError

T = TypeVar("T")

# Seconds between two looks: a batch takes minutes at the least, hours as a rule.
POLL, LONGEST_POLL = 30.0, 300.0
POLL_VARIABLE = "SELFINSTRUCT_BATCH_POLL"
# A wait of hours must outlive an outage that a request of seconds need not.
_PATIENCE = 10
_BACKOFF, _BACKOFF_CEILING = 0.5, 30.0


def poll_seconds(environment: Mapping[str, str]) -> tuple[float, float]:
    """(first, longest) wait between two looks; SELFINSTRUCT_BATCH_POLL sets both. Raises UsageError
    when it is no positive number of seconds."""
    text = environment.get(POLL_VARIABLE)
    if not text:
        return POLL, LONGEST_POLL
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise UsageError(f"{POLL_VARIABLE}: must be seconds between two looks, not {text!r}")
    return seconds, seconds


class Waiting:
    """Use as a context manager inside an event loop. patience: seconds; interrupted: the sentence
    that an interruption by the named signal ends with. The first signal ends every wait but that
    for a call which must finish; the second ends that as well."""

    def __init__(self, patience: float, interrupted: Callable[[str], str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._breaker = Breaker(_PATIENCE * patience, self._loop.time())
        self._said = interrupted
        self._leave = asyncio.Event()
        self._abandon = asyncio.Event()
        self._number = signal.SIGINT

    def __enter__(self) -> Waiting:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._on_signal, number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(number)

    @property
    def interrupted(self) -> bool:
        """A signal came; a call may have been left in its thread."""
        return self._leave.is_set()

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """A call that can be made again; a signal leaves it."""
        result: T = await self.retrying(self.thread, function, *arguments)
        return result

    async def retrying(self, function: Callable[..., Any], *arguments: object) -> Any:
        """An async function, called until it succeeds or fails for good. Raises GaveUp."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(again), wait=pause, sleep=self.rest, reraise=True
        )
        return await retrying(self._counted, function, *arguments)

    async def _counted(self, function: Callable[..., Any], *arguments: object) -> Any:
        try:
            result = await function(*arguments)
        except RequestFailed as error:
            if why := self._breaker.failed(self._loop.time(), error):
                raise GaveUp(
                    why,
                    hint="the same command goes on from here; batches that are submitted go on",
                ) from None
            raise
        self._breaker.succeeded(self._loop.time())
        return result

    async def thread(
        self, function: Callable[..., T], *arguments: object, finish: bool = False
    ) -> T:
        """A blocking call in a thread that no exit waits for. `finish`: the first signal waits for
        its end. Raises Interrupted."""
        if not finish:
            self.check_signal()
        future: asyncio.Future[T] = self._loop.create_future()

        def tell(setter: Callable[[Any], None], value: object) -> None:
            if not future.done():
                setter(value)

        def work() -> None:
            try:
                outcome: tuple[Callable[[Any], None], object]
                outcome = future.set_result, function(*arguments)
            except Exception as error:  # noqa: BLE001 - raised again where it is awaited
                outcome = future.set_exception, error
            with suppress(RuntimeError):  # The loop was left in the meantime.
                self._loop.call_soon_threadsafe(tell, *outcome)

        threading.Thread(target=work, daemon=True).start()
        event = self._abandon if finish else self._leave
        left = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((future, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
        if future.done():
            return future.result()
        future.cancel()
        raise self._interrupted()

    async def rest(self, seconds: float) -> None:
        """Sleep; a signal ends it. Raises Interrupted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leave.wait()
        self.check_signal()

    def check_signal(self) -> None:
        """Raises Interrupted when a signal came."""
        if self._leave.is_set():
            raise self._interrupted()

    def _interrupted(self) -> Interrupted:
        name = signal.Signals(self._number).name
        return Interrupted(self._said(name), signal_number=self._number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._leave.is_set():
            self._abandon.set()
        self._number = number
        self._leave.set()


def again(error: BaseException) -> bool:
    """tenacity's one predicate: only our own errors, only while it can help."""
    return isinstance(error, RequestFailed) and error.retryable


def pause(state: RetryCallState) -> float:
    """Seconds before the next attempt: exponential with jitter, at least Retry-After."""
    error = state.outcome.exception() if state.outcome else None
    ceiling = min(_BACKOFF_CEILING, _BACKOFF * 2 ** min(10, state.attempt_number - 1))
    jitter = random.uniform(ceiling / 2, ceiling)
    asked = error.retry_after if isinstance(error, RequestFailed) else None
    return max(jitter, asked or 0.0)
