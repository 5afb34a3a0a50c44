"""Where replies become verdicts: parser, filters and pool over one language, in request order.

Enters: Replies 0, 1, 2, … Leaves: Records and the counts of everything that was decided. Pure:
generating, resuming and verifying all decide here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from selfinstruct.plan import Track
from selfinstruct.records import Candidate, Record, Reply


class Desk:
    """Decides a track's replies until its rows are kept or its requests are all decided.

    requests: replies decided. outcomes: replies that held no usable text, by reason.
    """

    def __init__(self, track: Track) -> None:
        self.track = track
        self.judge = track.judge()
        self.outcomes: Counter[str] = Counter()
        self.requests = 0
        self._parsed: dict[int, Sequence[Candidate]] = {}

    @property
    def full(self) -> bool:
        """As many rows as are wanted are kept."""
        return self.judge.kept >= self.track.wanted

    @property
    def done(self) -> bool:
        """Full, or there is nothing more to decide."""
        return self.full or self.requests == self.track.recipe.requests

    @property
    def most_common_reason(self) -> str:
        """Why most candidates or replies were of no use."""
        reasons = (self.judge.rejected + self.outcomes).most_common(1)
        return reasons[0][0] if reasons else "no task in any reply"

    def look(self, reply: Reply) -> int:
        """Parse a reply ahead of its turn; the number of its tasks that may be kept."""
        candidates = self.track.recipe.parse(reply, self.track.prompt(reply.request))
        self._parsed[reply.request] = candidates
        return sum(not candidate.defect for candidate in candidates)

    def decide(self, reply: Reply) -> list[Record]:
        """The verdicts on a reply's candidates, up to the one that completes the run."""
        records = []
        if reply.request not in self._parsed:
            self.look(reply)
        if reply.outcome:
            self.outcomes[reply.outcome] += 1
        for candidate in self._parsed.pop(reply.request):
            if self.full:
                break
            records.append(self.judge.judge(candidate))
        self.requests += 1
        return records
