"""What an HTTP status other than 200 means, as one of our own errors (DESIGN §4). Pure.

Enters: status, headers and body. Leaves: the error to raise. Knows the words of OpenAI, vLLM and
llama.cpp; knows no retry and no limit.
"""

from __future__ import annotations

import email.utils
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selfinstruct.errors import (
    Adaptable,
    Outcome,
    ProviderRefused,
    RateLimited,
    ServerFailed,
)
from selfinstruct.providers.dialect import Dialect
from selfinstruct.ratelimits import too_large

_DROPPABLE = ("temperature", "top_p", "stop", "seed")
_UNSUPPORTED = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|extra.{0,20}(?:forbidden|not permitted)"
    r"|does not accept|only the default",
    re.IGNORECASE,
)
# Asked for beyond what a plain answer takes. Whoever names one of these refuses it: OpenAI, Azure,
# vLLM, llama.cpp, DeepSeek and Groq each say so in words of their own.
_BEYOND = {
    "response_format": re.compile(
        r"response[ _]format|json[ _]schema|guided[ _]|structured[ _-]outputs?|xgrammar"
        r"|(?:pars|compil|convert|custom|invalid)\w* grammar|grammar (?:error|constraint)",
        re.IGNORECASE,
    ),
    "n": re.compile(
        r"completion choice|multiple (?:completions|choices)|['\"`]n['\"`]|\bonly n ?="
        r"|\bparameter:? n\b|(?<![\w\\])n(?:_cmpl)? (?:must|cannot|value|should|is|>|=)",
        re.IGNORECASE,
    ),
}
# llama.cpp said these with a 500 until it learnt to say 400.
_OLD_LLAMA = re.compile(
    r"only one completion choice|response_format type must be|json_schema.{1,8}grammar.{1,40}both",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"context[ _](?:length|size|window)|maximum (?:model|sequence) length|too many tokens"
    r"|(?:prompt|input) is too long",
    re.IGNORECASE,
)
# The gateway has left; the model behind it may write on, and be paid for it.
_GATEWAY_LEFT = (504, 524)
_CHAT_ONLY = re.compile(r"chat model|v1/chat/completions", re.IGNORECASE)
_NO_MODEL = re.compile(r"model.{0,120}(?:not found|does not exist|not exist)", re.I | re.DOTALL)


def redact(text: str, key: str) -> str:
    """A server's or library's words in one short, printable line, without the key."""
    if key:
        text = text.replace(key, "***")
    line = " ".join(text.split())[:300]
    return "".join(character if character.isprintable() else "?" for character in line)


@dataclass(frozen=True)
class Answered:
    """An answer that is not a 200, and who gave it to whom.

    base_url: as it may be shown. key: to be kept out of every message. adapt_api: may the request
    fall from completions to chat? now: Unix time in seconds, for a Retry-After that is a date.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    key: str
    dialect: Dialect
    adapt_api: bool
    now: float


def refusal(answered: Answered) -> Exception:
    """The error that an answer other than a 200 means."""
    status, headers = answered.status, answered.headers
    problem = _Problem.read(answered.body)
    message = redact(problem.message, answered.key) or "no message"
    said = f"HTTP {status}: {message}"
    if problem.code == "insufficient_quota":
        return ProviderRefused(said, hint="the account has no credit left")
    if status == 402:
        return ProviderRefused(said, hint="the account has no credit left")
    if status in (401, 403):
        return ProviderRefused(said, hint="check OPENAI_API_KEY")
    if status == 429 and too_large(problem.message):
        return ProviderRefused(
            said, hint="one request is more than a minute's limit: lower --tasks or --max-tokens"
        )
    if status == 429:
        wait = retry_after(headers, answered.now)
        return RateLimited(said, status=status, retry_after=wait)
    old_words = status == 500 and _OLD_LLAMA.search(problem.message)
    if old_words and (change := problem.beyond(answered.dialect)):
        return Adaptable(said, change=change, status=status)
    if status == 408 or status >= 500:
        wait = retry_after(headers, answered.now)
        failed = ServerFailed(said, status=status, retry_after=wait)
        failed.billed = status in _GATEWAY_LEFT
        return failed
    if 300 <= status < 400:
        location = redact(str(headers.get("location", "elsewhere")), answered.key)
        return ProviderRefused(
            f"{answered.base_url} answers HTTP {status}: moved to {location}",
            hint="a key is not sent after a redirect; give the final address as --base-url",
        )
    return _client_error(answered, said, problem)


def _client_error(answered: Answered, said: str, problem: _Problem) -> Exception:
    status, dialect = answered.status, answered.dialect
    if answered.adapt_api and dialect.api == "completions":
        no_route = status in (404, 405, 501) and not problem.names_model
        if no_route or _CHAT_ONLY.search(problem.message):
            return Adaptable(said, change="api=chat", status=status)
    if status == 404:
        hint = "check --model" if problem.names_model else "is '/v1' missing in --base-url?"
        return ProviderRefused(f"{answered.base_url}: {said}", hint=hint)
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
        for name in _DROPPABLE if known and self._field not in _BEYOND else ():
            named = self.param == name or re.search(rf"\b{name}\b", self.message)
            if named and name not in dialect.dropped:
                return f"drop {name}"
        return self.beyond(dialect)

    def beyond(self, dialect: Dialect) -> str:
        """As `change`, for what was asked for beyond a plain answer."""
        for name, words in _BEYOND.items():
            named = self._field == name if self._field in _BEYOND else words.search(self.message)
            if named and name not in dialect.dropped:
                return f"drop {name}"
        return ""

    @property
    def _field(self) -> str:
        """The field of the request body that `param` is in."""
        return self.param.partition(".")[0]


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
