"""Many texts as arrays, and an inverted index over their rarest tokens.

Enters: texts as lists of token codes. Leaves: for other texts the pairs that may be similar: all
that are, few that are not. Knows no score beyond its bounds and no text.

With m and n tokens and L their longest common subsequence, F = 2L/(m + n) > t needs L, and so the
number of shared (token, k-th occurrence) elements, to be at least `least_overlap(t, m + n)`. Sort
the elements of both by one order, rarest first: the first that they share stands so far ahead that
enough are left behind it on both sides (Xiao et al. 2008).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]

# An element is a code and how many of the same are before it; a posting's key, rank and length.
_SHIFT = 24
_MASK = (1 << _SHIFT) - 1
_BITS = 128
# Bits repeat every 128 codes; an odd stride sends a token's repeats to 128 different bits.
_STRIDE = 37
# t·s/2 is a float: a bound may be too low by a hair, never too high.
_SLACK = 1e-9
# Postings read at once; they bound the memory of a probe.
_POSTINGS = 1 << 22


def least_overlap(threshold: float, total: Ints) -> Ints:
    """The fewest shared tokens with which F can be above the threshold, for total = m + n tokens.

    >>> least_overlap(0.7, np.array([20, 21]))
    array([7, 8])
    """
    least: Ints = np.floor(total * (threshold / 2 * (1 - _SLACK))).astype(np.int64) + 1
    return least


def least_partner(threshold: float, lengths: Ints) -> Ints:
    """The fewest tokens that a text similar to one of so many tokens can have.

    >>> least_partner(0.7, np.array([10, 13]))
    array([6, 7])
    """
    partner: Ints = np.maximum(
        1, np.floor(lengths * (threshold / (2 - threshold))).astype(np.int64) - 1
    )
    while (short := least_overlap(threshold, lengths + partner) > partner).any():
        partner += short
    return partner


class Texts(NamedTuple):
    """Texts side by side.

    elements: code << 24 | number of the same before it, text after text, shape (tokens,).
    starts: where each text's elements begin, and their end, shape (texts + 1,).
    signatures: 128 bits of each text, one flipped for each element, shape (2, texts).
    """

    elements: Ints
    starts: Ints
    signatures: NDArray[np.uint64]

    @classmethod
    def of(cls, codes: Sequence[Sequence[int]]) -> Texts:
        """From lists of token codes, each below 2**39."""
        lengths = np.fromiter(map(len, codes), np.int64, len(codes))
        flat = np.fromiter((code for text in codes for code in text), np.int64, int(lengths.sum()))
        owners = np.repeat(np.arange(len(codes)), lengths)
        flat = flat[np.lexsort((flat, owners))]
        begins = np.ones(len(flat), bool)
        begins[1:] = (flat[1:] != flat[:-1]) | (owners[1:] != owners[:-1])
        places = np.arange(len(flat))
        repeats = places - np.maximum.accumulate(np.where(begins, places, 0))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        bits = (flat + repeats * _STRIDE) % _BITS
        flags = np.left_shift(np.uint64(1), (bits % 64).astype(np.uint64))
        signatures = np.zeros((2, len(codes)), np.uint64)
        full = np.flatnonzero(lengths)
        for half in (0, 1):
            if len(full):
                mine = np.where(bits // 64 == half, flags, np.uint64(0))
                signatures[half, full] = np.bitwise_xor.reduceat(mine, starts[full])
        return cls(flat << _SHIFT | np.minimum(repeats, _MASK), starts, signatures)

    @property
    def lengths(self) -> Ints:
        """Tokens of each text."""
        return np.diff(self.starts)

    def joined(self, other: Texts) -> Texts:
        """These texts, then the others."""
        starts = np.concatenate([self.starts, other.starts[1:] + self.starts[-1]])
        signatures = np.concatenate([self.signatures, other.signatures], axis=1)
        return Texts(np.concatenate([self.elements, other.elements]), starts, signatures)


class Segment:
    """An index over some texts, made once. Each is known by its number, counted from `first`."""

    def __init__(self, texts: Texts, threshold: float, first: int = 0) -> None:
        self.texts = texts
        self.first = first
        self._threshold = threshold
        # Elements by rank: the rarest of these texts first.
        self._known, inverse, counts = np.unique(
            texts.elements, return_inverse=True, return_counts=True
        )
        self._ranks = np.empty(len(counts), np.int64)
        self._ranks[np.argsort(counts, kind="stable")] = np.arange(len(counts))
        ranks, owners, places = _in_order(texts, self._ranks[inverse])
        lengths = texts.lengths[owners]
        left = lengths - places
        chosen = left >= self._least(lengths)
        keys = (ranks << _SHIFT | np.minimum(lengths, _MASK))[chosen]
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._owners = owners[chosen][order].astype(np.int32)
        self._left = left[chosen][order].astype(np.int32)

    def __len__(self) -> int:
        return len(self.texts.starts) - 1

    def _least(self, lengths: Ints) -> Ints:
        """The overlap that a text of so many tokens must have with any that is similar to it."""
        return least_overlap(self._threshold, lengths + least_partner(self._threshold, lengths))

    def merged(self, later: Segment) -> Segment:
        """One index over these texts and those that follow them."""
        return Segment(self.texts.joined(later.texts), self._threshold, self.first)

    def candidates(self, probes: Texts) -> Iterator[tuple[Ints, Ints]]:
        """(probe, number of a text of this segment) for every pair whose F may be above the
        threshold, each pair once a block, in blocks of bounded size."""
        if not len(self._keys) or not len(probes.elements):
            return
        places = np.minimum(np.searchsorted(self._known, probes.elements), len(self._known) - 1)
        unknown = self._known[places] != probes.elements
        # An element that no text here has is the rarest of all.
        ranks, owners, places = _in_order(probes, np.where(unknown, -1, self._ranks[places]))
        lengths = probes.lengths[owners]
        left = lengths - places
        asked = (ranks >= 0) & (left >= self._least(lengths))
        ranks, owners, lengths, left = ranks[asked], owners[asked], lengths[asked], left[asked]
        least = least_partner(self._threshold, lengths)
        # The longest partner with which `left` shared elements are still enough, or one more.
        longest = 2 * left / max(self._threshold * (1 - _SLACK), 1e-9) - lengths
        most: Ints = np.minimum(longest, _MASK).astype(np.int64)
        begins = np.searchsorted(self._keys, ranks << _SHIFT | np.minimum(least, _MASK))
        ends = np.searchsorted(self._keys, ranks << _SHIFT | most, side="right")
        sizes = np.where(most < least, 0, np.maximum(ends - begins, 0))
        blocks = np.cumsum(sizes) // _POSTINGS
        for block in np.unique(blocks[sizes > 0]):
            mine = (blocks == block) & (sizes > 0)
            yield self._passing(probes, owners[mine], begins[mine], sizes[mine])

    def _passing(self, probes: Texts, owners: Ints, begins: Ints, sizes: Ints) -> tuple[Ints, Ints]:
        """The pairs in runs of postings that pass the positional and the bitmap filter."""
        shifts = begins - (np.cumsum(sizes) - sizes)
        postings = np.repeat(shifts, sizes) + np.arange(int(sizes.sum()))
        left = np.repeat(owners, sizes)
        right = self._owners[postings]
        total = probes.lengths[left] + self.texts.lengths[right]
        least = least_overlap(self._threshold, total)
        passing = np.flatnonzero(self._left[postings] >= least)
        left, right, slack = left[passing], right[passing], (total - 2 * least)[passing]
        differing = np.zeros(len(left), np.int64)
        for mine, theirs in zip(probes.signatures, self.texts.signatures, strict=True):
            differing += np.bitwise_count(mine[left] ^ theirs[right])
        near = differing <= slack
        pairs = np.unique(left[near] << 32 | right[near])
        return pairs >> 32, (pairs & 0xFFFFFFFF) + self.first


def _in_order(texts: Texts, ranks: Ints) -> tuple[Ints, Ints, Ints]:
    """Each text's elements by rank: their ranks, whose they are, their places counted from 0."""
    owners = np.repeat(np.arange(len(texts.starts) - 1), texts.lengths)
    order = np.lexsort((ranks, owners))
    return ranks[order], owners, np.arange(len(ranks)) - texts.starts[owners]
