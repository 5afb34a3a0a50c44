"""Any server that speaks the OpenAI API: completions or chat, at any base URL.

Enters: a Prompt. Leaves: the raw bytes of a 200, or one of our own errors (DESIGN §4). A second,
pure half reads journaled bytes into a Reply. Knows no retry, no limit and no journal.

The SDK sends; it does not retry, follow redirects or parse: for a 200 it returns a str for an HTML
page, None for `null`, and raises bare decode errors, so the bytes are read here.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from selfinstruct.config import public_url
from selfinstruct.errors import (
    Adaptable,
    GaveUp,
    Malformed,
    Outcome,
    ProviderRefused,
    RateLimited,
    RequestFailed,
    ServerFailed,
    TransportFailed,
    UsageError,
)
from selfinstruct.records import Api, Prompt, Reply, Ticket

if TYPE_CHECKING:
    import openai

# Seconds to reach the host; the answer itself has the generator's total deadline.
_CONNECT_TIMEOUT = 15.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_DROPPABLE = ("temperature", "top_p", "stop", "seed")
_UNSUPPORTED = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|extra.{0,20}(?:forbidden|not permitted)"
    r"|does not accept|only the default",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"context[ _](?:length|size|window)|maximum (?:model|sequence) length|too many tokens"
    r"|(?:prompt|input) is too long",
    re.IGNORECASE,
)
_CHAT_ONLY = re.compile(r"chat model|v1/chat/completions", re.IGNORECASE)
_NO_MODEL = re.compile(r"model.{0,120}(?:not found|does not exist|not exist)", re.I | re.DOTALL)
# Reasoning models: "<think>…</think>answer", or only the closing tag when the template opened it.
_THOUGHT = re.compile(r"\A(?:\s*<think>.*?|(?:(?!<think>).)*)</think>", re.DOTALL)
# What a server leaves of the tokenizer's own end markers.
_END_TOKENS = re.compile(r"(?:\s*(?:<\|[a-z_]{2,20}\|>|</s>))+\s*\Z")


@dataclass(frozen=True)
class Dialect:
    """How this model wants to be asked; grown by the refusals it has answered so far."""

    api: Api = "completions"
    max_tokens_name: str = "max_tokens"
    dropped: frozenset[str] = frozenset()

    def changed(self, change: str) -> Dialect:
        """The dialect after one change, as the journal stores it ("api=chat", "drop seed", …)."""
        if change == "api=chat":
            return replace(self, api="chat")
        if change.startswith("max_tokens="):
            return replace(self, max_tokens_name=change.partition("=")[2])
        return replace(self, dropped=self.dropped | {change.removeprefix("drop ")})

    def parameters(self, prompt: Prompt, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """The request body without the model's name."""
        body: dict[str, Any] = {
            **sampling,
            "stop": list(prompt.stop),
            "seed": prompt.seed,
        }
        body[self.max_tokens_name] = body.pop("max_tokens")
        # A lone surrogate, which a model may well have written, has no UTF-8: it is sent as "?".
        text = prompt.text.encode("utf-8", "replace").decode("utf-8")
        if self.api == "chat":
            body["messages"] = [{"role": "user", "content": text}]
        else:
            body["prompt"] = text
        return {key: value for key, value in body.items() if key not in self.dropped}


def redact(text: str, key: str) -> str:
    """A server's or library's words in one short, printable line, without the key."""
    if key:
        text = text.replace(key, "***")
    line = " ".join(text.split())[:300]
    return "".join(character if character.isprintable() else "?" for character in line)


def _cannot_connect(base_url: str, error: Exception, key: str) -> UsageError:
    return UsageError(
        f"{public_url(base_url)}: cannot set up the connection: {redact(str(error), key)}",
        hint="look at the proxy and certificate variables (ALL_PROXY, SSL_CERT_FILE, …)",
    )


def explain(change: str) -> str:
    """A change of dialect for people."""
    if change == "api=chat":
        return "the server has no completions for this model; asking chat instead"
    if change.startswith("max_tokens="):
        return f"the model wants {change.partition('=')[2]} for max_tokens; sending that instead"
    return f"the model refuses {change.removeprefix('drop ')}; leaving it out"


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

    async def send(self, prompt: Prompt) -> tuple[Api, bytes]:
        """One attempt: (the API used, the body of a 200).

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
            raise self._refusal(
                error.status_code, error.response.headers, error.response.content, dialect
            ) from None
        except (openai.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
            cause = error.__cause__ or error
            detail = self._redact(str(cause) or type(cause).__name__)
            raise TransportFailed(f"no complete answer: {detail}") from None
        return dialect.api, response.content

    def apply(self, change: str) -> bool:
        """Adopt a change; False when another request brought it before."""
        changed = self.dialect.changed(change)
        if changed == self.dialect:
            return False
        self.dialect = changed
        return True

    def _redact(self, text: str) -> str:
        return redact(text, self._key)

    def _refusal(
        self, status: int, headers: Mapping[str, str], body: bytes, dialect: Dialect
    ) -> Exception:
        """The error that an HTTP status other than 200 means."""
        problem = _Problem.read(body)
        message = self._redact(problem.message) or "no message"
        said = f"HTTP {status}: {message}"
        if problem.code == "insufficient_quota":
            return ProviderRefused(said, hint="the account has no credit left")
        if status == 402:
            return ProviderRefused(said, hint="the account has no credit left")
        if status in (401, 403):
            return ProviderRefused(said, hint="check OPENAI_API_KEY")
        if status == 429:
            wait = retry_after(headers, time.time())
            return RateLimited(said, status=status, retry_after=wait)
        if status == 408 or status >= 500:
            wait = retry_after(headers, time.time())
            return ServerFailed(said, status=status, retry_after=wait)
        if 300 <= status < 400:
            location = self._redact(str(headers.get("location", "elsewhere")))
            return ProviderRefused(
                f"{self.base_url} answers HTTP {status}: moved to {location}",
                hint="a key is not sent after a redirect; give the final address as --base-url",
            )
        return self._client_error(status, said, problem, dialect)

    def _client_error(
        self, status: int, said: str, problem: _Problem, dialect: Dialect
    ) -> Exception:
        if self._adapt_api and dialect.api == "completions":
            no_route = status in (404, 405, 501) and not problem.names_model
            if no_route or _CHAT_ONLY.search(problem.message):
                return Adaptable(said, change="api=chat", status=status)
        if status == 404:
            hint = "check --model" if problem.names_model else "is '/v1' missing in --base-url?"
            return ProviderRefused(f"{self.base_url}: {said}", hint=hint)
        if problem.code in ("content_filter", "content_policy_violation"):
            return Outcome(said, reason="content_filter", status=status)
        if problem.code == "context_length_exceeded" or _CONTEXT.search(problem.message):
            return Outcome(said, reason="context_length", status=status)
        change = problem.change(dialect)
        if change:
            return Adaptable(said, change=change, status=status)
        return Outcome(said, reason="bad_request", status=status)


@dataclass(frozen=True)
class _Problem:
    """What an error body says, in any of the shapes that OpenAI, vLLM and llama.cpp use."""

    message: str
    code: str
    param: str

    @classmethod
    def read(cls, body: bytes) -> _Problem:
        try:
            data: Any = json.loads(body)
        except (ValueError, RecursionError):
            return cls(body[:300].decode("utf-8", "replace"), "", "")
        inner = data.get("error", data) if isinstance(data, dict) else data
        if not isinstance(inner, dict):
            return cls(str(inner)[:300], "", "")
        message = inner.get("message") or inner.get("detail") or inner
        return cls(str(message), str(inner.get("code") or ""), str(inner.get("param") or ""))

    @property
    def names_model(self) -> bool:
        return self.code == "model_not_found" or bool(_NO_MODEL.search(self.message))

    def change(self, dialect: Dialect) -> str:
        """The change of dialect that this refusal asks for, "" for none."""
        if "max_completion_tokens" in self.message and dialect.max_tokens_name == "max_tokens":
            return "max_tokens=max_completion_tokens"
        known = self.code.startswith("unsupported_") or bool(_UNSUPPORTED.search(self.message))
        if not known:
            return ""
        for name in _DROPPABLE:
            named = self.param == name or re.search(rf"\b{name}\b", self.message)
            if named and name not in dialect.dropped:
                return f"drop {name}"
        return ""


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the server asks us to wait: Retry-After in seconds or as a date (RFC 9110)."""
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    # NaN and nonsense compare false.
    return min(seconds, 3600.0) if seconds >= 0 else 0.0


def read_body(ticket: Ticket, api: Api, body: bytes) -> Reply:
    """The Reply in the raw body of a 200. Pure. Raises Malformed when the body is not one.

    >>> body = b'{"choices":[{"text":" Hi","finish_reason":"stop"}]}'
    >>> read_body(Ticket(0, "en"), "completions", body).text
    ' Hi'
    """
    try:
        # Decoded here, since json would let surrogates through that UTF-8 does not have.
        data: Any = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        start = body[:60].decode("utf-8", "replace")
        raise Malformed(f"a 200 that is not JSON: {start!r}", status=200) from None
    choice = _first_choice(data)
    usage = data.get("usage")
    prompt_tokens, completion_tokens = (
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
    )
    text, refused = _text(api, choice)
    finish = choice.get("finish_reason")
    finish_reason = finish if isinstance(finish, str) else ""
    outcome = ""
    if refused:
        outcome = "refusal"
    elif finish_reason == "content_filter":
        outcome = "content_filter"
    elif not text.strip():
        outcome = "empty"
    model = data.get("model")
    return Reply(
        request=ticket.k,
        lang=ticket.lang,
        text="" if outcome else text,
        finish_reason=finish_reason,
        model=model if isinstance(model, str) else "",
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        outcome=outcome,
    )


def _first_choice(data: Any) -> dict[str, Any]:
    choices = data.get("choices") if isinstance(data, dict) else None
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        raise Malformed("a 200 without choices", status=200)
    choice: dict[str, Any] = choices[0]
    return choice


def _text(api: Api, choice: Mapping[str, Any]) -> tuple[str, bool]:
    """(the generated text, was it refused?)"""
    if api == "completions":
        text = choice.get("text")
        if not isinstance(text, str):
            raise Malformed("a 200 whose choice has no text", status=200)
        return _END_TOKENS.sub("", text), False
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Malformed("a 200 whose choice has no message", status=200)
    if message.get("refusal"):
        return "", True
    content = message.get("content")
    if content is None:
        return "", False
    if not isinstance(content, str):
        raise Malformed("a 200 whose message has no text", status=200)
    return _END_TOKENS.sub("", _THOUGHT.sub("", content)), False


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def as_failure(error: RequestFailed) -> dict[str, Any]:
    """The journal's fields for a failed attempt."""
    return {"class": error.kind, "status": error.status, "message": str(error)}


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
