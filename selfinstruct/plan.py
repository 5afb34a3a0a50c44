"""Everything that decides the data of a run, in one place: the config and the bytes it names.

Enters: a Config (and the files it names) or a journal's header. Leaves: a Plan with its
fingerprint, which makes prompts, candidates and verdicts. Knows no network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from selfinstruct.assets import asset_path
from selfinstruct.config import Config
from selfinstruct.errors import RunMismatch, UsageError
from selfinstruct.judge import Judge, judging_facts
from selfinstruct.languages import Language, get_language
from selfinstruct.prompts import load_template
from selfinstruct.recipes import Recipe, get_recipe
from selfinstruct.records import Prompt, Seed
from selfinstruct.sampler import request_rng
from selfinstruct.seeds import load_seeds


@dataclass(frozen=True)
class Plan:
    """A run's config with the bytes of its seeds and its prompt template."""

    config: Config
    seed_bytes: bytes
    template_bytes: bytes

    @classmethod
    def of(cls, config: Config) -> Plan:
        """Read the files that the config names. Raises UsageError."""
        language = get_language(config.lang)
        get_recipe(config.recipe)
        seeds = (
            Path(config.seeds) if config.seeds else asset_path("seeds", f"{language.code}.jsonl")
        )
        template = asset_path("prompts", config.recipe, f"{language.code}.txt")
        return cls(config, _read(seeds), _read(template))

    @classmethod
    def from_header(cls, header: Mapping[str, Any], overrides: Mapping[str, Any]) -> Plan:
        """The plan that a journal's header holds. Raises UsageError."""
        try:
            config = Config.model_validate({**header["config"], **overrides})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return cls(config, header["seeds"].encode(), header["template"].encode())

    @cached_property
    def language(self) -> Language:
        return get_language(self.config.lang)

    @cached_property
    def seeds(self) -> tuple[Seed, ...]:
        return load_seeds(self.seed_bytes, self.config.seeds or f"seeds/{self.config.lang}.jsonl")

    @cached_property
    def recipe(self) -> Recipe:
        config = self.config
        recipe = get_recipe(config.recipe)
        name = f"prompts/{config.recipe}/{config.lang}.txt"
        return recipe(
            self.language,
            self.seeds,
            load_template(self.template_bytes, name, recipe.placeholders),
            tasks=config.tasks,
            examples=config.examples,
            example_chars=config.example_chars,
        )

    def fingerprint(self) -> dict[str, Any]:
        """What must match to go on with a run, field by field, as JSON values."""
        return {
            **self.config.generation(),
            **judging_facts(self.config.rouge_l),
            "seeds": hashlib.sha256(self.seed_bytes).hexdigest(),
            "prompt": hashlib.sha256(self.template_bytes).hexdigest(),
        }

    def check(self, header: Mapping[str, Any], directory: Path) -> None:
        """Raises RunMismatch naming the first field in which this plan is another run."""
        mine, theirs = self.fingerprint(), header["fingerprint"]
        for field in sorted(mine.keys() | theirs.keys()):
            if mine.get(field) != theirs.get(field):
                raise RunMismatch(
                    f"{directory} was made with {field} = {_short(theirs.get(field))}, "
                    f"this command asks for {_short(mine.get(field))}",
                    hint="use another --out, or `selfinstruct resume` to go on as it was",
                )

    def prompt(self, request: int) -> Prompt:
        """The prompt of one request: the same whenever and wherever it is asked for."""
        return self.recipe.prompt(request_rng(self.config.seed, self.config.lang, request))

    def judge(self) -> Judge:
        """A fresh judge that knows the seeds only."""
        config = self.config
        return Judge(self.language, self.seeds, recipe=config.recipe, rouge_l=config.rouge_l)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
