"""What an endpoint says of its rate limits, in headers or in words. Pure.

Enters: the headers of an answer, or the text of a 429. Leaves: RateLimits, per minute. Knows no
clock. Never raises: proxies write anything into these.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_PREFIX = "x-ratelimit-"
# Go's time.Duration: "6m0s", "1h2m3.5s", "12ms", "500µs".
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs|μs|ns))+", re.ASCII)
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|μs|ns)", re.ASCII)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "ns": 1e-9}
_SECONDS |= dict.fromkeys(("us", "µs", "μs"), 1e-6)
# "… on tokens per min (TPM): Limit 40000, Used 39000, …", of old "tokens per min. Limit: 3 / min.";
# limits per day say nothing of a minute.
_SAID = re.compile(r"tokens per min[a-z]*[^:]{0,20}[:.] limit:? ([\d,]{1,15})", re.I)
_TOO_LARGE = re.compile(r"request too large", re.I)
_LIMIT = re.compile(r"\blimit:? ([\d,]{1,15})", re.I)
_REQUESTED = re.compile(r"\brequested:? ([\d,]{1,15})", re.I)
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """limit: per minute. remaining: left of it. reset: seconds until all is there again. None:
    not said."""

    limit_requests: float | None = None
    remaining_requests: float | None = None
    reset_requests: float | None = None
    limit_tokens: float | None = None
    remaining_tokens: float | None = None
    reset_tokens: float | None = None


UNSAID = RateLimits()


def read_limits(headers: Mapping[str, str], message: str = "") -> RateLimits:
    """OpenAI's x-ratelimit headers, else what a refusal's message says.

    >>> read_limits({"x-ratelimit-limit-requests": "600", "x-ratelimit-reset-requests": "1m6.5s"})
    ... # doctest: +ELLIPSIS
    RateLimits(limit_requests=600.0, remaining_requests=None, reset_requests=66.5, ...)
    """
    values: dict[str, float | None] = {}
    for kind in ("requests", "tokens"):
        limit = _number(headers.get(f"{_PREFIX}limit-{kind}"))
        remaining = _number(headers.get(f"{_PREFIX}remaining-{kind}"))
        reset = _duration(headers.get(f"{_PREFIX}reset-{kind}"))
        # 0 and -1 are how servers without a limit fill the field; a part of one is garbage.
        known = limit is not None and limit >= 1
        values[f"limit_{kind}"] = limit if known else None
        values[f"remaining_{kind}"] = remaining if known else None
        values[f"reset_{kind}"] = reset if known else None
    # Not of requests: a limit that only refusals tell may rise, and nobody would be refused again.
    # The pacer finds that one, and goes on looking.
    for match in _SAID.finditer(message):
        limit = _number(match[1].replace(",", ""))
        if limit is not None and limit >= 1 and values["limit_tokens"] is None:
            values["limit_tokens"] = limit
    return RateLimits(**values) if any(v is not None for v in values.values()) else UNSAID


def too_large(message: str) -> bool:
    """Does this 429 say that the request alone is more than the limit?

    Numbers count more than words: an endpoint that says this is not asked again.
    """
    limit, requested = _LIMIT.search(message), _REQUESTED.search(message)
    if limit and requested:
        sizes = [_number(found[1].replace(",", "")) for found in (requested, limit)]
        if sizes[0] is not None and sizes[1] is not None:
            return sizes[0] > sizes[1]
    return bool(_TOO_LARGE.search(message))


def _number(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _duration(text: str | None) -> float | None:
    """Seconds in a Go duration or a plain number, None for anything else."""
    if not text:
        return None
    text = text.strip()
    if _DURATION.fullmatch(text):
        total = math.fsum(float(number) * _SECONDS[unit] for number, unit in _PIECE.findall(text))
        return total if total < 1e6 else None
    return _number(text)
