"""Ways to tell a near-duplicate, each an explicit choice. A new one is one file and one line here.

The libraries that a method needs are loaded when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selfinstruct.errors import UsageError
from selfinstruct.novelty.method import Index, Neighbour, Novelty, OneByOne

if TYPE_CHECKING:
    from selfinstruct.novelty.semantic import Embed


@dataclass(frozen=True)
class Means:
    """What a method may be made of; each takes what it needs.

    tokenize: the language's. threshold: None for the method's own. embed: texts → vectors.
    """

    tokenize: Callable[[str], Sequence[str]]
    threshold: float | None = None
    embed: Embed | None = None

    @property
    def limit(self) -> dict[str, Any]:
        """The threshold as a keyword, where one was given."""
        return {} if self.threshold is None else {"threshold": self.threshold}


def _rouge(means: Means) -> Index:
    from selfinstruct.novelty.rouge import RougeIndex

    return RougeIndex(means.tokenize, **means.limit)


def _exact(means: Means) -> Index:
    from selfinstruct.novelty.exact import Exact

    if means.threshold is not None:
        raise UsageError("--threshold: exact takes none: a text is the same or not")
    return OneByOne(Exact(means.tokenize))


def _minhash(means: Means) -> Index:
    from selfinstruct.novelty.minhash import MinHash

    return OneByOne(MinHash(means.tokenize, **means.limit))


def _semantic(means: Means) -> Index:
    from selfinstruct.novelty.semantic import Semantic

    if means.embed is None:
        raise UsageError("--dedup semantic needs --embed, an endpoint or a model2vec folder")
    return OneByOne(Semantic(means.embed, **means.limit))


METHODS: dict[str, Callable[[Means], Index]] = {
    "rouge": _rouge,
    "exact": _exact,
    "minhash": _minhash,
    "semantic": _semantic,
}


def get_method(name: str, means: Means) -> Index:
    """The method called `name`, with nothing kept yet. Raises UsageError naming those there are.

    >>> from selfinstruct.languages import get_language
    >>> kept = get_method("exact", Means(get_language("en").tokenize))
    >>> kept.decide(["a", "b"], ["Name a river.", "name a river"])
    [None, Neighbour(id='a', score=1.0)]
    """
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name](means)


__all__ = ["METHODS", "Index", "Means", "Neighbour", "Novelty", "get_method"]
