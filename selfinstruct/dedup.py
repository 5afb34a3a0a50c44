"""The novelty pool: which earlier text is nearest, by exact ROUGE-L, one text at a time.

Enters: a tokenizer, then (id, text) pairs to keep and texts to compare with them.
Leaves: the nearest kept text and its score. Knows no language, file, clock or random number.

Every score is the float that rouge-score returns (ROUGE-L: Lin 2004); only the work differs.
A text is also kept as a 192-bit signature. Two signatures cap how many tokens the texts can share
(the bitmap filter of Sandes et al. 2020, for the overlap of set-similarity joins as in PPJoin,
Xiao et al. 2008), which caps the score, so only rows whose cap reaches the best score found are
compared in full. docs/design/dedup.md has the proof and the measurements.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from selfinstruct.records import Neighbour

# Bits repeat every 192 codes; a stride prime to it sends a token's repeats to different bits. Fewer
# bits leave more texts to compare, more cost more to scan, and counts past 255 outgrow a byte.
_WORDS = 3
_BITS = 64 * _WORDS
_REPEAT_STRIDE = 37
_WORD = (1 << 64) - 1
# Ceilings are float32: at most nine roundings of 2**-24 each, together below 6e-7.
_SLACK = 1e-6
# Each round verifies the rows within this factor of the highest ceiling not yet verified.
# It decides speed alone; of 0.7 to 0.95, 0.8 was among the fastest on both 52K files.
_STEP = 0.8
_SURROGATES = range(0xD800, 0xE000)
_LAST_CODE_POINT = 0x10FFFF

Codes: TypeAlias = "str | array[int]"


class NoveltyPool:
    """Texts kept so far, and the exact nearest of them to a new one.

    `nearest` is linear in the pool with a small constant (28 bytes scanned per kept text);
    `add` is amortised constant. The answer depends on the texts and their order alone.
    """

    def __init__(self, tokenize: Callable[[str], Sequence[str]], threshold: float = 0.7) -> None:
        """`threshold` is a ROUGE-L F-measure, 0.0 to 1.0; anything else is a ValueError."""
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold must be between 0 and 1, not {threshold!r}")
        # A kept text is asked about first, then added: read it once.
        self._tokenize = lru_cache(maxsize=1)(tokenize)
        self._threshold = threshold
        self._vocabulary: dict[str, int] = {}
        self._ids: list[str] = []
        # The rest has a column per kept text, doubled when full. Signatures are (3, n), not (n, 3),
        # which numpy scans several times slower. float32 lengths are for the scan, int64 for F.
        self._signatures: NDArray[np.uint64] = np.zeros((_WORDS, 1024), np.uint64)
        self._scan_lengths: NDArray[np.float32] = np.zeros(1024, np.float32)
        self._lengths: NDArray[np.int64] = np.zeros(1024, np.int64)
        self._codes: NDArray[np.object_] = np.empty(1024, np.object_)  # of Codes

    def __len__(self) -> int:
        """Number of texts kept."""
        return len(self._ids)

    def add(self, id: str, text: str) -> None:
        """Keep `text`; later calls of `nearest` may name it by `id`."""
        row = len(self._ids)
        if row == len(self._lengths):
            self._grow()
        codes = [
            self._vocabulary.setdefault(token, nth_code(len(self._vocabulary)))
            for token in self._tokenize(text)
        ]
        self._signatures[:, row] = _signature(codes)
        self._lengths[row] = self._scan_lengths[row] = len(codes)
        self._codes[row] = pack(codes)
        self._ids.append(id)

    def nearest(self, text: str) -> Neighbour | None:
        """The kept text with the highest ROUGE-L F, the earliest of equals; None: empty pool.

        Leaves the pool as it was. Texts that share no token score 0.0, two empty ones too.
        """
        if not self._ids:
            return None
        tokens = self._tokenize(text)
        # A token that no kept text has cannot match: it counts in the length, nowhere else.
        known = [c for t in tokens if (c := self._vocabulary.get(t)) is not None]
        if not known:
            return Neighbour(self._ids[0], 0.0)
        score, row = self._search(pack(known), len(tokens), self._ceilings(known, len(tokens)))
        return Neighbour(self._ids[row], score)

    def is_duplicate(self, score: float) -> bool:
        """Whether a score of `nearest` is above the threshold, strictly."""
        return score > self._threshold

    def _grow(self) -> None:
        self._signatures = np.concatenate([self._signatures, np.zeros_like(self._signatures)], 1)
        self._scan_lengths = np.concatenate([self._scan_lengths, np.zeros_like(self._scan_lengths)])
        self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        self._codes = np.concatenate([self._codes, np.empty_like(self._codes)])

    def _ceilings(self, known: list[int], length: int) -> NDArray[np.float32]:
        """An upper bound of F for each kept text, shape (n,), low by less than _SLACK.

        known: codes of the new text's tokens that the pool has; length: all its tokens.
        With s tokens shared and lengths m, n: F = 2·lcs/(m+n) <= 2s/(m+n), and
        2s = m + |known| - |a Δ b| <= m + |known| - popcount(sig(a) XOR sig(b)).
        """
        size = len(self._ids)
        lengths = self._scan_lengths[:size]
        differing = np.zeros(size, np.uint8)
        for kept, word in zip(self._signatures, _signature(known), strict=True):
            differing += np.bitwise_count(kept[:size] ^ np.uint64(word))
        doubled: NDArray[np.float32] = lengths - differing
        np.minimum(doubled, len(known), out=doubled)  # no more is shared than the query has
        doubled += len(known)
        doubled /= lengths + length
        return doubled

    def _search(
        self, query: Codes, length: int, ceilings: NDArray[np.float32]
    ) -> tuple[float, int]:
        """(score, row) of the best row, the first of equals, verifying from the top ceiling down.

        Ends because some row shares a token with the query, so its score is above 0.
        """
        best = (-1.0, 0)
        floor = float(ceilings.max()) * _STEP
        while True:
            rows = np.flatnonzero(ceilings >= floor)
            if len(rows):
                texts: list[Codes] = self._codes[rows].tolist()
                scores = _f_measures(query, length, texts, self._lengths[rows])
                top = int(scores.argmax())
                best = max(best, (float(scores[top]), -int(rows[top])))
                ceilings[rows] = -1.0  # verified: out of the next rounds
            reach = best[0] * (1 - _SLACK)
            if floor <= reach:
                return best[0], -best[1]
            floor = max(reach, floor * _STEP)


def nth_code(n: int) -> int:
    """The n-th integer from 0 that is not a surrogate, for the n-th distinct token."""
    return n if n < _SURROGATES.start else n + len(_SURROGATES)


def pack(codes: Sequence[int]) -> Codes:
    """Codes as rapidfuzz compares them: a string, or an array once they outgrow Unicode.

    rapidfuzz compares by integer value, so the two kinds may meet in one comparison.
    """
    if max(codes, default=0) > _LAST_CODE_POINT:
        return array("I", codes)
    return "".join(map(chr, codes))


def _signature(codes: list[int]) -> list[int]:
    """192 bits as 64-bit words, the lowest first: one bit flipped per (token, k-th occurrence).

    Codes are handed out in order of first sight, which tends to be order of frequency, so the
    commonest 192 tokens get a bit each; a hash would make some of them share one.
    """
    bits = 0
    seen: dict[int, int] = {}
    for code in codes:
        repeat = seen.get(code, 0)
        seen[code] = repeat + 1
        bits ^= 1 << (code + repeat * _REPEAT_STRIDE) % _BITS
    return [bits >> 64 * word & _WORD for word in range(_WORDS)]


def _f_measures(
    query: Codes, length: int, texts: list[Codes], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """rouge-score's F of each text against the query, shape (len(texts),), bit for bit.

    rouge-score divides by the prediction's length for p and the target's for r. Which text plays
    which part does not matter, in floats either: doubling is exact, so 2·p·r rounds p·r once,
    and products and sums commute.
    """
    lcs = process.cdist([query], texts, scorer=LCSseq.similarity)[0]
    p = lcs / length
    r = lcs / np.maximum(lengths, 1)
    f: NDArray[np.float64] = 2 * p * r / (p + r + (lcs == 0))  # 0 / 1 where nothing matches
    return f
