"""Which tasks request k shows: a pure function of (run seed, language, k).

Enters: seeds. Leaves: the sampled ones and the request's own RNG. Shares no state between requests.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def request_rng(run_seed: int, stream: str, request: int) -> random.Random:
    """The RNG of one request. `stream` names the language, so that languages do not mirror."""
    # A str seeds through SHA-512: the same on every platform and Python, unlike hash().
    return random.Random(f"{run_seed}/{stream}/{request}")


def sample(rng: random.Random, population: Sequence[T], count: int) -> list[T]:
    """`count` distinct items (all, shuffled, when there are fewer), in drawn order.

    Uses only random.random(), the one method whose sequence Python promises to keep.
    """
    pool = list(population)
    count = min(count, len(pool))
    for i in range(count):
        j = i + int(rng.random() * (len(pool) - i))
        pool[i], pool[j] = pool[j], pool[i]
    return pool[:count]
