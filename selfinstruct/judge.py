"""Kept or rejected: the filters, then novelty, for every candidate in request order.

Enters: candidates. Leaves: Records, and counts that add up. Pure: the same candidates in the same
order give the same verdicts. Knows no network, file or clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from selfinstruct.dedup import NoveltyPool
from selfinstruct.filters import FILTERS, apply_filters
from selfinstruct.languages import Language
from selfinstruct.records import Candidate, Record, Seed, Verdict


class Judge:
    """Judges with the language's filters and a novelty pool that starts with the seeds and what is
    known."""

    def __init__(
        self,
        language: Language,
        seeds: Sequence[Seed],
        *,
        recipe: str,
        rouge_l: float,
        skip: Set[str] = frozenset(),
        known: Iterable[tuple[str, str]] = (),
    ) -> None:
        """skip: names of filters that are not asked. known: (id, instruction) of other rows."""
        self._skip = skip
        self._language = language
        self._recipe = recipe
        self._pool = NoveltyPool(language.tokenize, rouge_l)
        for seed in seeds:
            self._pool.add(f"seed:{seed.id}", seed.task.instruction)
        for id, instruction in known:
            self._pool.add(f"known:{id}", instruction)
        self.kept = 0
        self.rejected: Counter[str] = Counter()

    @property
    def candidates(self) -> int:
        return self.kept + self.rejected.total()

    def judge(self, candidate: Candidate) -> Record:
        """The candidate, tidied, with its verdict; a kept one joins the pool."""
        if not candidate.defect:
            candidate = replace(candidate, task=self._language.tidy(candidate.task))
        id = f"{self._language.code}-{candidate.request:06d}-{candidate.position:02d}"
        verdict = self._verdict(candidate)
        if verdict.kept:
            self.kept += 1
            self._pool.add(id, candidate.task.instruction)
        else:
            self.rejected[verdict.reason] += 1
        return Record(id, self._language.code, self._recipe, candidate, verdict)

    def _verdict(self, candidate: Candidate) -> Verdict:
        if candidate.defect:
            return Verdict(candidate.defect, candidate.detail)
        objection = apply_filters(candidate.task, self._language, self._skip)
        if objection is not None:
            return objection
        nearest = self._pool.nearest(candidate.task.instruction)
        if nearest is not None and self._pool.is_duplicate(nearest.rouge_l):
            return Verdict("near_duplicate", f"ROUGE-L with {nearest.id}", nearest)
        return Verdict(neighbour=nearest)


def judging_facts(rouge_l: float, languages: Sequence[Language]) -> dict[str, object]:
    """What of the judging decides the data, for the fingerprint."""
    checks = {language.code: list(language.checks) for language in languages}
    return {"filters": list(FILTERS), "checks": checks, "rouge_l": rouge_l}
