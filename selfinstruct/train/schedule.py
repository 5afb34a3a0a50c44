"""Which rows a step trains on and how they lie in memory: decided before the first step.

Enters: the lengths of the rows. Leaves: for every step its items; an item is what one place of a
batch holds, one row or several packed together, or none. Pure: a function of its arguments, so a
training goes on after a kill with the same rows, on any number of devices.

A step's rows are drawn before they are packed or sorted. Packing and length grouping therefore
change the speed and nothing else: loss and gradient of a step are those of its rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import numpy as np

Item = tuple[int, ...]


def steps_of(
    lengths: Sequence[int],
    *,
    batch: int,
    epochs: float,
    seed: int,
    pack_to: int | None = None,
    steps: int | None = None,
) -> list[list[Item]]:
    """The items of every step. lengths: tokens of each row. pack_to: tokens of an item, None for a
    row each. steps: as many as this instead of `epochs`.

    An epoch's last step holds what is left of it.
    """
    if not lengths:
        return []
    total = steps if steps is not None else math.ceil(math.ceil(len(lengths) / batch) * epochs)
    drawn = _drawn(len(lengths), batch, seed)
    return [_items(next(drawn), lengths, pack_to) for _step in range(total)]


def _drawn(rows: int, batch: int, seed: int) -> Iterator[list[int]]:
    """The rows of each step, for ever: every epoch in an order of its own."""
    epoch = 0
    while True:
        order = list(range(rows))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        for start in range(0, rows, batch):
            yield order[start : start + batch]
        epoch += 1


def _items(rows: Sequence[int], lengths: Sequence[int], pack_to: int | None) -> list[Item]:
    """The longest first: neighbours are of a length, so little is padded."""
    ordered = sorted(rows, key=lambda row: -lengths[row])
    if pack_to is None:
        return [(row,) for row in ordered]
    return packed(ordered, lengths, pack_to)


def packed(rows: Sequence[int], lengths: Sequence[int], room: int) -> list[Item]:
    """First fit: each row goes into the first item that has room for it.

    With the rows ordered by length, the longest first, at most 11/9 of the items that would do,
    and 6/9 of one (Dósa 2007).

    >>> packed([0, 1, 2, 3], [6, 5, 4, 3], room=10)
    [(0, 2), (1, 3)]
    """
    left = np.zeros(len(rows), np.int64)
    items: list[list[int]] = []
    for row in rows:
        fits = left[: len(items)] >= lengths[row]
        place = int(fits.argmax()) if fits.any() else len(items)
        if place == len(items):
            items.append([])
            left[place] = room
        items[place].append(row)
        left[place] -= lengths[row]
    return [tuple(item) for item in items]


def spread(steps: Sequence[Sequence[Item]], slots: int) -> list[Item]:
    """All items in the order in which they are read, `slots` a step; () where a step has fewer."""
    return [item for step in steps for item in (*step, *[()] * (slots - len(step)))]
