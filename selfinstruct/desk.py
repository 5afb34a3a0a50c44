"""Where replies become verdicts: parser, filters and pool over one run, in request order.

Enters: Replies 0, 1, 2, … Leaves: Records and the counts of everything that was decided. Pure:
generating, resuming and verifying all decide here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from selfinstruct.plan import Plan
from selfinstruct.records import Candidate, Record, Reply


class Desk:
    """Decides replies until the plan's n rows are kept.

    requests: replies decided. outcomes: replies that held no usable text, by reason. barren:
    replies in a row without a kept row.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.judge = plan.judge()
        self.outcomes: Counter[str] = Counter()
        self.requests = 0
        self.barren = 0
        self._parsed: dict[int, Sequence[Candidate]] = {}

    @property
    def done(self) -> bool:
        return self.judge.kept >= self._plan.config.n

    @property
    def most_common_reason(self) -> str:
        """Why most candidates or replies were of no use, "nothing" when all were."""
        reasons = (self.judge.rejected + self.outcomes).most_common(1)
        return reasons[0][0] if reasons else "no task in any reply"

    def look(self, reply: Reply) -> int:
        """Parse a reply ahead of its turn; the number of its tasks that may be kept."""
        candidates: Sequence[Candidate] = ()
        if not reply.outcome:
            candidates = self._plan.recipe.parse(reply, self._plan.prompt(reply.request))
        self._parsed[reply.request] = candidates
        return sum(not candidate.defect for candidate in candidates)

    def decide(self, reply: Reply) -> list[Record]:
        """The verdicts on a reply's candidates, up to the one that completes the run."""
        before = self.judge.kept
        records = []
        if reply.request not in self._parsed:
            self.look(reply)
        if reply.outcome:
            self.outcomes[reply.outcome] += 1
        for candidate in self._parsed.pop(reply.request):
            if self.done:
                break
            records.append(self.judge.judge(candidate))
        self.requests += 1
        self.barren = 0 if self.judge.kept > before else self.barren + 1
        return records
