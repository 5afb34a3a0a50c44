"""OpenAI's Batch API at any base URL: upload, create, look, list, cancel, download.

Enters: bytes of requests, ids. Leaves: what the provider says of a batch, the lines of its result
files, or one of our own errors (DESIGN §4). One call at a time, each blocking. Knows no retry, no
journal and no prompt. Shapes: https://platform.openai.com/docs/api-reference/batch
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from selfinstruct.config import public_url
from selfinstruct.errors import (
    Malformed,
    ProviderRefused,
    RateLimited,
    RequestFailed,
    SelfInstructError,
    ServerFailed,
    TransportFailed,
    UsageError,
)
from selfinstruct.providers.dialect import Dialect
from selfinstruct.providers.refusals import Answered, redact, refusal
from selfinstruct.records import Api

if TYPE_CHECKING:
    import openai

# What one batch takes: requests, and bytes of its input file (200 MB, with some left over).
MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000
TERMINAL = frozenset({"failed", "completed", "expired", "cancelled"})
# Under this key a batch's metadata holds our token.
TOKEN = "selfinstruct"
_NEVER_RUN = frozenset({"batch_expired", "batch_cancelled"})
# Seconds: to reach the host, and between two bytes of an answer.
_CONNECT_TIMEOUT, _READ_TIMEOUT = 15.0, 120.0
_PAGE = 100
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_Path = Literal["/v1/chat/completions", "/v1/completions"]


@dataclass(frozen=True)
class Seen:
    """A batch as the provider described it last. errors: what its validation found."""

    id: str
    status: str
    completed: int
    failed: int
    total: int
    input_file: str
    output_file: str
    error_file: str
    token: str
    errors: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, data: Any) -> Seen:
        """Raises Malformed when `data` is no batch."""
        name = data.get("id") if isinstance(data, dict) else None
        if not isinstance(name, str) or not name.isprintable() or not name:
            raise Malformed("the answer is not a batch", status=200)
        counts = _mapping(data.get("request_counts"))
        errors = _mapping(data.get("errors")).get("data")
        return cls(
            id=name,
            status=redact(str(data.get("status")), ""),
            completed=_count(counts, "completed"),
            failed=_count(counts, "failed"),
            total=_count(counts, "total"),
            input_file=str(data.get("input_file_id") or ""),
            output_file=str(data.get("output_file_id") or ""),
            error_file=str(data.get("error_file_id") or ""),
            token=str(_mapping(data.get("metadata")).get(TOKEN) or ""),
            errors=tuple(e for e in errors if isinstance(e, dict))
            if isinstance(errors, list)
            else (),
        )

    @property
    def ended(self) -> bool:
        """Nothing more will come, and what came can be downloaded."""
        # Charged answers without a file: it is still being written.
        late = self.completed and not self.output_file and self.status != "failed"
        return self.status in TERMINAL and not late


class Line(NamedTuple):
    """One line of a result file. status: HTTP, 0 when there was no response. body: its JSON, in
    ASCII. never_run: the batch ended before the request's turn, which costs nothing."""

    custom_id: str
    status: int
    body: str
    message: str = ""
    never_run: bool = False


def endpoint_path(api: Api) -> _Path:
    """The path that every line of a batch names.

    >>> endpoint_path("chat")
    '/v1/chat/completions'
    """
    return "/v1/chat/completions" if api == "chat" else "/v1/completions"


def read_lines(lines: Iterable[bytes]) -> Iterator[Line | None]:
    """The lines of an output or error file, None for one that cannot be read. Pure.

    >>> [line] = read_lines([b'{"custom_id":"en-3","response":{"status_code":200,"body":{}}}'])
    >>> line.custom_id, line.status, line.body
    ('en-3', 200, '{}')
    """
    for raw in lines:
        if not raw.strip():
            continue
        try:
            yield _line(_mapping(json.loads(raw.decode("utf-8-sig"))))
        except (ValueError, RecursionError, KeyError, TypeError, OverflowError):
            yield None


def _line(data: Mapping[str, Any]) -> Line:
    response, error = data.get("response"), _mapping(data.get("error"))
    if isinstance(response, dict):
        status = int(response["status_code"])
        return Line(str(data["custom_id"]), status, json.dumps(response.get("body")))
    code = str(error.get("code") or "")
    message = f"{code}: {error.get('message') or 'no message'}"
    return Line(str(data["custom_id"]), 0, "", message, code in _NEVER_RUN)


class BatchApi:
    """One endpoint's batches. Use as a context manager."""

    def __init__(self, *, base_url: str, api_key: str) -> None:
        self.base_url = public_url(base_url)
        self._query = dict(parse_qsl(urlsplit(base_url).query))
        self._key = api_key
        self._client: openai.OpenAI | None = None

    def __enter__(self) -> BatchApi:
        import httpx2
        import openai

        try:
            transport = openai.DefaultHttpxClient(
                follow_redirects=False,
                # A proxy set for the outside world must not see what stays on this machine.
                trust_env=urlsplit(self.base_url).hostname not in _LOOPBACK,
            )
        except (OSError, ImportError, ValueError) as error:
            raise UsageError(
                f"{self.base_url}: cannot set up the connection: {redact(str(error), self._key)}",
                hint="look at the proxy and certificate variables (ALL_PROXY, SSL_CERT_FILE, …)",
            ) from None
        self._client = openai.OpenAI(
            base_url=self.base_url,
            default_query=self._query,
            api_key=self._key or "none",
            max_retries=0,
            timeout=httpx2.Timeout(_READ_TIMEOUT, connect=_CONNECT_TIMEOUT),
            http_client=transport,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def upload(self, name: str, content: bytes) -> str:
        """Store an input file; its id."""
        client = self._opened
        data = self._ask(
            lambda: client.files.with_raw_response.create(file=(name, content), purpose="batch")
        )
        if not isinstance(data, dict) or not isinstance(data.get("id"), str):
            raise Malformed("the answer to an upload is not a file", status=200)
        return str(data["id"])

    def create(self, input_file: str, path: _Path, token: str) -> Seen:
        """Submit an uploaded file. From here on it is bought."""
        client = self._opened
        return Seen.read(
            self._ask(
                lambda: client.batches.with_raw_response.create(
                    completion_window="24h",
                    endpoint=path,
                    input_file_id=input_file,
                    metadata={TOKEN: token},
                )
            )
        )

    def look(self, batch_id: str) -> Seen:
        """What has become of a batch."""
        client = self._opened
        return Seen.read(self._ask(lambda: client.batches.with_raw_response.retrieve(batch_id)))

    def cancel(self, batch_id: str) -> Seen:
        """Ask the provider to stop a batch; what is done is kept and charged."""
        client = self._opened
        return Seen.read(self._ask(lambda: client.batches.with_raw_response.cancel(batch_id)))

    def find(self, token: str, input_file: str) -> Seen | None:
        """The batch that was made with our token, or of our file where metadata is not kept."""
        client = self._opened
        after: dict[str, Any] = {}
        known: set[str] = set()
        while True:
            page = self._ask(
                lambda: client.batches.with_raw_response.list(limit=_PAGE, **after)  # noqa: B023
            )
            listed = page.get("data") if isinstance(page, dict) else None
            if not isinstance(listed, list):
                raise Malformed("the answer is not a list of batches", status=200)
            batches = [Seen.read(entry) for entry in listed]
            for batch in batches:
                if batch.token == token or (input_file and batch.input_file == input_file):
                    return batch
            last = batches[-1].id if batches else ""
            if not page.get("has_more") or not last or last in known:
                return None
            known.add(last)
            after = {"after": last}

    def content(self, file_id: str) -> bytes:
        """A whole result file."""
        client = self._opened
        return self._raw(lambda: client.files.with_raw_response.content(file_id))

    @property
    def _opened(self) -> openai.OpenAI:
        assert self._client is not None
        return self._client

    def _ask(self, call: Callable[[], Any]) -> Any:
        content = self._raw(call)
        try:
            return json.loads(content.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            start = redact(content[:60].decode("utf-8", "replace"), self._key)
            raise Malformed(f"a 200 that is not JSON: {start!r}", status=200) from None

    def _raw(self, call: Callable[[], Any]) -> bytes:
        """The body of a 200. Raises ProviderRefused, RateLimited, ServerFailed, TransportFailed."""
        import httpx2
        import openai

        try:
            content: bytes = call().content
        except openai.APIStatusError as error:
            raise self._problem(error) from None
        except (openai.APIConnectionError, httpx2.HTTPError, OSError) as error:
            cause = error.__cause__ or error
            detail = redact(str(cause) or type(cause).__name__, self._key)
            raise TransportFailed(f"no complete answer: {detail}") from None
        return content

    def _problem(self, error: openai.APIStatusError) -> Exception:
        status = error.status_code
        found = refusal(
            Answered(
                status=status,
                headers=error.response.headers,
                body=error.response.content,
                base_url=self.base_url,
                key=self._key,
                dialect=Dialect("chat"),
                adapt_api=False,
                now=time.time(),
            )
        )
        if status in (404, 405, 501):
            said = found.args[0] if isinstance(found, SelfInstructError) else str(found)
            return ProviderRefused(
                said,
                hint="does this server have /v1/batches, and is OPENAI_API_KEY the account that "
                "submitted the batch?",
            )
        if isinstance(found, RequestFailed) and not isinstance(found, RateLimited | ServerFailed):
            return ProviderRefused(f"{self.base_url}: {found.args[0]}")
        return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) and value >= 0 else 0
