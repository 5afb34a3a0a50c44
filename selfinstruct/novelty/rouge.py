"""Exact ROUGE-L novelty for files: which rows repeat an earlier kept one, millions at a time.

Enters: texts in order, in batches. Leaves: for each the kept text that makes it a duplicate, or
None; a text without one is kept. Knows no language, file, clock or random number.

The decisions, neighbours and scores are those of `dedup.NoveltyPool` asked one text at a time,
whatever the size of the batches. That pool scans every kept text; this index reads only those that
share a rare token in the right place: the prefix, length and positional filters of PPJoin (Xiao et
al. 2008) over (token, k-th occurrence), then the bitmap filter of Sandes et al. (2020), then
rapidfuzz. docs/design/dedup.md has the bounds and the measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

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
            found += self._decide(ids[part], [self._encode(text) for text in texts[part]])
        return found

    def _decide(self, ids: Sequence[str], codes: list[list[int]]) -> list[Neighbour | None]:
        # Texts of the same tokens are one class, compared once: copies cost no pairs.
        classes: dict[tuple[int, ...], int] = {}
        class_of = [classes.setdefault(tuple(text), len(classes)) for text in codes]
        texts = Texts.of(list(classes))
        packed = [pack(text) for text in classes]
        before = self._before(texts, packed)
        beside = self._beside(texts, packed)
        kept: dict[int, int] = {}  # class → the place of its kept text
        found: list[Neighbour | None] = []
        for place, mine in enumerate(class_of):
            score, row = before.get(mine, (0.0, 0))
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

    def _before(self, texts: Texts, packed: list[Codes]) -> dict[int, tuple[float, int]]:
        """For each text with a similar kept one: the highest F, and the first row that has it."""
        best: dict[int, tuple[float, int]] = {}
        for segment in self._segments:
            for pairs in segment.candidates(texts):
                for text, row, score in self._verified(pairs, packed, self._packed):
                    top, first = best.get(text, (0.0, 0))
                    if score > top or (score == top and row < first):
                        best[text] = (score, row)
        return best

    def _beside(self, texts: Texts, packed: list[Codes]) -> dict[int, list[tuple[int, float]]]:
        """For each text those of the same batch that are similar to it, with F; itself too."""
        beside: dict[int, list[tuple[int, float]]] = {}
        for left, right in Segment(texts, self._threshold).candidates(texts):
            for one, other, score in self._verified(
                (left[left <= right], right[left <= right]), packed, packed
            ):
                beside.setdefault(one, []).append((other, score))
                if one != other:
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

    def _encode(self, text: str) -> list[int]:
        vocabulary = self._vocabulary
        return [
            vocabulary.setdefault(token, nth_code(len(vocabulary)))
            for token in self._tokenize(text)
        ]

    def _keep(self, ids: Sequence[str], codes: list[list[int]]) -> None:
        if not ids:
            return
        segment = Segment(Texts.of(codes), self._threshold, len(self._ids))
        self._ids += ids
        self._packed += map(pack, codes)
        while self._segments and len(self._segments[-1]) < _GROWTH * len(segment):
            segment = self._segments.pop().merged(segment)
        self._segments.append(segment)
