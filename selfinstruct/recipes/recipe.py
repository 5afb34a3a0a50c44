"""The shape of a recipe. Pure: seeds and a template in, prompts out; replies in, candidates out."""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from string import Template
from typing import ClassVar, Protocol

from selfinstruct.languages import Language
from selfinstruct.records import Candidate, Prompt, Reply, Seed


class Recipe(Protocol):
    """One way to make rows. `placeholders` are the names that its prompt template must have."""

    placeholders: ClassVar[Set[str]]

    def __init__(
        self,
        language: Language,
        seeds: Sequence[Seed],
        template: Template,
        *,
        tasks: int,
        examples: int,
        example_chars: int,
    ) -> None: ...

    def prompt(self, rng: random.Random) -> Prompt:
        """The prompt of one request; every random choice comes from `rng`."""

    def parse(self, reply: Reply, prompt: Prompt) -> list[Candidate]:
        """Every task in the reply, also the unusable ones (with `defect`). Never raises."""
