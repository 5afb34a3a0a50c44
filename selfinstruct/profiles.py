"""Which filters judge the rows of a file, and how strictly: a TOML text → one frozen Profile.

Enters: the text of `profiles/NAME.toml` or of a user's file; tasks. Leaves: objections. Pure.
Knows no file format and no other row: near-duplicates are found elsewhere, at `rouge_l`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from selfinstruct.assets import asset_path
from selfinstruct.errors import UsageError
from selfinstruct.filters import CLEANING
from selfinstruct.filters.repetition import repetition
from selfinstruct.filters.windows import ends
from selfinstruct.languages import LANGUAGES, Language
from selfinstruct.languages.language import Check
from selfinstruct.records import Task, Verdict

PROFILES = ("alpaca", "belle", "strict")
# Filters of one language alone, beside the common ones.
_OWN = {name for language in LANGUAGES.values() for name in language.checks}
KNOWN = (*CLEANING, *sorted(_OWN - CLEANING.keys()))
# Of a longer field only the first and the last so many characters are judged.
_WINDOW = 20_000

Asked = Callable[[Task, Language], Verdict | None]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lengths(_Table):
    """Of an instruction, in the language's unit. most: None for no limit."""

    least: int = Field(default=1, ge=0)
    most: int | None = Field(default=None, ge=1)


class Repeats(_Table):
    """What `filters.repetition` calls a loop."""

    times: int = Field(default=4, ge=2)
    share: float = Field(default=0.6, gt=0, le=1)
    ratio: float = Field(default=6.0, gt=1)


class Profile(_Table):
    """The filters that are on, and their thresholds.

    filters: names of filters and of languages' checks, in any order; a name that is both is both.
    rouge_l: an instruction nearer to an earlier one is a near-duplicate. instruction_length: None
    for the language's own limits.
    """

    filters: tuple[str, ...]
    rouge_l: float = Field(default=0.7, gt=0, le=1)
    instruction_length: Lengths | None = None
    repetition: Repeats = Repeats()

    # Filters bound to a language, those that are on. A language is itself alone: see Language.
    _bound: dict[Language, tuple[Asked, ...]] = PrivateAttr(default_factory=dict)

    @field_validator("filters")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in KNOWN]:
            raise ValueError(f"unknown filter {unknown[0]!r}; known: {', '.join(KNOWN)}")
        return names

    def objection(self, task: Task, language: Language) -> Verdict | None:
        """The first objection of the filters that are on, or None: the row stays.

        They are asked in the order of CLEANING, then the language's own.
        """
        bound = self._bound.get(language)
        if bound is None:
            on = (ask for name, ask in self._asked(language) if self.is_on(name))
            bound = self._bound[language] = tuple(on)
        task = _clipped(task)
        for ask in bound:
            if (verdict := ask(task, language)) is not None:
                return verdict
        return None

    def findings(self, task: Task, language: Language) -> list[tuple[str, Verdict | None]]:
        """What every filter says of the row, those that are off too, by name."""
        task = _clipped(task)
        found: dict[str, Verdict | None] = {}
        for name, ask in self._asked(language):
            found[name] = found.get(name) or ask(task, language)
        return list(found.items())

    def is_on(self, name: str) -> bool:
        """Whether a filter is asked."""
        # Checks of another package's language have no name to be listed by: they are on.
        return name in self.filters or name not in KNOWN

    def _asked(self, language: Language) -> Iterator[tuple[str, Asked]]:
        """Every filter and every check of the language, with this profile's thresholds."""
        for name, check in CLEANING.items():
            if name == "instruction_length" and self.instruction_length:
                yield name, partial(_length, self.instruction_length)
            elif name == "repetition":
                yield name, partial(repetition, **self.repetition.model_dump())
            else:
                yield name, check
        for name, own in language.checks.items():
            yield name, partial(_own, own)


def _own(check: Check, task: Task, _language: Language) -> Verdict | None:
    return check(task)


def _length(limits: Lengths, task: Task, language: Language) -> Verdict | None:
    """The filter `length` with a profile's limits."""
    size = language.length(task.instruction)
    if limits.least <= size and (limits.most is None or size <= limits.most):
        return None
    allowed = f"{limits.least}–{'' if limits.most is None else limits.most}"
    return Verdict("instruction_length", f"{size} {language.unit}, allowed {allowed}")


def _clipped(task: Task) -> Task:
    """The task with long fields cut to their ends, so that no row costs more than a long row."""
    fields = (task.instruction, task.input, task.output)
    if max(map(len, fields)) <= 2 * _WINDOW:
        return task
    return Task(*(ends(text, _WINDOW) for text in fields))


def profile_path(name: str) -> Path:
    """Where a profile lies: a shipped one by name, or a file. Raises UsageError for neither."""
    if name in PROFILES:
        return asset_path("profiles", f"{name}.toml")
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"no profile {name!r}", hint=f"{', '.join(PROFILES)} or a TOML file")
    return path


def default_profile(code: str) -> str:
    """The name of the profile for rows in a language.

    >>> default_profile("en"), default_profile("zh-hant"), default_profile("fr")
    ('alpaca', 'belle', 'alpaca')
    """
    return "belle" if code.partition("-")[0] == "zh" else "alpaca"


def load_profile(content: bytes, name: str) -> Profile:
    """The profile of a TOML text. name: what messages call it.

    Raises UsageError naming the profile, the key and what is known.

    >>> load_profile(b'filters = ["echo"]', "mine.toml").rouge_l
    0.7
    """
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{name}: not TOML: {error}") from None
    try:
        return Profile.model_validate(table)
    except ValidationError as error:
        raise UsageError(f"{name}: {_first(error.errors(include_url=False)[0])}") from None


def _first(error: Any) -> str:
    """ "key: what is wrong", with the known keys where it is unknown."""
    *outer, last = (str(part) for part in error["loc"])
    key = ".".join((*outer, last))
    if error["type"] == "extra_forbidden":
        tables: dict[str, type[_Table]] = {"repetition": Repeats, "instruction_length": Lengths}
        table = tables.get("".join(outer), Profile)
        return f"{key}: unknown key; known: {', '.join(table.model_fields)}"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}"
