"""A server with OpenAI's /v1/files and /v1/batches on a real socket, and a ledger of what it sold.

    with FakeBatches(Script(), endings=[Ending("expired", answered=3)]) as fake:
        ...  # a client against fake.base_url
        assert max(fake.sold().values()) == 1

Each look at a batch moves it on by one status; its requests are answered, and sold, when it ends.
The texts are those of the scripted server, so an online run against that gives the same rows.
`troubles` break single calls. It answers /v1/completions and /v1/chat/completions too, to show what
an online run would have sent. Knows nothing of selfinstruct.
"""

from __future__ import annotations

import email
import email.policy
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.scripted_text import ERRORS, OK, Script, dump, prompt_of, refused_param, sale, words_in

CHAT = "/v1/chat/completions"
STATUSES = ("validating", "in_progress", "finalizing")
LONG = 60.0
PAGE = 3  # So few that a list soon has several pages.


@dataclass(frozen=True)
class Ending:
    """How a batch ends. answered: so many of its requests, in order, None for all; the others have
    a `batch_expired` line, or none after a cancellation.

    faults: index of a request → an error or sale kind of the scripted texts, or "silent" (no
    line), "lost_line" (no line, but sold and counted), "garbage" (a line that is no JSON),
    "no_response" (an error in place of a response).
    extra: whole lines at the end of the output file. errors: what validation found.
    """

    status: str = "completed"
    answered: int | None = None
    faults: Mapping[int, str] = field(default_factory=dict)
    extra: tuple[bytes, ...] = ()
    errors: tuple[Mapping[str, Any], ...] = ()


@dataclass
class FakeBatch:
    """A batch as the server keeps it."""

    id: str
    file: str
    endpoint: str
    metadata: Mapping[str, str]
    requests: list[dict[str, Any]]
    ending: Ending
    looks: int = 0
    status: str = "validating"
    output: str | None = None
    error: str | None = None
    completed: int = 0
    sold: Counter[str] = field(default_factory=Counter)

    def shown(self, *, metadata: bool) -> dict[str, Any]:
        errors = {"object": "list", "data": list(self.ending.errors)}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": errors if self.status == "failed" else None,
            "input_file_id": self.file,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output,
            "error_file_id": self.error,
            "created_at": 1_700_000_000,
            "request_counts": {
                "total": len(self.requests),
                "completed": self.completed,
                "failed": 0,
            },
            "metadata": dict(self.metadata) if metadata else None,
        }


class Reset(Exception):
    """The connection is to be reset."""


class FakeBatches:
    """The server, in threads of this process.

    endings: of the first batches; all later ones complete. troubles: (route, n-th call of it) →
    "500", "401", "reset" (nothing done), "lost" (done, then reset), "html", "redirect". Routes:
    upload, create, look, cancel, list, content. token_limit: the most requests of a batch that
    passes validation. keeps_metadata: False for servers that drop it. held: batches do not end
    until `release`.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        endings: Sequence[Ending] = (),
        troubles: Mapping[tuple[str, int], str] | None = None,
        token_limit: int | None = None,
        keeps_metadata: bool = True,
        held: bool = False,
    ) -> None:
        self.script = script or Script()
        self.endings = list(endings)
        self.troubles = dict(troubles or {})
        self.token_limit = token_limit
        self.keeps_metadata = keeps_metadata
        self.held = held
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, FakeBatch] = {}
        self.calls: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.online: list[dict[str, Any]] = []
        self._changed = threading.Condition()

    def __enter__(self) -> FakeBatches:
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # ── for tests ────────────────────────────────────────────────────────────────────────────

    def sold(self) -> Counter[str]:
        """How often each request was answered and charged, by custom_id."""
        with self._changed:
            return sum((batch.sold for batch in self.batches.values()), Counter())

    def wait(self, condition: Callable[[FakeBatches], bool]) -> None:
        """Until `condition` holds; TimeoutError when it never does."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), LONG):
                raise TimeoutError(dict(self.calls))

    def release(self) -> None:
        """Let held batches end."""
        with self._changed:
            self.held = False

    # ── the API ──────────────────────────────────────────────────────────────────────────────

    def answer(self, method: str, target: str, kind: str, body: bytes) -> tuple[int, bytes]:
        """(status, content). Raises Reset."""
        parts = urlsplit(target)
        route, names = _route(method, parts.path)
        with self._changed:
            self.calls[route] += 1
            self._changed.notify_all()
            trouble = self.troubles.get((route, self.calls[route]), "")
            if trouble == "reset":
                raise Reset
            if trouble in ERRORS:
                return ERRORS[trouble].status, ERRORS[trouble].body(model="m", key="sk-...")
            if trouble == "redirect":
                return 307, b""
            if trouble == "html":
                return 200, b"<html>Sign in</html>"
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            answer = self._do(route, names, query, kind, body)
            if trouble == "lost":
                raise Reset
            return answer

    def _do(
        self, route: str, name: str, query: Mapping[str, str], kind: str, body: bytes
    ) -> tuple[int, bytes]:
        if route == "upload":
            return 200, dump(self._upload(kind, body))
        if route == "create":
            return self._create(json.loads(body))
        if route == "list":
            return 200, dump(self._list(query))
        if route == "online":
            return self._serve(name, json.loads(body))
        if route == "content" and name in self.files:
            return 200, self.files[name]
        if route in ("look", "cancel") and name in self.batches:
            batch = self.batches[name]
            if route == "look":
                self._move(batch)
            elif batch.status in STATUSES:
                batch.status = "cancelling"
            return 200, dump(batch.shown(metadata=self.keeps_metadata))
        return 404, dump({"error": {"message": f"No such thing: {name}", "type": "invalid"}})

    def _upload(self, kind: str, body: bytes) -> dict[str, Any]:
        message = email.message_from_bytes(
            b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP
        )
        fields = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in message.walk()
            if not part.is_multipart()
        }
        assert fields["purpose"] == b"batch", fields
        content = fields["file"]
        assert isinstance(content, bytes)
        return {"id": self._store(content), "object": "file", "purpose": "batch"}

    def _store(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    def _create(self, body: Mapping[str, Any]) -> tuple[int, bytes]:
        assert body["completion_window"] == "24h"
        requests = [json.loads(raw) for raw in self.files[body["input_file_id"]].splitlines()]
        assert all(
            request["url"] == body["endpoint"] and request["method"] == "POST"
            for request in requests
        )
        assert len({request["custom_id"] for request in requests}) == len(requests)
        number = len(self.batches)
        ending = self.endings[number] if number < len(self.endings) else Ending()
        if self.token_limit is not None and len(requests) > self.token_limit:
            message = "Enqueued token limit reached. Please try again once some are done."
            ending = Ending(
                "failed", errors=({"code": "token_limit_exceeded", "message": message},)
            )
        batch = FakeBatch(
            f"batch_{number}",
            body["input_file_id"],
            body["endpoint"],
            body.get("metadata") or {},
            requests,
            ending,
        )
        self.batches[batch.id] = batch
        return 200, dump(batch.shown(metadata=self.keeps_metadata))

    def _list(self, query: Mapping[str, str]) -> dict[str, Any]:
        newest_first = list(reversed(self.batches.values()))
        ids = [batch.id for batch in newest_first]
        begin = ids.index(query["after"]) + 1 if "after" in query else 0
        page = newest_first[begin : begin + PAGE]
        return {
            "object": "list",
            "data": [batch.shown(metadata=self.keeps_metadata) for batch in page],
            "has_more": begin + PAGE < len(ids),
        }

    def _move(self, batch: FakeBatch) -> None:
        """What one more look sees."""
        if batch.status in STATUSES:
            batch.looks += 1
            ending = batch.ending
            if batch.looks <= 1 or (ending.status != "failed" and self.held):
                batch.status = STATUSES[min(batch.looks, 2) - 1]
            elif ending.status == "failed":
                batch.status = "failed"
            elif batch.looks <= len(STATUSES):
                batch.status = STATUSES[batch.looks - 1]
            else:
                self._end(batch, ending.status)
        elif batch.status == "cancelling":
            self._end(batch, "cancelled")

    def _end(self, batch: FakeBatch, status: str) -> None:
        output: list[bytes] = []
        errors: list[bytes] = []
        lost = 0
        for index, request in enumerate(batch.requests):
            fault = batch.ending.faults.get(index, OK)
            late = batch.ending.answered is not None and index >= batch.ending.answered
            if late and status == "expired":
                errors.append(_line(request, None, {"code": "batch_expired", "message": "late"}))
            elif late or fault == "silent":
                continue
            elif fault == "lost_line":
                lost += 1
                batch.sold[request["custom_id"]] += 1
            elif fault == "garbage":
                output.append(b'{"id": "batch_req_')
                batch.sold[request["custom_id"]] += 1
            elif fault == "no_response":
                errors.append(_line(request, None, {"code": "server_error", "message": "sorry"}))
            else:
                code, content = self._reply(batch.endpoint, request["body"], fault)
                batch.sold[request["custom_id"]] += code == 200
                lines = output if code == 200 else errors
                lines.append(_line(request, (code, json.loads(content)), None))
        batch.completed = len(output) + lost
        # Any order will do, says the documentation.
        output.reverse()
        output.extend(batch.ending.extra)
        batch.output = self._store(b"".join(raw + b"\n" for raw in output)) if output else None
        batch.error = self._store(b"".join(raw + b"\n" for raw in errors)) if errors else None
        batch.status = status

    def _reply(self, path: str, body: Mapping[str, Any], fault: str) -> tuple[int, bytes]:
        prompt = prompt_of(body)
        failure = refused_param(self.script, body) or ERRORS.get(fault)
        if self.script.api == "chat" and path != CHAT:
            message = "This is a chat model and not supported in the v1/completions endpoint."
            return 404, dump({"error": {"message": message, "type": "invalid_request_error"}})
        if failure:
            facts = {"model": body.get("model"), "prompt_tokens": words_in(prompt)}
            return failure.status, failure.body(**facts)
        return 200, sale(self.script, fault, path == CHAT, prompt, body).content

    def _serve(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self.online.append(body)
        return self._reply(path, body, OK)


def _line(
    request: Mapping[str, Any], answer: tuple[int, Any] | None, error: Mapping[str, str] | None
) -> bytes:
    response = None
    if answer:
        response = {"status_code": answer[0], "request_id": "req_1", "body": answer[1]}
    custom_id = request["custom_id"]
    return dump({"id": "r", "custom_id": custom_id, "response": response, "error": error})


def _route(method: str, path: str) -> tuple[str, str]:
    """(route, the id in it)"""
    parts = path.removeprefix("/v1/").split("/")
    if (method, path) == ("POST", "/v1/files"):
        return "upload", ""
    if path == "/v1/batches":
        return ("create" if method == "POST" else "list"), ""
    if parts[0] == "files" and parts[-1] == "content":
        return "content", parts[1]
    if parts[0] == "batches":
        return ("cancel" if parts[-1] == "cancel" else "look"), parts[1]
    if path.endswith("/completions"):
        return "online", path
    return "unknown", path


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is part of the test."""


class _Handler(BaseHTTPRequestHandler):
    fake: ClassVar[FakeBatches]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.fake.keys.add(self.headers.get("authorization", ""))
        kind = self.headers.get("content-type", "")
        try:
            status, content = self.fake.answer(self.command, self.path, kind, body)
        except Reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("content-type", "application/json")
        if status == 307:
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""
