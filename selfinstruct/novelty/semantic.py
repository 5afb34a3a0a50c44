"""Cosine similarity of embeddings: exact brute force, one text at a time in effect.

Enters: a function from texts to vectors, then texts. Leaves: the kept text with the highest cosine.
Knows no model, endpoint or file: providers/embeddings.py and providers/static_vectors.py have such
functions.

A chunk is embedded in one call and compared with what is kept by matrix products in float32. Those
only choose candidates, within a slack: the score is one float64 product of two vectors, rounded to
six decimals, so no decision depends on how texts were cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from selfinstruct.errors import UsageError
from selfinstruct.novelty.method import Neighbour, checked

Vectors: TypeAlias = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]

THRESHOLD = 0.9
# Kept rows in one product: with 1,024 texts asked, 32 MB of similarities.
_BLOCK = 8192
# A float32 product of unit vectors of d numbers errs by at most about d · 2⁻²⁴: 1e-3 is d = 16,000.
_SLACK = 1e-3


class Semantic:
    """Vectors kept so far: 4·d bytes a kept text. A text costs d·kept multiplications.

    >>> vectors = {"big dog": [1.0, 0.1], "large dog": [1.0, 0.12], "tax law": [0.0, 2.0]}
    >>> kept = Semantic(lambda texts: np.array([vectors[t] for t in texts], np.float32))
    >>> kept.add("a", "big dog")
    >>> kept.duplicate_of("large dog")
    Neighbour(id='a', score=0.999805)
    >>> kept.duplicate_of("tax law")
    """

    def __init__(self, embed: Embed, threshold: float = THRESHOLD) -> None:
        """embed: texts → one vector each, shape (n, d), the same d always; threshold: a cosine."""
        self._embed = embed
        self._threshold = checked(threshold)
        self._ids: list[str] = []
        self._kept: Vectors = np.zeros((0, 0), np.float32)
        self._ahead: dict[str, int] = {}
        self._chunk: Vectors = self._kept
        # Of each text of the chunk: kept rows that may be its neighbour, of the first `_compared`.
        self._candidates: list[list[int]] = []
        self._compared = 0

    def prepare(self, texts: Sequence[str]) -> None:
        """Embed a chunk in one call and compare it with what is kept.

        Raises UsageError when `embed` gives no finite vectors of one length.
        """
        # A blank text means nothing, and endpoints refuse it.
        different = [text for text in dict.fromkeys(texts) if text.strip()]
        if not different:
            return
        self._ahead = {text: i for i, text in enumerate(different)}
        self._chunk = self._units(different)
        if not self._ids:
            self._kept = np.zeros((0, self._chunk.shape[1]), np.float32)
        self._compared = len(self._ids)
        self._candidates = self._compare()

    def duplicate_of(self, text: str) -> Neighbour | None:
        """The kept text with the highest cosine. A blank text and a vector of zeros are like no
        other."""
        if not text.strip():
            return None
        i = self._place(text)
        vector = self._chunk[i]
        later = self._kept[self._compared : len(self._ids)] @ vector
        found = np.flatnonzero(later > self._threshold - _SLACK) + self._compared
        rows = [*self._candidates[i], *found.tolist()]
        scores = [self._cosine(row, vector) for row in rows]
        best = max(scores, default=0.0)
        if best <= self._threshold:
            return None
        return Neighbour(self._ids[rows[scores.index(best)]], best)

    def add(self, id: str, text: str) -> None:
        if not text.strip():
            return
        i = self._place(text)
        vector, row = self._chunk[i], len(self._ids)
        if row == len(self._kept):
            more = np.zeros((max(1024, row), len(vector)), np.float32)
            self._kept = np.concatenate([self._kept, more])
        self._kept[row] = vector
        self._ids.append(id)

    def _place(self, text: str) -> int:
        """The text's row in the chunk; one that nobody prepared is a chunk of its own."""
        if text not in self._ahead:
            self.prepare([text])
        return self._ahead[text]

    def _cosine(self, row: int, vector: Vectors) -> float:
        # einsum sums in one order, whatever the library of matrix products does.
        product = np.einsum("i,i", self._kept[row].astype(np.float64), vector.astype(np.float64))
        return min(1.0, round(float(product), 6))

    def _compare(self) -> list[list[int]]:
        """Of each text of the chunk, the kept rows whose cosine may be its highest."""
        found: list[list[int]] = [[] for _ in self._chunk]
        # Below the best seen by more than the slack, a row is not the neighbour.
        floors = np.full(len(self._chunk), self._threshold - _SLACK, np.float32)
        for start in range(0, self._compared, _BLOCK):
            block = self._kept[start : min(start + _BLOCK, self._compared)]
            products = block @ self._chunk.T
            np.maximum(floors, products.max(axis=0) - 2 * _SLACK, out=floors)
            for row, i in np.argwhere(products >= floors):
                found[i].append(start + int(row))
        return found

    def _units(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, or 0 where there is none, shape (n, d), in float32."""
        vectors = np.asarray(self._embed(texts), np.float64)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise UsageError(f"{len(texts)} texts were embedded as an array {vectors.shape}")
        if self._ids and vectors.shape[1] != self._kept.shape[1]:
            raise UsageError(
                f"an embedding of {vectors.shape[1]} numbers after one of {self._kept.shape[1]}"
            )
        if not np.isfinite(vectors).all():
            raise UsageError("an embedding holds a number that is not finite")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units: Vectors = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
        return units
