"""Everything that decides the data of a run, in one place: the config and the bytes it names.

Enters: a Config (and the files it names) or a journal's header. Leaves: a Plan with its
fingerprint, and a Track for each language, which makes prompts and judges. Knows no network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from selfinstruct.accounts import Most
from selfinstruct.assets import asset_path
from selfinstruct.budget import most_prompt_tokens
from selfinstruct.config import Config
from selfinstruct.errors import JournalDamaged, RunMismatch, UsageError
from selfinstruct.judge import Judge, judging_facts
from selfinstruct.languages import Language, get_language
from selfinstruct.prompts import load_template
from selfinstruct.recipes import Ingredients, Recipe, get_recipe, template_name
from selfinstruct.records import Prompt, Seed, SourceRow, Task
from selfinstruct.sampler import request_rng
from selfinstruct.seeds import load_seeds

SOURCE = "source.jsonl"
KNOWN = "known.jsonl"
# Near-duplicates of the source's language are gone; translations are told apart by exact text only.
_TRANSLATED_ROUGE_L = 0.99


@dataclass(frozen=True)
class Track:
    """One language of a run, with the bytes of its seeds, its prompt template, its source and the
    rows that are known already."""

    config: Config
    lang: str
    seed_bytes: bytes
    template_bytes: bytes
    source_bytes: bytes = b""
    known_bytes: bytes = b""

    @cached_property
    def language(self) -> Language:
        return get_language(self.lang)

    @cached_property
    def seeds(self) -> tuple[Seed, ...]:
        if not self.seed_bytes:
            return ()
        name = self.config.seeds or f"seeds/{self.language.assets}.jsonl"
        return load_seeds(self.seed_bytes, name)

    @cached_property
    def source(self) -> tuple[SourceRow, ...]:
        rows = map(json.loads, self.source_bytes.split(b"\n")[:-1])
        return tuple(
            SourceRow(row["id"], Task(row["instruction"], row["input"], row["output"]))
            for row in rows
        )

    @property
    def known(self) -> Iterator[tuple[str, str]]:
        """(id, instruction) of the known rows in this language, or in one that nobody stated."""
        for row in map(json.loads, self.known_bytes.split(b"\n")[:-1]):
            if row["lang"] in ("", self.lang):
                yield row["id"], row["instruction"]

    @cached_property
    def recipe(self) -> Recipe:
        config = self.config
        recipe = get_recipe(config.recipe)
        name = template_name(config.recipe, self.language.assets, structured=config.structured)
        names = recipe.structured_placeholders if config.structured else recipe.placeholders
        return recipe(
            Ingredients(
                language=self.language,
                seeds=self.seeds,
                template=load_template(self.template_bytes, name, names),
                tasks=self.tasks,
                examples=config.examples,
                example_chars=config.example_chars,
                source=self.source,
                structured=config.structured,
            )
        )

    @property
    def tasks(self) -> int:
        """Tasks asked for in one request."""
        return 1 if self.source_bytes else self.config.tasks or self.language.tasks

    @property
    def most_tasks(self) -> int:
        """The most rows that one request can give."""
        return 1 if self.source_bytes else self.tasks * self.config.choices

    @property
    def wanted(self) -> int:
        """Rows to keep."""
        return self.config.n or len(self.source)

    def prompt(self, request: int) -> Prompt:
        """The prompt of one request: the same whenever and wherever it is asked for."""
        return self.recipe.prompt(request, request_rng(self.config.seed, self.lang, request))

    def most(self, prompt: Prompt) -> Most:
        """The most tokens that a request with `prompt` can take."""
        size = len(prompt.text.encode("utf-8", "replace"))
        if prompt.schema:
            # Servers may count it as a part of the prompt.
            size += len(json.dumps(prompt.schema))
        config = self.config
        return Most(most_prompt_tokens(size), config.max_tokens * config.choices)

    def judge(self) -> Judge:
        """A fresh judge that knows the seeds and what else is known."""
        return Judge(
            self.language,
            self.seeds,
            recipe=self.config.recipe,
            rouge_l=_TRANSLATED_ROUGE_L if self.source_bytes else self.config.rouge_l,
            skip=get_recipe(self.config.recipe).skipped_filters,
            known=self.known,
        )


@dataclass(frozen=True)
class Plan:
    """A run's config and its tracks, one for each language."""

    config: Config
    tracks: tuple[Track, ...]

    @classmethod
    def of(cls, config: Config, known: bytes = b"") -> Plan:
        """Read the files that the config names. known: what `config.known` holds, as known.jsonl
        has it. Raises UsageError."""
        get_recipe(config.recipe)
        source = _read_source(Path(config.source), config.lang) if config.source else b""
        tracks = []
        for lang in config.lang:
            language = get_language(lang)
            shipped = asset_path(folder=language.folder)
            seeds = shipped / "seeds" / f"{language.assets}.jsonl"
            seed_bytes = b"" if source else _read(Path(config.seeds or seeds))
            name = template_name(config.recipe, language.assets, structured=config.structured)
            template = _read(shipped / name)
            tracks.append(Track(config, lang, seed_bytes, template, source, known))
        return cls(config, tuple(tracks))

    @classmethod
    def from_header(
        cls, header: Mapping[str, Any], directory: Path, overrides: Mapping[str, Any]
    ) -> Plan:
        """The plan that a journal's header holds. Raises UsageError, JournalDamaged when the copies
        of the source rows or of the known ones are not those that the run began with."""
        try:
            config = Config.model_validate({**header["config"], **overrides})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        copies = {SOURCE: b"", KNOWN: b""}
        for name, field, given in (
            (SOURCE, "source", config.source),
            (KNOWN, "known", config.known),
        ):
            copies[name] = _read(directory / name) if given else b""
            if given and _digest(copies[name]) != header["fingerprint"].get(field):
                raise JournalDamaged(f"{directory / name}: not the rows that this run began with")
        tracks = tuple(
            Track(
                config,
                lang,
                header["seeds"][lang].encode(),
                header["templates"][lang].encode(),
                copies[SOURCE],
                copies[KNOWN],
            )
            for lang in config.lang
        )
        return cls(config, tracks)

    def with_models(self, models: tuple[str, ...]) -> Plan:
        """The same plan with the models' names filled in. Raises UsageError."""
        try:
            config = Config.model_validate({**self.config.model_dump(), "model": models})
        except ValidationError as error:
            raise UsageError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None
        return Plan(config, tuple(replace(track, config=config) for track in self.tracks))

    @property
    def source_bytes(self) -> bytes:
        return self.tracks[0].source_bytes

    @property
    def known_bytes(self) -> bytes:
        return self.tracks[0].known_bytes

    def fingerprint(self) -> dict[str, Any]:
        """What must match to go on with a run, field by field, as JSON values."""
        return {
            **self.config.generation(),
            **judging_facts(self.config.rouge_l, [track.language for track in self.tracks]),
            "seeds": {track.lang: _digest(track.seed_bytes) for track in self.tracks},
            "prompt": {track.lang: _digest(track.template_bytes) for track in self.tracks},
            "source": _digest(self.source_bytes) if self.source_bytes else "",
            # Runs of before there was such a thing have no such field.
            **({"known": _digest(self.known_bytes)} if self.known_bytes else {}),
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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _read_source(run: Path, lang: tuple[str, ...]) -> bytes:
    """The kept rows of a run in other languages than `lang`, as JSON Lines of id and task."""
    path = run / "records.jsonl"
    rows = []
    seen: set[str] = set()
    for number, line in enumerate(_read(path).split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            if row["lang"] not in lang:
                if row.get("history") or row.get("system"):
                    raise UsageError(
                        f"{path}:{number}: has earlier turns or a system message",
                        hint="translate works on rows of one exchange",
                    )
                kept = {key: row[key] for key in ("id", "instruction", "input", "output")}
                if row["id"] in seen or not all(isinstance(text, str) for text in kept.values()):
                    raise ValueError
                seen.add(row["id"])
                rows.append(json.dumps(kept).encode() + b"\n")
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UsageError(f"{path}:{number}: not a record") from None
    if not rows:
        raise UsageError(f"{path}: no row in another language than {', '.join(lang)}")
    return b"".join(rows)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
