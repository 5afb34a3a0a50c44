"""Ways to tell a near-duplicate, each an explicit choice. A new one is one file and one line here.

The libraries that a method needs are loaded when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selfinstruct.errors import UsageError
from selfinstruct.novelty.method import Neighbour, Novelty

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


def _exact(means: Means) -> Novelty:
    from selfinstruct.novelty.exact import Exact

    if means.threshold is not None:
        raise UsageError("the method exact takes no threshold: a text is the same or not")
    return Exact(means.tokenize)


def _minhash(means: Means) -> Novelty:
    from selfinstruct.novelty.minhash import MinHash

    return MinHash(means.tokenize, **means.limit)


def _semantic(means: Means) -> Novelty:
    from selfinstruct.novelty.semantic import Semantic

    if means.embed is None:
        raise UsageError("the method semantic needs an embedding model or endpoint")
    return Semantic(means.embed, **means.limit)


# "rouge", exact ROUGE-L, goes first.
METHODS: dict[str, Callable[[Means], Novelty]] = {
    "exact": _exact,
    "minhash": _minhash,
    "semantic": _semantic,
}


def get_method(name: str, means: Means) -> Novelty:
    """The method called `name`, with nothing kept yet. Raises UsageError naming those there are.

    >>> from selfinstruct.languages import get_language
    >>> kept = get_method("exact", Means(get_language("en").tokenize))
    >>> kept.add("a", "Name a river.")
    >>> kept.duplicate_of("name a river")
    Neighbour(id='a', score=1.0)
    """
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name](means)


__all__ = ["METHODS", "Means", "Neighbour", "Novelty", "get_method"]
