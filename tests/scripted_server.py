"""An OpenAI-compatible HTTP server that follows a script and keeps a ledger of what it sold.

    with ServerProcess(Script(latency=0.2, slots=64, faults={"429": 0.05})) as server:
        ...  # a client against server.base_url, with any key
        assert server.ledger().sold <= 25

It runs in its own process: killing a client or measuring its CPU time says nothing about the
server. The ledger is the dearest provider's: a request is served and charged even when its client
has left, and every 200 is sold, whatever became of its body. Knows nothing of selfinstruct.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tests.scripted_text import (
    BAD_JSON,
    CHAT_ONLY,
    COMPLETIONS_ONLY,
    ERRORS,
    FAULTS,
    NO_KEY,
    QUICK_WIRE_FAULTS,
    Failure,
    Script,
    dump,
    latency_of,
    masked,
    models_body,
    pick_fault,
    prompt_hash,
    prompt_of,
    refused_param,
    sale,
    words_in,
)

__all__ = ["FAULTS", "Entry", "Ledger", "PromptCount", "Script", "ServerProcess", "prompt_hash"]

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
LORIS_INTERVAL = 0.05
LORIS_LENGTH = 1 << 30
UNSET_LIMIT = 10_000
REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Site Overloaded"}


# ---------------------------------------------------------------- the ledger


@dataclass(slots=True)
class Entry:
    """One request. `started` and `ended` are time.monotonic(), the same clock in every process.

    kind: "ok", a fault, or what refused it. status 0: no answer. complete: the whole answer was
    handed to a client that was still there.
    """

    order: int
    method: str
    path: str
    prompt: str
    seed: int | None
    authorization: str
    started: float
    ended: float | None = None
    kind: str = ""
    status: int = 0
    tokens: int = 0
    complete: bool = False


class PromptCount(NamedTuple):
    """Of one prompt hash: received, answered with 200, of these completely written."""

    requests: int
    sold: int
    complete: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """The totals. `serving` counts those that hold a slot, `in_flight` the queue too.

    cpu_seconds: of the server process since it began, resets or not.
    """

    requests: int
    sold: int
    complete: int
    tokens: int
    in_flight: int
    peak_in_flight: int
    peak_serving: int
    cpu_seconds: float
    kinds: Mapping[str, int]
    paths: Mapping[str, int]
    prompts: Mapping[str, PromptCount]


@dataclass(slots=True)
class Book:
    """The ledger as the server writes it."""

    entries: list[Entry] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    decided: int = 0
    sold: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    serving: int = 0
    peak_serving: int = 0
    watchers: list[tuple[Callable[[], bool], asyncio.Future[None]]] = field(default_factory=list)

    def opened(self, request: Request) -> Entry:
        entry = Entry(
            order=len(self.entries),
            method=request.method,
            path=request.path,
            prompt=prompt_hash(request.prompt) if request.prompt else "",
            seed=request.body.get("seed"),
            authorization=request.authorization,
            started=time.monotonic(),
        )
        self.entries.append(entry)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self._tell()
        return entry

    def answered(self, entry: Entry, status: int, tokens: int) -> None:
        entry.status, entry.tokens = status, tokens
        if is_sold(entry):
            self.sold += 1
            self._tell()

    def closed(self, entry: Entry) -> None:
        entry.ended = time.monotonic()
        self.in_flight -= 1
        self._tell()

    def until(self, condition: Callable[[], bool]) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        self.watchers.append((condition, future))
        self._tell()
        return future

    def _tell(self) -> None:
        if not self.watchers:
            return
        for condition, future in self.watchers:
            if not future.done() and condition():
                future.set_result(None)
        self.watchers = [w for w in self.watchers if not w[1].done()]

    def totals(self) -> dict[str, Any]:
        prompts: dict[str, list[int]] = {}
        for e in self.entries:
            if e.prompt:
                count = prompts.setdefault(e.prompt, [0, 0, 0])
                count[0] += 1
                count[1] += is_sold(e)
                count[2] += is_sold(e) and e.complete
        return {
            "requests": len(self.entries),
            "sold": self.sold,
            "complete": sum(count[2] for count in prompts.values()),
            "tokens": sum(e.tokens for e in self.entries),
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "peak_serving": self.peak_serving,
            "cpu_seconds": time.process_time(),
            "kinds": Counter(e.kind for e in self.entries if e.kind),
            "paths": Counter(e.path for e in self.entries),
            "prompts": prompts,
        }


def is_sold(entry: Entry) -> bool:
    return entry.status == 200 and entry.path in (COMPLETIONS, CHAT)


# ---------------------------------------------------------------- requests and answers


class Request(NamedTuple):
    method: str
    path: str
    authorization: str
    close: bool
    body: dict[str, Any]
    parsed: bool
    prompt: str


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The next request on the connection. asyncio.IncompleteReadError: the client has left."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    method, target, version = lines[0].split(" ", 2)
    authorization, length, close = "", 0, version == "HTTP/1.0"
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name == "content-length":
            length = int(value)
        elif name == "authorization":
            authorization = value.strip()
        elif name == "connection":
            close = value.strip().lower() == "close"
    raw = await reader.readexactly(length) if length else b""
    try:
        body: Any = json.loads(raw) if raw else {}
    except ValueError:
        body = None
    parsed = isinstance(body, dict)
    fields: dict[str, Any] = body if parsed else {}
    path = target.partition("?")[0]
    return Request(method, path, authorization, close, fields, parsed, prompt_of(fields))


Manner = Literal["whole", "short_body", "reset", "slow_loris", "hang", "reset_before"]
MANNERS: dict[str, Manner] = {
    "short_body": "short_body",
    "reset": "reset",
    "slow_loris": "slow_loris",
    "hang": "hang",
    "reset_before": "reset_before",
}


class Answer(NamedTuple):
    """What goes back, and in which manner."""

    kind: str
    status: int
    content: bytes = b""
    tokens: int = 0
    type: str = "application/json"
    headers: tuple[str, ...] = ()
    manner: Manner = "whole"

    def head(self, length: int, *, close: bool) -> bytes:
        lines = [
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}",
            f"content-type: {self.type}",
            f"content-length: {length}",
            *self.headers,
        ]
        if close:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Bucket:
    """Tokens for `rpm`: refilled evenly, at most `burst` saved up."""

    def __init__(self, rpm: float, burst: int) -> None:
        self._per_second = rpm / 60
        self._burst = burst
        self._level = float(burst)
        self._at = time.monotonic()

    def take(self) -> float:
        """0 when a token was there, else the seconds until the next one."""
        now = time.monotonic()
        self._level = min(self._burst, self._level + (now - self._at) * self._per_second)
        self._at = now
        if self._level < 1:
            return (1 - self._level) / self._per_second
        self._level -= 1
        return 0.0

    @property
    def level(self) -> int:
        return int(self._level)


class Model:
    """Decides on the answer to each request; waits for slots and latency, knows no sockets."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._slots = asyncio.Semaphore(script.slots or sys.maxsize)
        self._bucket = Bucket(script.rpm, script.rpm_burst) if script.rpm else None

    async def answer(self, request: Request, entry: Entry, book: Book) -> Answer:
        if refusal := self._refusal(request):
            return refusal
        order, occurrence = book.decided, book.seen[entry.prompt]
        book.decided += 1
        book.seen[entry.prompt] += 1
        kind = pick_fault(self.script, order, entry.prompt, occurrence)
        # On record before the wait, so that a request that is cut short still says what it was.
        entry.kind = kind
        if kind in ERRORS:
            return self._error(kind, ERRORS[kind], request)
        if kind in QUICK_WIRE_FAULTS:
            return self._quick(kind, request)
        async with self._slots:
            book.serving += 1
            book.peak_serving = max(book.peak_serving, book.serving)
            try:
                if seconds := latency_of(self.script, entry.prompt, occurrence):
                    await asyncio.sleep(seconds)
                return self._sold(kind, request)
            finally:
                book.serving -= 1

    def _sold(self, kind: str, request: Request) -> Answer:
        good = sale(self.script, kind, request.path == CHAT, request.prompt, request.body)
        manner = MANNERS.get(kind, "whole")
        headers = self._limits()
        return Answer(kind, 200, good.content, good.tokens, good.type, headers, manner)

    def _quick(self, kind: str, request: Request) -> Answer:
        if kind == "redirect":
            return Answer(kind, 307, headers=(f"location: /elsewhere{request.path}",))
        return Answer(kind, 0, manner=MANNERS[kind])

    def _refusal(self, request: Request) -> Answer | None:
        """What refuses the request before any fault, in the order in which OpenAI checks."""
        script = self.script
        key = request.authorization.removeprefix("Bearer ").strip()
        if script.api_key is not None and key != script.api_key:
            return self._error("401", ERRORS["401"] if key else NO_KEY, request)
        if (request.method, request.path) == ("GET", "/v1/models"):
            return Answer("models", 200, models_body(script))
        if request.method != "POST" or request.path not in (COMPLETIONS, CHAT):
            return self._error("route_404", ERRORS["route_404"], request)
        if not request.parsed:
            return self._error("bad_json", BAD_JSON, request)
        if missing := self._missing_api(request):
            return missing
        if script.check_model and request.body.get("model") != script.model:
            return self._error("model_404", ERRORS["model_404"], request)
        if refused := refused_param(script, request.body):
            return self._error("refused_param", refused, request)
        if self._bucket and (wait := self._bucket.take()):
            return self._error("rpm", ERRORS["429"], request, wait)
        return None

    def _missing_api(self, request: Request) -> Answer | None:
        has = {"both": request.path, "completions": COMPLETIONS, "chat": CHAT}[self.script.api]
        if has == request.path:
            return None
        if self.script.missing_api == "vllm":
            return Answer("missing_api", 404, dump({"detail": "Not Found"}))
        failure = CHAT_ONLY if self.script.api == "chat" else COMPLETIONS_ONLY
        return self._error("missing_api", failure, request)

    def _error(
        self, kind: str, failure: Failure, request: Request, wait: float | None = None
    ) -> Answer:
        seconds = self.script.retry_after if wait is None else wait
        headers: tuple[str, ...] = ()
        if failure is ERRORS["429"] and seconds is not None:
            headers = (f"retry-after: {self._retry_after(seconds)}",)
        content = failure.body(
            model=request.body.get("model", self.script.model),
            method=request.method,
            path=request.path,
            key=masked(request.authorization.removeprefix("Bearer ").strip()),
            limit=f"{self._limit():g}",
            wait=f"{seconds or 0:.3g}",
            prompt_tokens=words_in(request.prompt),
        )
        return Answer(kind, failure.status, content, headers=headers + self._limits())

    def _retry_after(self, seconds: float) -> str:
        if self.script.retry_after_date:
            return formatdate(math.ceil(time.time() + seconds), usegmt=True)
        return f"{seconds:.3f}".rstrip("0").rstrip(".")

    def _limit(self) -> float:
        return self.script.rpm or UNSET_LIMIT

    def _limits(self) -> tuple[str, ...]:
        if not self.script.ratelimit_headers:
            return ()
        limit = self._limit()
        left = self._bucket.level if self._bucket else limit - 1
        return (
            f"x-ratelimit-limit-requests: {limit:g}",
            f"x-ratelimit-remaining-requests: {left:g}",
            f"x-ratelimit-reset-requests: {60 / limit:.3g}s",
        )


# ---------------------------------------------------------------- the wire


def abort(writer: asyncio.StreamWriter) -> None:
    """End the connection with a RST instead of a FIN."""
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    writer.transport.abort()


async def until_gone(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One blank per interval, until the client has had enough."""
    gone = asyncio.ensure_future(until_gone(reader))
    try:
        while not gone.done():
            writer.write(b" ")
            await asyncio.wait((gone,), timeout=LORIS_INTERVAL)
        gone.result()
    finally:
        gone.cancel()


async def deliver(
    answer: Answer,
    entry: Entry,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    close: bool,
) -> bool:
    """Write the answer in its manner; True when the connection can be used again."""
    if answer.manner == "hang":
        await until_gone(reader)
        return False
    if answer.manner == "reset_before":
        abort(writer)
        return False
    if answer.manner == "slow_loris":
        writer.write(answer.head(LORIS_LENGTH, close=True))
        await drip(reader, writer)
        return False
    gone, content = reader.at_eof(), answer.content
    head = answer.head(len(content), close=close or answer.manner == "short_body")
    if answer.manner == "whole":
        writer.write(head + content)
        await writer.drain()
        entry.complete = not gone and not writer.transport.is_closing()
        return not close
    writer.write(head + content[: len(content) // 2])
    await writer.drain()
    if answer.manner == "reset":
        abort(writer)
    return False


class Listener:
    """A port that can be closed, with all its connections, and opened again."""

    def __init__(
        self,
        exchange: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, bool]],
    ) -> None:
        self._exchange = exchange
        self._socket = reserved(0)
        self.port: int = self._socket.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._connection, sock=self._socket, limit=1 << 20, backlog=4096
            )

    async def close(self) -> None:
        """Refuse connections. The port stays bound: nobody else can get it meanwhile."""
        await self.shut()
        self._socket = reserved(self.port)

    async def shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._socket.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted in the very moment of closing
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        # High water 0: drain() then returns when the kernel has all of it.
        writer.transport.set_write_buffer_limits(0)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()


def reserved(port: int) -> socket.socket:
    """A bound socket that does not listen yet: connecting to it is refused."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, port))
    sock.setblocking(False)
    return sock


class Server:
    """The API on one port, its control on another, one ledger."""

    def __init__(self, script: Script) -> None:
        self._book = Book()
        self._model = Model(script)
        self.api = Listener(self._serve)
        self.control = Listener(self._obey)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await read_request(reader)
        book = self._book
        entry = book.opened(request)
        try:
            answer = await self._model.answer(request, entry, book)
            entry.kind = answer.kind
            book.answered(entry, answer.status, answer.tokens)
            return await deliver(answer, entry, reader, writer, close=request.close)
        finally:
            book.closed(entry)

    async def _obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await read_request(reader)
        result = await self._command(request.path.removeprefix("/_control/"), request.body)
        answer = Answer("control", 200, dump(result))
        writer.write(answer.head(len(answer.content), close=True) + answer.content)
        await writer.drain()
        return False

    async def _command(self, verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "reset":
            self._book = Book()
        if verb in ("reset", "script"):
            given = arguments.get("script")
            self._model = Model(Script.from_json(given) if given else self._model.script)
        elif verb == "close":
            await self.api.close()
        elif verb == "open":
            await self.api.open()
        elif verb == "wait":
            await self._wait(**arguments)
        elif verb == "entries":
            return [asdict(entry) for entry in self._book.entries]
        return self._book.totals()

    async def _wait(self, requests: int, sold: int, in_flight: int, idle: bool) -> None:
        book = self._book
        await book.until(
            lambda: (
                len(book.entries) >= requests
                and book.sold >= sold
                and book.in_flight >= in_flight
                and not (idle and book.in_flight)
            )
        )


async def serve(script: Script) -> None:
    """Announce the ports on stdout, serve until stdin ends."""
    server = Server(script)
    ended = asyncio.Event()

    def on_stdin() -> None:
        if not os.read(0, 4096):
            ended.set()

    await server.api.open()
    await server.control.open()
    loop = asyncio.get_running_loop()
    loop.add_reader(0, on_stdin)
    ports = {"port": server.api.port, "control": server.control.port}
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await ended.wait()
    loop.remove_reader(0)
    await server.api.shut()
    await server.control.shut()


def main() -> None:
    """`--json-config`: the first line of stdin is the script; the end of stdin ends the server."""
    # Ctrl-C is for the client; the server ends when its stdin does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    script = Script()
    if "--json-config" in sys.argv[1:]:
        script = Script.from_json(json.loads(sys.stdin.buffer.readline()))
    asyncio.run(serve(script))


# ---------------------------------------------------------------- the process, from outside


class ServerProcess:
    """The server in a process of its own, for as long as the `with` block or this process lives."""

    def __init__(self, script: Script | None = None, *, python_flags: tuple[str, ...] = ()) -> None:
        self.script = script or Script()
        self._flags = python_flags
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._control_port = 0

    def __enter__(self) -> ServerProcess:
        process = subprocess.Popen(
            [sys.executable, *self._flags, "-m", "tests.scripted_server", "--json-config"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(dump(self.script.to_json()) + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self._end()
            raise RuntimeError("the scripted server did not start; see stderr")
        ports = json.loads(line)
        self.port, self._control_port = ports["port"], ports["control"]
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How the process ended: 0 after a clean shutdown."""
        assert self._process is not None
        return self._process.poll()

    def ledger(self) -> Ledger:
        return _ledger(self._control("ledger"))

    def entries(self) -> list[Entry]:
        """Every request, in order of arrival."""
        return [Entry(**entry) for entry in self._control("entries")]

    def reset(self, script: Script | None = None) -> None:
        """A new ledger, and a new script if given; occurrences count from 0 again."""
        self.use(script, verb="reset")

    def use(self, script: Script | None, *, verb: Literal["script", "reset"] = "script") -> None:
        """A new script for the requests to come; the ledger goes on."""
        self.script = script or self.script
        self._control(verb, script=self.script.to_json())

    def close(self) -> None:
        """Drop every connection and refuse new ones; ledger and control stay."""
        self._control("close")

    def reopen(self) -> None:
        """Listen again, on the same port."""
        self._control("open")

    def wait(
        self,
        *,
        requests: int = 0,
        sold: int = 0,
        in_flight: int = 0,
        idle: bool = False,
        timeout: float = 30,
    ) -> Ledger:
        """The ledger as soon as all of these are reached; TimeoutError when they are not."""
        wanted = {"requests": requests, "sold": sold, "in_flight": in_flight, "idle": idle}
        return _ledger(self._control("wait", timeout=timeout, **wanted))

    def _control(self, verb: str, *, timeout: float = 30, **arguments: object) -> Any:
        connection = http.client.HTTPConnection(HOST, self._control_port, timeout=timeout)
        try:
            connection.request("POST", f"/_control/{verb}", dump(arguments))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def _ledger(totals: dict[str, Any]) -> Ledger:
    totals["prompts"] = {name: PromptCount(*c) for name, c in totals["prompts"].items()}
    return Ledger(**totals)


if __name__ == "__main__":
    main()
