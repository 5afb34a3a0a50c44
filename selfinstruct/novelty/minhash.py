"""MinHash LSH over shingles of tokens, each candidate verified by its exact Jaccard similarity.

Enters: a tokenizer, then texts. Leaves: the most similar kept text above the threshold, of those
that share a band. What is reported is true; a duplicate may be missed, at the threshold in at most
one case of a thousand. Knows no file or clock. docs/design/novelty.md has the measurements.

A text is the set of its runs of n tokens (Broder 1997); one shorter than n is one run. Signatures
and their index are rensa's, with a fixed seed: the same in every process, but not in every version
of rensa, which may change what is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from selfinstruct.errors import UsageError
from selfinstruct.novelty.method import Neighbour, checked

if TYPE_CHECKING:
    from rensa import RMinHash

# Words in English, characters in Chinese: what Lee et al. (2022, arXiv:2107.06499) take.
SHINGLE = 5
THRESHOLD = 0.7
_PERMUTATIONS = 128
_SEED = 1
_MISSED = 1e-3


class MinHash:
    """Texts kept so far: 3.2 KB each (measured): places in the bands, and the tokens as text.

    >>> from selfinstruct.languages import get_language
    >>> kept = MinHash(get_language("en").tokenize)
    >>> kept.add("a", "Name the three longest rivers of the world and their lengths in kilometres.")
    >>> kept.duplicate_of("name the three longest rivers of the world and their lengths in miles")
    Neighbour(id='a', score=0.8)
    """

    def __init__(
        self,
        tokenize: Callable[[str], Sequence[str]],
        threshold: float = THRESHOLD,
        shingle: int = SHINGLE,
    ) -> None:
        """threshold: a Jaccard similarity; shingle: tokens in a run.

        Raises UsageError when rensa is not installed, ValueError for a threshold that is no score.
        """
        try:
            import rensa
        except ImportError:
            raise UsageError(
                "the method minhash needs rensa", hint="pip install 'selfinstruct[minhash]'"
            ) from None
        self._new_signature = rensa.RMinHash
        self._threshold = checked(threshold)
        self._tokenize, self._shingle = tokenize, shingle
        self._index = rensa.RMinHashLSH(threshold, _PERMUTATIONS, bands(threshold))
        self._ids: list[str] = []
        self._kept: list[str] = []
        self._last: tuple[str, list[str], RMinHash] | None = None

    def prepare(self, texts: Sequence[str]) -> None:
        """Nothing: a text is cheap alone."""

    def duplicate_of(self, text: str) -> Neighbour | None:
        """The candidate with the highest Jaccard similarity. A text without tokens is never one."""
        tokens, signature = self._read(text)
        if not tokens:
            return None
        rows = sorted(self._index.query(signature))
        own = shingles(tokens, self._shingle)
        best = (self._threshold, 0)
        for row in rows:
            similarity = jaccard(own, shingles(self._kept[row].split(" "), self._shingle))
            if similarity > best[0]:
                best = (similarity, row)
        return None if best[0] == self._threshold else Neighbour(self._ids[best[1]], best[0])

    def add(self, id: str, text: str) -> None:
        tokens, signature = self._read(text)
        if not tokens:
            return
        self._index.insert(len(self._ids), signature)
        self._ids.append(id)
        self._kept.append(" ".join(tokens))

    def _read(self, text: str) -> tuple[list[str], RMinHash]:
        """Tokens and signature. A kept text is asked about first, then added: read once."""
        if self._last is None or self._last[0] != text:
            tokens = list(self._tokenize(text))
            signature = self._new_signature(_PERMUTATIONS, _SEED)
            signature.update(shingles(tokens, self._shingle))
            self._last = (text, tokens, signature)
        return self._last[1:]


def shingles(tokens: Sequence[str], n: int) -> set[str]:
    """The different runs of n tokens; all of them as one run where there are fewer. No token has a
    blank in it, so different runs stay different when they are joined.

    >>> sorted(shingles("to be or not to be".split(), 5))
    ['be or not to be', 'to be or not to']
    """
    return {" ".join(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1))}


def jaccard(a: set[str], b: set[str]) -> float:
    """What two sets share of all that they hold together.

    >>> jaccard({"x", "y"}, {"y", "z"})
    0.3333333333333333
    """
    return len(a & b) / len(a | b)


def bands(threshold: float) -> int:
    """The fewest bands of 128 permutations that miss a pair at the threshold at most once in 1,000.

    A pair of similarity s shares no band of r rows with probability (1 - sʳ)ᵇ (Leskovec et al.,
    Mining of Massive Datasets, 3.4.2).

    >>> bands(0.7), bands(0.9)
    (32, 16)
    """
    for rows in (64, 32, 16, 8, 4, 2):
        number = _PERMUTATIONS // rows
        if (1 - threshold**rows) ** number <= _MISSED:
            return number
    return _PERMUTATIONS
