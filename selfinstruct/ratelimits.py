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
# "… on requests per min (RPM): Limit 600, Used 600, …"; limits per day say nothing of a minute.
_SAID = re.compile(r"(requests|tokens) per min[a-z]*[^:]{0,20}: limit:? ([\d,]{1,15})", re.I)
_TOO_LARGE = re.compile(r"request too large|requested [\d,]+ tokens.{0,80}limit", re.IGNORECASE)


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
        # 0 and -1 are how servers without a limit fill the field.
        values[f"limit_{kind}"] = limit if limit else None
        values[f"remaining_{kind}"] = remaining if limit else None
        values[f"reset_{kind}"] = reset if limit else None
    for match in _SAID.finditer(message):
        kind, limit = match[1].lower(), _number(match[2].replace(",", ""))
        if limit and values[f"limit_{kind}"] is None:
            values[f"limit_{kind}"] = limit
    return RateLimits(**values) if any(v is not None for v in values.values()) else UNSAID


def too_large(message: str) -> bool:
    """Does this 429 say that the request alone is more than the limit of a minute?"""
    return bool(_TOO_LARGE.search(message))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None


def _duration(text: str | None) -> float | None:
    """Seconds in a Go duration or a plain number, None for anything else."""
    if not text:
        return None
    text = text.strip()
    if _DURATION.fullmatch(text):
        total = math.fsum(float(number) * _SECONDS[unit] for number, unit in _PIECE.findall(text))
        return total if total < 1e6 else None
    return _number(text)
