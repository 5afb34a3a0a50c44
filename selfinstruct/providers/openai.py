"""Any server that speaks the OpenAI API: completions or chat, at any base URL.

Enters: a Prompt. Leaves: the raw bytes of a 200, or one of our own errors (DESIGN §4). Knows no
retry, no limit and no journal. The SDK's transport sends: no retries, no redirects, no parsing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import selfinstruct
from selfinstruct.config import public_url
from selfinstruct.errors import (
    GaveUp,
    ProviderRefused,
    RequestFailed,
    TransportFailed,
    UsageError,
)
from selfinstruct.providers.dialect import Dialect
from selfinstruct.providers.refusals import Answered, redact, refusal
from selfinstruct.records import Answer, Api, Prompt

if TYPE_CHECKING:
    import httpx2

# Seconds to reach the host; the answer itself has the generator's total deadline.
_CONNECT_TIMEOUT = 15.0
# Bytes of an answer; an answer of 3,072 tokens has about 12,000.
_LONGEST_ANSWER = 64 << 20
_PATHS: dict[Api, str] = {"completions": "/completions", "chat": "/chat/completions"}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _cannot_connect(base_url: str, error: Exception, key: str) -> UsageError:
    return UsageError(
        f"{public_url(base_url)}: cannot set up the connection: {redact(str(error), key)}",
        hint="look at the proxy and certificate variables (ALL_PROXY, SSL_CERT_FILE, …)",
    )


class OpenAIProvider:
    """One endpoint. `adapt_api=True` lets it fall from completions to chat."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        model: str,
        sampling: Mapping[str, Any],
        dialect: Dialect,
        adapt_api: bool,
        connections: int,
    ) -> None:
        self.base_url = public_url(base_url)
        self._query = dict(parse_qsl(urlsplit(base_url).query))
        self.dialect = dialect
        self._key = api_key
        self._model = model
        self._sampling = dict(sampling)
        self._adapt_api = adapt_api
        self._connections = connections
        self._client: httpx2.AsyncClient | None = None
        self._urls: dict[Api, httpx2.URL] = {}

    async def __aenter__(self) -> OpenAIProvider:
        # Imported late: `selfinstruct --help` must not pay for the SDK (0.7 s).
        import httpx2
        import openai

        try:
            # The SDK's fastest transport, without the SDK's own client around it: that one would
            # build, check and copy what is known already, a third of all CPU time of a request.
            self._client = openai.DefaultAioHttpClient(
                follow_redirects=False,
                limits=httpx2.Limits(max_connections=self._connections),
                timeout=httpx2.Timeout(None, connect=_CONNECT_TIMEOUT),
                # A proxy set for the outside world must not see what stays on this machine.
                trust_env=urlsplit(self.base_url).hostname not in _LOOPBACK,
                headers={
                    # Local servers ignore the key, but some insist on one.
                    "Authorization": f"Bearer {self._key or 'none'}",
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "User-Agent": f"selfinstruct/{selfinstruct.__version__}",
                },
            )
        except (OSError, ImportError, ValueError) as error:
            raise _cannot_connect(self.base_url, error, self._key) from None
        query = str(httpx2.QueryParams(self._query))
        self._urls = {
            api: httpx2.URL(f"{self.base_url.rstrip('/')}{path}{'?' + query if query else ''}")
            for api, path in _PATHS.items()
        }
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def send(self, prompt: Prompt) -> Answer:
        """One attempt.

        Raises ProviderRefused, or a RequestFailed that says whether to try again.
        """
        import aiohttp
        import httpx2

        assert self._client is not None
        dialect = self.dialect
        body = {"model": self._model, **dialect.parameters(prompt, self._sampling)}
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            url = self._urls[dialect.api]
            async with self._client.stream("POST", url, content=content) as response:
                answer = await _read_whole(response)
        except (httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
            raise self._failed(error) from None
        if response.status_code != httpx2.codes.OK:
            raise self._refused(response, answer, dialect)
        return Answer(dialect.api, answer, response.headers)

    def _failed(self, error: Exception) -> TransportFailed:
        import aiohttp
        import httpx2

        cause = error.__cause__ or error
        detail = redact(str(cause) or type(cause).__name__, self._key)
        failure = TransportFailed(f"no complete answer: {detail}")
        never_sent = (aiohttp.ClientConnectorError, httpx2.ConnectError, httpx2.ConnectTimeout)
        failure.billed = not isinstance(error, never_sent) and not isinstance(cause, never_sent)
        return failure

    def _refused(self, response: httpx2.Response, body: bytes, dialect: Dialect) -> Exception:
        problem = refusal(
            Answered(
                status=response.status_code,
                headers=response.headers,
                body=body,
                base_url=self.base_url,
                key=self._key,
                dialect=dialect,
                adapt_api=self._adapt_api,
                now=time.time(),
            )
        )
        if isinstance(problem, RequestFailed):
            problem.headers = response.headers
        return problem

    def apply(self, change: str) -> bool:
        """Adopt a change; False when another request brought it before."""
        changed = self.dialect.changed(change)
        if changed == self.dialect:
            return False
        self.dialect = changed
        return True


async def _read_whole(response: httpx2.Response) -> bytes:
    """Its body. Raises TransportFailed for one that goes on and on: it must not fill the memory."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > _LONGEST_ANSWER:
            raise TransportFailed(f"an answer of more than {_LONGEST_ANSWER >> 20} MiB")
    return b"".join(parts)


def only_model(base_url: str, api_key: str) -> str:
    """The name of the model that the endpoint serves, when it serves exactly one.

    Raises UsageError when there are several, GaveUp when the endpoint does not answer.
    """
    import ssl

    import httpx

    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.get(
            f"{public_url(base_url)}/models",
            params=dict(parse_qsl(urlsplit(base_url).query)),
            headers=headers,
            timeout=_CONNECT_TIMEOUT,
            trust_env=urlsplit(base_url).hostname not in _LOOPBACK,
        )
    except httpx.HTTPError as error:
        reason = redact(str(error), api_key)
        raise GaveUp(f"{public_url(base_url)}: {reason}", hint="is the server up?") from None
    except (OSError, ImportError, ValueError, ssl.SSLError) as error:
        raise _cannot_connect(base_url, error, api_key) from None
    if response.status_code in (401, 403):
        raise ProviderRefused(
            f"{public_url(base_url)}: HTTP {response.status_code}", hint="check OPENAI_API_KEY"
        )
    try:
        names = [str(entry["id"]) for entry in response.json()["data"]]
    except (ValueError, KeyError, TypeError):
        names = []
    if len(names) == 1:
        return names[0]
    known = f" it has {', '.join(names[:8])}" if names else ""
    raise UsageError(f"--model is needed:{known or ' the server does not say what it has'}")
