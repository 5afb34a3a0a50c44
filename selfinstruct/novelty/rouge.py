"""Exact ROUGE-L novelty for files: which rows repeat an earlier kept one, millions at a time.

Enters: texts in order, in batches. Leaves: for each the kept text that makes it a duplicate, or
None; a text without one is kept. Knows no language, file, clock or random number.

The decisions, neighbours and scores are those of `dedup.NoveltyPool` asked one text at a time,
whatever the size of the batches; of a text longer than LONGEST the beginning is compared. That pool
scans every kept text; this index reads only those that share a rare token in the right place: the
prefix, length and positional filters of PPJoin (Xiao et al. 2008) over (token, k-th occurrence),
then the bitmap filter of Sandes et al. (2020), then rapidfuzz. docs/design/dedup.md has the bounds
and the measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from selfinstruct.dedup import Codes, nth_code, pack
from selfinstruct.novelty.method import Neighbour
from selfinstruct.novelty.segment import Ints, Segment, Texts

# Texts that are compared with each other at once: their pairs bound the memory.
_BATCH = 2048
# A segment is merged into the one before it unless that one is this many times as large: each text
# is sorted about log4(n / batch) times, and a probe meets a handful of segments.
_GROWTH = 4
# Pairs verified at once.
_PAIRS = 1 << 18
# Characters of a text that are compared, thousands of words: two of 10 MB that are alike would take
# more than ten minutes.
LONGEST = 100_000
# More similar pairs in a batch than this, about 64 a text, and it is decided in two halves: of rows
# of one template the first half leaves few that the second must be compared with.
_MANY = 1 << 17

# A text as the codes of its tokens.
_Text: TypeAlias = tuple[int, ...]
# Of a text the highest F that a kept one has with it, and the first row that has it.
_Best: TypeAlias = dict[_Text, tuple[float, int]]


class RougeIndex:
    """The kept texts, and which new ones repeat one of them.

    Memory: about 30 bytes a token and 200 a kept text, ids not counted.
    """

    def __init__(self, tokenize: Callable[[str], Sequence[str]], threshold: float = 0.7) -> None:
        """`threshold` is a ROUGE-L F-measure, 0.0 to 1.0; anything else is a ValueError."""
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold must be between 0 and 1, not {threshold!r}")
        self._tokenize = tokenize
        self._threshold = threshold
        self._vocabulary: dict[str, int] = {}
        self._ids: list[str] = []
        self._packed: list[Codes] = []
        self._segments: list[Segment] = []

    def __len__(self) -> int:
        """Number of texts kept."""
        return len(self._ids)

    def add(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Keep all texts, also those that repeat each other."""
        for start in range(0, len(texts), _BATCH):
            part = slice(start, start + _BATCH)
            codes = [self._encode(text) for text in texts[part]]
            self._keep(ids[part], codes)

    def decide(self, ids: Sequence[str], texts: Sequence[str]) -> list[Neighbour | None]:
        """For each text in order its nearest kept one if their F is above the threshold, or None;
        a text that gets None is kept under its id, and the later ones are compared with it too.

        Of several equally near the earliest kept is named.
        """
        found: list[Neighbour | None] = []
        for start in range(0, len(texts), _BATCH):
            part = slice(start, start + _BATCH)
            codes = [self._encode(text) for text in texts[part]]
            found += self._decide(ids[part], codes, self._repeated(codes, self._segments))
        return found

    def _decide(
        self, ids: Sequence[str], codes: Sequence[_Text], before: _Best
    ) -> list[Neighbour | None]:
        """before: of each text what it repeats of all that is kept so far."""
        # Texts of the same tokens are one class, compared once: copies cost no pairs.
        classes: dict[_Text, int] = {}
        class_of = [classes.setdefault(text, len(classes)) for text in codes]
        beside = self._beside(list(classes), before)
        if beside is None:
            return self._in_halves(ids, codes, before)
        kept: dict[int, int] = {}  # class → the place of its kept text
        found: list[Neighbour | None] = []
        for place, mine in enumerate(class_of):
            score, row = before.get(codes[place], (0.0, 0))
            nearest = Neighbour(self._ids[row], score) if score else None
            rivals = [
                (other_score, -kept[other])
                for other, other_score in beside.get(mine, ())
                if other in kept
            ]
            # Texts kept before this batch were kept earlier: of equal scores theirs is named.
            if rivals and max(rivals)[0] > score:
                score, minus_place = max(rivals)
                nearest = Neighbour(ids[-minus_place], score)
            if nearest is None:
                kept.setdefault(mine, place)
            found.append(nearest)
        novel = [place for place, neighbour in enumerate(found) if neighbour is None]
        self._keep([ids[place] for place in novel], [codes[place] for place in novel])
        return found

    def _in_halves(
        self, ids: Sequence[str], codes: Sequence[_Text], before: _Best
    ) -> list[Neighbour | None]:
        """The same, the second half compared with what the first one leaves."""
        half, first = len(codes) // 2, len(self._ids)
        found = self._decide(ids[:half], codes[:half], before)
        novel = [code for code, nearest in zip(codes, found, strict=False) if nearest is None]
        later = dict(before)
        fresh = Segment(Texts.of(novel), self._threshold, first)
        for text, best in self._repeated(codes[half:], [fresh]).items():
            # Of equal scores that of the row kept earlier stays.
            if best[0] > before.get(text, (0.0, 0))[0]:
                later[text] = best
        return found + self._decide(ids[half:], codes[half:], later)

    def _repeated(self, codes: Sequence[_Text], segments: Sequence[Segment]) -> _Best:
        """For each text with a similar one in `segments` the highest F, and the first row that has
        it."""
        texts = list(dict.fromkeys(codes))
        packed, probes = [pack(text) for text in texts], Texts.of(texts)
        best: _Best = {}
        for segment in segments:
            for pairs in segment.candidates(probes):
                for number, row, score in self._verified(pairs, packed, self._packed):
                    top, first = best.get(texts[number], (0.0, 0))
                    if score > top or (score == top and row < first):
                        best[texts[number]] = (score, row)
        return best

    def _beside(
        self, texts: Sequence[_Text], before: _Best
    ) -> dict[int, list[tuple[int, float]]] | None:
        """For each text those of the same batch that are similar to it and may be kept, with F;
        itself too. None when they are too many to look at."""
        # What repeats an earlier text is not kept, so nothing repeats it.
        is_open = np.array([text not in before for text in texts], bool)
        numbers = np.flatnonzero(is_open)
        segment = Segment(Texts.of([texts[number] for number in numbers.tolist()]), self._threshold)
        packed = [pack(text) for text in texts]
        beside: dict[int, list[tuple[int, float]]] = {}
        count = 0
        for left, places in segment.candidates(Texts.of(texts)):
            right = numbers[places]
            once = ~is_open[left] | (left <= right)
            count += int(once.sum())
            if count > _MANY and len(texts) > 1:
                return None
            for one, other, score in self._verified((left[once], right[once]), packed, packed):
                beside.setdefault(one, []).append((other, score))
                if one != other and is_open[one]:
                    beside.setdefault(other, []).append((one, score))
        return beside

    def _verified(
        self, pairs: tuple[Ints, Ints], lefts: list[Codes], rights: list[Codes]
    ) -> Iterator[tuple[int, int, float]]:
        """The pairs whose F is above the threshold, with F as rouge-score has it, bit for bit."""
        for start in range(0, len(pairs[0]), _PAIRS):
            left, right = (column[start : start + _PAIRS].tolist() for column in pairs)
            one, other = [lefts[i] for i in left], [rights[i] for i in right]
            lcs = process.cpdist(one, other, scorer=LCSseq.similarity, dtype=np.int64)
            p = lcs / np.fromiter(map(len, one), np.int64, len(one))
            r = lcs / np.fromiter(map(len, other), np.int64, len(other))
            scores = 2 * p * r / (p + r + (lcs == 0))  # 0 / 1 where nothing matches
            for place in np.flatnonzero(scores > self._threshold).tolist():
                yield left[place], right[place], float(scores[place])

    def _encode(self, text: str) -> _Text:
        vocabulary = self._vocabulary
        return tuple(
            vocabulary.setdefault(token, nth_code(len(vocabulary)))
            for token in self._tokenize(text[:LONGEST])
        )

    def _keep(self, ids: Sequence[str], codes: Sequence[_Text]) -> None:
        if not ids:
            return
        segment = Segment(Texts.of(codes), self._threshold, len(self._ids))
        self._ids += ids
        self._packed += map(pack, codes)
        while self._segments and len(self._segments[-1]) < _GROWTH * len(segment):
            segment = self._segments.pop().merged(segment)
        self._segments.append(segment)
