"""What a run looks like at one moment: plain numbers for a display, a log line or a summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EndpointProgress:
    """One endpoint and model: what the run took from it so far, and how it does at the moment.

    url: without user info and query, "" for the embedded model. Tokens are the provider's own
    counts. in_flight, limit: requests without an answer, and how many there may be. state: as
    fleet.Member has it, "not used now" where only earlier processes of the run asked.
    """

    url: str
    model: str
    sent: int = 0
    paid: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    in_flight: int = 0
    limit: int = 0
    state: str = "not used now"


@dataclass(frozen=True)
class Progress:
    """kept, wanted, candidates: rows. languages: (kept, wanted) of each. requests: decided ones.
    elapsed: seconds of this process.

    session_tokens: completion tokens received by this process. cost, budget: picodollars spent by
    the run and allowed to it, None when unknown and unlimited. fresh: rows kept by this process's
    own requests, the base of the ETA. endpoints: in order of first use.
    """

    kept: int = 0
    wanted: int = 0
    candidates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    languages: dict[str, tuple[int, int]] = field(default_factory=dict)
    requests: int = 0
    in_flight: int = 0
    session_tokens: int = 0
    fresh: int = 0
    elapsed: float = 0.0
    cost: int | None = None
    budget: int | None = None
    endpoints: tuple[EndpointProgress, ...] = ()

    @property
    def yield_share(self) -> float:
        """Kept rows as a share of candidates, 0.0–1.0."""
        return self.kept / self.candidates if self.candidates else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.session_tokens / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds to go at this process's own rate, None while unknown."""
        if not self.fresh or not self.elapsed:
            return None
        return (self.wanted - self.kept) * self.elapsed / self.fresh
