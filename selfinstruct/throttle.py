"""How many requests may be in flight at one endpoint, and how fast they may start. Pure: the clock
comes in as an argument.

In flight: fixed (`--concurrency N`), or adaptive: doubling per round trip until the first refusal,
then additive increase and multiplicative decrease (Chiu & Jain 1989), growing only while the limit
is really used. How fast: what flags and headers say of requests and tokens a minute, and a rate
that `pacer.py` learns from refusals. A refusal stops new requests until its Retry-After is over.
Times: seconds.
"""

from __future__ import annotations

import math

from selfinstruct.pacer import Bucket, Pacer, request_bucket
from selfinstruct.ratelimits import UNSAID, RateLimits

_MINUTE = 61.0
_START = 8
_CEILING = 256
_CUT = 0.8
_USED = 0.8
_LEAST_COOLDOWN = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class Throttle:
    """One endpoint's limits. `fixed` holds the number in flight still, though pauses and rates are
    kept. rpm, tpm: requests and tokens a minute, never to be passed."""

    def __init__(
        self, *, fixed: int | None = None, rpm: float | None = None, tpm: float | None = None
    ) -> None:
        self._fixed = fixed
        self._limit = float(fixed or _START)
        self._slow_start = True
        self._cut_allowed_at = 0.0
        self._paused_until = 0.0
        self._refusals = 0
        self._used = 0
        self._caps = {"requests": rpm, "tokens": tpm}
        self._said: dict[str, float | None] = {"requests": None, "tokens": None}
        self._buckets: dict[str, Bucket] = {}
        # The most tokens that a request had which was answered.
        self._served = 0
        self._pacer = Pacer()
        self.in_flight = 0

    @property
    def limit(self) -> int:
        return max(1, int(self._limit))

    def per_minute(self, kind: str) -> float | None:
        """The known limit of "requests" or "tokens" a minute, None when there is none."""
        known = [limit for limit in (self._caps[kind], self._said[kind]) if limit is not None]
        return min(known, default=None)

    def free(self, now: float) -> int:
        """Slots that are free now, rates aside."""
        return 0 if now < self._paused_until else max(0, self.limit - self.in_flight)

    def wait(self, now: float, tokens: int = 0) -> float:
        """Seconds after which it is worth asking again: 0.0 when a request of `tokens` may start
        now, inf when one in flight must end first."""
        pause = max(0.0, self._paused_until - now)
        if self.in_flight >= self.limit:
            return math.inf
        self._open_buckets(now)
        waits = [pause]
        for kind, amount in (("requests", 1), ("tokens", tokens)):
            if bucket := self._buckets.get(kind):
                waits.append(bucket.wait(now, amount))
        if pause <= 0:
            waits.append(self._pacer.wait(now))
        return max(waits)

    def never_fits(self, tokens: int) -> str:
        """Why a request of `tokens` can never pass, "" when it can."""
        limit = self.per_minute("tokens")
        if limit is None or tokens <= limit:
            return ""
        return (
            f"a request may take {tokens:,} tokens, which can never pass a limit of "
            f"{limit:,.0f} tokens a minute"
        )

    def started(self, now: float, tokens: int = 0) -> None:
        """A request goes out."""
        self.in_flight += 1
        if self.in_flight >= _USED * self.limit:
            # In slow start every answer of this round counts, though they may all come at once.
            self._used = self.in_flight
        self._open_buckets(now)
        for kind, amount in (("requests", 1), ("tokens", tokens)):
            if bucket := self._buckets.get(kind):
                bucket.take(now, amount)
        self._pacer.started(now)

    def ended(self, now: float, tokens: int = 0, used: int | None = None) -> None:
        """Its slot is free. used: tokens that it really took, None when unknown; 0 gives back the
        request itself, too: the server never counted it."""
        self.in_flight -= 1
        if used is None:
            return
        if used:
            self._serve(now, tokens)
        if bucket := self._buckets.get("tokens"):
            bucket.give_back(now, tokens - used)
        if used == 0 and (bucket := self._buckets.get("requests")):
            bucket.give_back(now, 1)

    def _serve(self, now: float, tokens: int) -> None:
        """A limit that an answered request was above is none, or none of what we count."""
        self._served = max(self._served, tokens)
        said = self._said["tokens"]
        if said is not None and said < self._served:
            self._said["tokens"] = None
            bucket = self._buckets.pop("tokens", None)
            if bucket and self.per_minute("tokens") is not None:
                flag = self._bucket("tokens", now)
                bucket.change(now, flag.rate, flag.burst)
                self._buckets["tokens"] = bucket

    def succeeded(self) -> None:
        """An answer arrived; call before `ended`."""
        self._refusals = 0
        really_used = self.in_flight >= _USED * self.limit or (self._slow_start and self._used)
        if self._fixed or not really_used:
            return
        self._used = max(0, self._used - 1)
        # A rate that is held keeps the number in flight in bounds: room for it may come quickly.
        paced = "requests" in self._buckets or self._pacer.has_bound()
        quick = self._slow_start or paced
        step = 1.0 if quick else 1.0 / self._limit
        self._limit = min(_CEILING, self._limit + step)

    def refused(self, now: float, retry_after: float | None) -> None:
        """429 or overload: pause, and slow down: the rate if that is what held requests back, else
        the number in flight, once per cooldown.

        Without a Retry-After the pause doubles with each round of refusals, from half a second.
        """
        by_rate = self._pacer.binds(now)
        # Even beside a known limit: it may be shared with others, or a flag may be too high.
        self._pacer.refused(now)
        # Refusals that come whatever is done are no reason to do anything.
        deaf = self._pacer.deaf(now)
        cooldown = max(_LEAST_COOLDOWN, retry_after or 0.0)
        if retry_after is None and deaf:
            retry_after = 0.0
        elif retry_after is None and by_rate and not self._pacer.silent:
            retry_after = 1 / (self._pacer.rate or 1.0)
        if retry_after is None and now >= self._paused_until:
            retry_after = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._refusals)
            self._refusals = min(self._refusals + 1, 10)
        self._paused_until = max(self._paused_until, now + (retry_after or 0.0))
        self._slow_start = False
        if self._fixed or now < self._cut_allowed_at or by_rate or deaf:
            return
        self._limit = max(1.0, self._limit * _CUT)
        self._cut_allowed_at = now + cooldown

    def faltered(self) -> None:
        """Another failure: stop doubling."""
        self._slow_start = False

    def learned(self, now: float, limits: RateLimits) -> None:
        """What an answer said of the endpoint's own limits; another limit counts at once."""
        if limits is UNSAID:
            return
        said = (
            ("requests", limits.limit_requests, limits.reset_requests),
            ("tokens", limits.limit_tokens, limits.reset_tokens),
        )
        for kind, limit, reset in said:
            # What takes longer than a minute to be there again is a limit per hour or day.
            of_a_minute = reset is None or reset <= _MINUTE
            if kind == "tokens" and limit is not None and limit < self._served:
                continue
            if limit is not None and of_a_minute and limit != self._said[kind]:
                self._said[kind] = limit
                if kind == "requests":
                    self._pacer = Pacer()
                # What is in a bucket stays: limits that take turns must not fill it each time.
                new = self._bucket(kind, now)
                self._buckets.setdefault(kind, new).change(now, new.rate, new.burst)

    def _open_buckets(self, now: float) -> None:
        for kind in ("requests", "tokens"):
            if kind not in self._buckets and self.per_minute(kind) is not None:
                self._buckets[kind] = self._bucket(kind, now)

    def _bucket(self, kind: str, now: float) -> Bucket:
        """A full one, for a limit that is known."""
        limit = self.per_minute(kind) or math.inf
        if kind == "requests":
            return request_bucket(limit, now)
        # A tenth of a minute's tokens at once: requests are large beside a second's.
        return Bucket(limit / 60, limit / 10, now)
