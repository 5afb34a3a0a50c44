"""What a clean was asked for: checked, frozen, and what of it decides the rows.

Enters: the command's options. Leaves: `CleanSettings`. Reads no file.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from selfinstruct.errors import UsageError

Method = Literal["rouge", "exact", "minhash", "semantic"]
Step = Literal["filters", "dedup", "contamination"]
STEPS: tuple[Step, ...] = ("filters", "contamination", "dedup")
# Where the flag is not called as the setting is.
_FLAGS = {"layout": "format", "method": "dedup", "embed_model": "embed-model"}


class CleanSettings(BaseModel):
    """Everything that decides which rows are kept, and no more.

    inputs, against: paths, "-" for stdin. layout: None to recognise it row by row. lang: None to
    detect it row by row. profile: a shipped profile's name or a TOML file; None for each
    language's own. only: the steps that are done. threshold: of the method's own measure,
    above which a row is a duplicate; None for the method's (ROUGE-L: the profile's, 0.7). ngram:
    tokens that a row may not share with an evaluation text. pii: what is done with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[str, ...]
    against: tuple[str, ...] = ()
    layout: str | None = None
    lang: str | None = None
    profile: str | None = None
    only: tuple[Step, ...] = STEPS
    method: Method = "rouge"
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    ngram: int | None = Field(default=None, ge=2, le=1000)
    pii: Literal["off", "flag", "mask"] = "off"
    embed: str | None = None
    embed_model: str | None = None
    strict: bool = False

    def facts(self) -> dict[str, Any]:
        """What must be the same for an interrupted clean to be gone on with."""
        return self.model_dump(mode="json", exclude={"strict"})


def settings_of(**given: Any) -> CleanSettings:
    """Settings from the command's options, None meaning the default. Raises UsageError."""
    try:
        settings = CleanSettings.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = _FLAGS.get(str(first["loc"][0]), str(first["loc"][0]))
        raise UsageError(f"--{name}: {first['msg']}, not {first['input']!r}") from None
    if wrong := _contradiction(settings):
        raise UsageError(wrong)
    return settings


def _contradiction(asked: CleanSettings) -> str:
    """An option that could do nothing beside the others, "" where there is none."""
    if (*asked.inputs, *asked.against).count("-") > 1:
        return "'-' (standard input) is given twice; it can be read once"
    steps = ", ".join(asked.only)
    if "dedup" not in asked.only:
        if asked.threshold is not None:
            return f"--threshold: --only {steps} compares no rows"
        if asked.method != "rouge":
            return f"--dedup: --only {steps} compares no rows"
    if asked.against and asked.only == ("filters",):
        return "--against: --only filters compares no rows"
    if not asked.against or "contamination" not in asked.only:
        if asked.ngram is not None:
            return "--ngram: rows share no run without --against and the step contamination"
        if asked.only == ("contamination",):
            return "--only contamination needs --against"
    return ""
