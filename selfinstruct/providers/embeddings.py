"""Embeddings from any server with OpenAI's /v1/embeddings.

Enters: texts. Leaves: one vector each, or one of our own errors (DESIGN §4). A batch of texts is
one request, one after another, each tried again while that can help. Knows no threshold or file.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from numpy.typing import NDArray
from tenacity import RetryCallState, Retrying, retry_if_exception

from selfinstruct.config import public_url
from selfinstruct.errors import (
    GaveUp,
    Malformed,
    ProviderRefused,
    RateLimited,
    RequestFailed,
    ServerFailed,
    TransportFailed,
    UsageError,
)
from selfinstruct.providers.dialect import Dialect
from selfinstruct.providers.refusals import Answered, redact, refusal

if TYPE_CHECKING:
    import openai

# OpenAI takes 2,048 texts in a request, small servers fewer.
BATCH = 128
# What is longer is cut: about 2,000 tokens of English; models take 512 to 8,192.
MAX_CHARS = 8000
# Seconds: to reach the host, for one answer, and between two attempts at most.
_CONNECT_TIMEOUT, _READ_TIMEOUT, _LONGEST_PAUSE = 15.0, 120.0, 60.0
# By what went wrong. Waits that a server asks for are no attempts, but there must be an end.
_ATTEMPTS: dict[type[RequestFailed], int] = {RateLimited: 60, Malformed: 3}
_ATTEMPTS_ELSE = 5
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class EmbeddingsEndpoint:
    """One endpoint and model. Use as a context manager; calling it embeds.

    with EmbeddingsEndpoint(base_url="http://gpu:8000/v1", model="bge-m3", api_key="") as embed:
        embed(["Name a river.", ""]).shape    # (2, 1024); the second row is zeros
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str,
        batch: int = BATCH,
        max_chars: int = MAX_CHARS,
        backoff: float = 0.5,
    ) -> None:
        """api_key: from the environment, "" for none. batch: texts in one request; max_chars: of a
        text, the rest is not sent; backoff: seconds before the second attempt."""
        self.base_url = public_url(base_url)
        self._query = dict(parse_qsl(urlsplit(base_url).query))
        self._model, self._key = model, api_key
        self._batch, self._max_chars, self._backoff = batch, max_chars, backoff
        self._client: openai.OpenAI | None = None

    def __enter__(self) -> EmbeddingsEndpoint:
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

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A vector for each text, shape (n, d); zeros for a blank one, which no server takes.

        Raises ProviderRefused, or GaveUp when an answer could not be had.
        """
        rows = [i for i, text in enumerate(texts) if text.strip()]
        parts = [
            self._tried([_sendable(texts[i], self._max_chars) for i in rows[at : at + self._batch]])
            for at in range(0, len(rows), self._batch)
        ]
        lengths = {part.shape[1] for part in parts}
        if len(lengths) > 1:
            raise GaveUp(f"{self.base_url}: vectors of different lengths: {sorted(lengths)}")
        vectors = np.zeros((len(texts), max(lengths, default=0)), np.float32)
        if parts:
            vectors[rows] = np.concatenate(parts)
        return vectors

    def _tried(self, batch: list[str]) -> NDArray[np.float32]:
        retrying = Retrying(
            retry=retry_if_exception(_again), wait=self._pause, stop=_enough, reraise=True
        )
        try:
            vectors: NDArray[np.float32] = retrying(self._once, batch)
        except RequestFailed as error:
            raise GaveUp(f"{self.base_url}: {error}", hint="is the server up?") from None
        return vectors

    def _pause(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: exponential with jitter, at least Retry-After."""
        error = state.outcome.exception() if state.outcome else None
        ceiling = min(_LONGEST_PAUSE, self._backoff * 2 ** min(10, state.attempt_number - 1))
        asked = error.retry_after if isinstance(error, RequestFailed) else None
        return max(random.uniform(ceiling / 2, ceiling), asked or 0.0)

    def _once(self, batch: list[str]) -> NDArray[np.float32]:
        import httpx2
        import openai

        assert self._client is not None
        try:
            answer = self._client.embeddings.with_raw_response.create(
                model=self._model, input=batch, encoding_format="float"
            )
            content = answer.content
        except openai.APIStatusError as error:
            raise self._problem(error) from None
        except (openai.APIConnectionError, httpx2.HTTPError, OSError) as error:
            cause = error.__cause__ or error
            detail = redact(str(cause) or type(cause).__name__, self._key)
            raise TransportFailed(f"no complete answer: {detail}") from None
        return _vectors(content, len(batch))

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
        if status in (405, 501):
            return ProviderRefused(
                f"{self.base_url}: {found.args[0]}", hint="does this server have /v1/embeddings?"
            )
        if isinstance(found, RequestFailed) and not isinstance(found, RateLimited | ServerFailed):
            return ProviderRefused(f"{self.base_url}: {found.args[0]}")
        return found


def _sendable(text: str, max_chars: int) -> str:
    """The beginning of a text, without lone surrogates, which UTF-8 cannot hold."""
    return text[:max_chars].encode("utf-8", "replace").decode("utf-8")


def _again(error: BaseException) -> bool:
    """tenacity's one predicate: only our own errors, only while it can help."""
    return isinstance(error, RequestFailed) and error.retryable


def _enough(state: RetryCallState) -> bool:
    """Whether it was tried often enough for what went wrong last."""
    error = state.outcome.exception() if state.outcome else None
    limits = [n for kind, n in _ATTEMPTS.items() if isinstance(error, kind)]
    return state.attempt_number >= (limits[0] if limits else _ATTEMPTS_ELSE)


def _vectors(content: bytes, count: int) -> NDArray[np.float32]:
    """The vectors of an answer in the order of the texts. Raises Malformed.

    >>> _vectors(b'{"data": [{"index": 1, "embedding": [3]}, {"index": 0, "embedding": [4]}]}', 2)
    array([[4.],
           [3.]], dtype=float32)
    """
    try:
        data: Any = json.loads(content)
        listed = {int(item["index"]): item["embedding"] for item in data["data"]}
        vectors = np.array([listed[i] for i in range(count)], np.float32)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        start = redact(content[:60].decode("utf-8", "replace"), "")
        raise Malformed(f"a 200 without {count} embeddings: {start!r}", status=200) from None
    if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
        raise Malformed("a 200 whose embeddings are not finite vectors", status=200)
    return vectors
