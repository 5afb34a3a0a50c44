"""Any server that speaks the OpenAI API: completions or chat, at any base URL.

Enters: a Prompt. Leaves: the raw bytes of a 200, or one of our own errors (DESIGN §4). Knows no
retry, no limit and no journal. The SDK sends; it does not retry, follow redirects or parse.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

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
from selfinstruct.records import Answer, Prompt

if TYPE_CHECKING:
    import openai

# Seconds to reach the host; the answer itself has the generator's total deadline.
_CONNECT_TIMEOUT = 15.0
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
        self._client: openai.AsyncOpenAI | None = None

    async def __aenter__(self) -> OpenAIProvider:
        # Imported late: `selfinstruct --help` must not pay for the SDK (0.7 s).
        import httpx2
        import openai

        try:
            transport = openai.DefaultAioHttpClient(
                follow_redirects=False,
                limits=httpx2.Limits(max_connections=self._connections),
                # A proxy set for the outside world must not see what stays on this machine.
                trust_env=urlsplit(self.base_url).hostname not in _LOOPBACK,
            )
        except (OSError, ImportError, ValueError) as error:
            raise _cannot_connect(self.base_url, error, self._key) from None
        self._client = openai.AsyncOpenAI(
            base_url=self.base_url,
            default_query=self._query,
            # Local servers ignore the key, but the SDK insists on one.
            api_key=self._key or "none",
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=_CONNECT_TIMEOUT),
            http_client=transport,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def send(self, prompt: Prompt) -> Answer:
        """One attempt.

        Raises ProviderRefused, or a RequestFailed that says whether to try again.
        """
        import aiohttp
        import httpx2
        import openai

        assert self._client is not None
        dialect = self.dialect
        body = {"model": self._model, **dialect.parameters(prompt, self._sampling)}
        path = "/chat/completions" if dialect.api == "chat" else "/completions"
        try:
            # The typed methods would transform the body and parse the answer: half the CPU time,
            # for objects that nobody reads.
            response = await self._client.post(path, cast_to=httpx2.Response, body=body)
        except openai.APIStatusError as error:
            problem = refusal(
                Answered(
                    status=error.status_code,
                    headers=error.response.headers,
                    body=error.response.content,
                    base_url=self.base_url,
                    key=self._key,
                    dialect=dialect,
                    adapt_api=self._adapt_api,
                    now=time.time(),
                )
            )
            if isinstance(problem, RequestFailed):
                problem.headers = error.response.headers
            raise problem from None
        except (openai.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
            cause = error.__cause__ or error
            detail = redact(str(cause) or type(cause).__name__, self._key)
            failure = TransportFailed(f"no complete answer: {detail}")
            failure.billed = not isinstance(cause, aiohttp.ClientConnectorError)
            raise failure from None
        return Answer(dialect.api, response.content, response.headers)

    def apply(self, change: str) -> bool:
        """Adopt a change; False when another request brought it before."""
        changed = self.dialect.changed(change)
        if changed == self.dialect:
            return False
        self.dialect = changed
        return True


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
