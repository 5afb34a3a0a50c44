"""Which of several endpoints gets the next request, and which is left alone. Pure: no clock.

Enters: what became of each request, with its time in seconds. Leaves: an endpoint, or how long to
wait for one. Knows no network and no prompt.

The one with the fewest outstanding requests is chosen. Three failures in a row without a success
eject an endpoint, for a second at first and twice as long each time up to half a minute; after that
one request tries it (half-open), whose success readmits it and whose failure ejects it again. The
only endpoint of a model is never ejected: there is nowhere else to go, and the back-off of each
request protects it already. Outlier ejection as in Envoy's consecutive_5xx, circuit breaking after
Nygard, Release It! (2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from selfinstruct.ratelimits import RateLimits
from selfinstruct.throttle import Throttle

_FAILURES = 3
_FIRST_EJECTION, _LONGEST_EJECTION = 1.0, 30.0


@dataclass
class Member:
    """One endpoint: `id` is its number in the journal. answered: it gave an answer. gone: why it
    will never be asked again."""

    id: int
    model: str
    throttle: Throttle
    failures: int = 0
    ejections: int = 0
    ejected_until: float = -math.inf
    trial: bool = False
    answered: bool = False
    gone: str = ""

    def free(self, now: float) -> int:
        """Requests that may be in flight beside those that are, buckets aside."""
        if self.gone or now < self.ejected_until:
            return 0
        if self.ejections:
            return 0 if self.trial else min(1, self.throttle.free(now))
        return self.throttle.free(now)

    def wait(self, now: float, tokens: int) -> float:
        """Seconds until a request of `tokens` may start, inf when only another's end can tell."""
        if self.gone or (self.ejections and self.trial):
            return math.inf
        return max(self.ejected_until - now, self.throttle.wait(now, tokens))

    def state(self, now: float) -> str:
        """ "up", "ejected", "on trial" or "refused"."""
        if self.gone:
            return "refused"
        if not self.ejections:
            return "up"
        return "ejected" if now < self.ejected_until else "on trial"


class Fleet:
    """The endpoints of a run, in the order of the command line."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)

    @property
    def in_flight(self) -> int:
        return sum(member.throttle.in_flight for member in self.members)

    def of(self, model: str) -> list[Member]:
        """The endpoints that serve `model` and have not refused for good."""
        return [member for member in self.members if member.model == model and not member.gone]

    def free(self, model: str, now: float) -> int:
        """Requests for `model` that may start, buckets aside."""
        return sum(member.free(now) for member in self.of(model))

    def choose(self, model: str, now: float, tokens: int) -> Member | None:
        """The endpoint for a request of `tokens`; None when none has room."""
        able = [member for member in self.of(model) if member.wait(now, tokens) <= 0]
        return min(able, key=lambda member: member.throttle.in_flight, default=None)

    def wait(self, model: str, now: float, tokens: int) -> float:
        """Seconds after which it is worth asking again, inf when an end must come first."""
        return min((member.wait(now, tokens) for member in self.of(model)), default=math.inf)

    def never_fits(self, model: str, tokens: int) -> str:
        """Why no endpoint can ever take a request of `tokens`, "" when one can."""
        reasons = [member.throttle.never_fits(tokens) for member in self.of(model)]
        return reasons[0] if reasons and all(reasons) else ""

    def started(self, member: Member, now: float, tokens: int) -> None:
        """A request goes out."""
        member.throttle.started(now, tokens)
        if member.ejections:
            member.trial = True

    def ended(self, member: Member, now: float, tokens: int, used: int | None) -> None:
        """It has an end, whatever it was. used: tokens, 0 when the server counted nothing."""
        member.throttle.ended(now, tokens, used)
        member.trial = False

    def learned(self, member: Member, now: float, limits: RateLimits) -> None:
        """What an answer said of the endpoint's limits."""
        member.throttle.learned(now, limits)

    def succeeded(self, member: Member) -> bool:
        """An answer came. True when this readmits an ejected endpoint."""
        member.throttle.succeeded()
        member.answered = True
        back = bool(member.ejections)
        member.failures = member.ejections = 0
        member.ejected_until = -math.inf
        return back

    def refused(self, member: Member, now: float, retry_after: float | None) -> None:
        """429 or overload: the endpoint lives, but wants less."""
        member.throttle.refused(now, retry_after)
        member.failures = 0

    def failed(self, member: Member, now: float) -> float:
        """No usable answer. Seconds for which this ejects the endpoint, 0.0 when it does not."""
        member.throttle.faltered()
        if now < member.ejected_until:
            return 0.0
        member.failures += 1
        alone = len(self.of(member.model)) == 1
        if alone or (member.failures < _FAILURES and not member.ejections):
            return 0.0
        seconds = min(_LONGEST_EJECTION, _FIRST_EJECTION * 2.0 ** min(member.ejections, 10))
        member.ejections += 1
        member.ejected_until = now + seconds
        return seconds
