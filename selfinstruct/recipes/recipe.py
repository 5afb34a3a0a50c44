"""The shape of a recipe. Pure: ingredients in, prompts out; replies in, candidates out."""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from dataclasses import dataclass
from string import Template
from typing import ClassVar, Protocol

from selfinstruct.languages import Language
from selfinstruct.records import Candidate, Prompt, Reply, Seed, SourceRow


@dataclass(frozen=True)
class Ingredients:
    """What a recipe is made with.

    template: has exactly the recipe's placeholders. tasks: asked for in one request. examples:
    seed tasks shown in it, of at most example_chars characters each. source: the rows to work on,
    for recipes that need them. structured: ask for JSON; the template is the one for that.
    """

    language: Language
    seeds: Sequence[Seed]
    template: Template
    tasks: int
    examples: int
    example_chars: int
    source: Sequence[SourceRow] = ()
    structured: bool = False


class Recipe(Protocol):
    """One way to make rows.

    placeholders: the names that its prompt template must have, structured_placeholders those of
    the one that asks for JSON. skipped_filters: filters and checks that its rows are not judged by.
    requests: how many requests there can be, None for no end.
    """

    placeholders: ClassVar[Set[str]]
    structured_placeholders: ClassVar[Set[str]]
    skipped_filters: ClassVar[Set[str]]
    requests: int | None

    def __init__(self, ingredients: Ingredients) -> None: ...

    def prompt(self, request: int, rng: random.Random, /) -> Prompt:
        """The prompt of one request; every random choice comes from `rng`."""

    def parse(self, reply: Reply, prompt: Prompt) -> list[Candidate]:
        """Every task in the reply, also the unusable ones (with `defect`), position after position
        through all its choices. Never raises."""
