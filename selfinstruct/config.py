"""What a run is asked to do: flags, a TOML file and the environment → one frozen Config.

Flags beat the file, the file beats the environment. Knows no seeds, prompts or provider; the
fingerprint of their bytes is the pipeline's business. API keys never enter a Config.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from selfinstruct import embedded
from selfinstruct.errors import UsageError

# What a change of these does to the data: nothing. All other fields are in the fingerprint.
FREE_FIELDS = frozenset(
    {"n", "base_url", "concurrency", "timeout", "durability", "patience", "max_barren"}
)


_SAMPLING = ("temperature", "top_p", "max_tokens")
_OWN_FIELDS = {"model", "prompt", "messages", "stream", "n", "stop", "seed", *_SAMPLING}


class Config(BaseModel):
    """One run. Defaults are those of Stanford Alpaca where it has one.

    n: kept rows wanted of each language; None (translate only): all that the source gives.
    source: the run whose rows translate works on. timeout: seconds, the total deadline of one
    attempt. patience: seconds without any success after which an endpoint is given up.
    max_barren: decided requests in a row without a kept row after which the run is given up.
    tasks: tasks asked for in one request, None for the language's own number. examples: seed tasks
    shown in it, each of at most example_chars characters. extra_body: further fields of the
    request body, such as vLLM's top_k. rouge_l: a candidate is rejected above this F-measure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int | None = Field(default=None, ge=1, le=100_000_000)
    recipe: str = "alpaca"
    lang: tuple[str, ...] = ("en",)
    base_url: str = ""
    model: str = ""
    api: Literal["auto", "completions", "chat"] = "auto"
    concurrency: int | Literal["auto"] = "auto"
    seed: int = 0
    seeds: str = ""
    source: str = ""
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=3072, ge=1)
    extra_body: dict[str, JsonValue] = {}
    timeout: float = Field(default=600.0, gt=0)
    durability: Literal["group", "strict"] = "group"
    tasks: int | None = Field(default=None, ge=1, le=200)
    examples: int = Field(default=3, ge=1, le=50)
    example_chars: int = Field(default=2000, ge=40)
    rouge_l: float = Field(default=0.7, ge=0, le=1)
    patience: float = Field(default=60.0, ge=0)
    max_barren: int = Field(default=100, ge=1)

    @field_validator("concurrency")
    @classmethod
    def _concurrency(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 4096:
            raise ValueError("must be 'auto' or 1 to 4096")
        return value

    @field_validator("lang", mode="before")
    @classmethod
    def _lang(cls, value: object) -> object:
        """One code or several; the order in which they are given means nothing."""
        codes = [value] if isinstance(value, str) else value
        if not (
            isinstance(codes, list | tuple) and codes and all(isinstance(c, str) for c in codes)
        ):
            raise ValueError("must be a language code or a list of them")
        return tuple(sorted(set(codes)))

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        translate = self.recipe == "translate"
        if self.n is None and not translate:
            raise ValueError("--n: needed: how many rows to keep")
        if translate and not self.source:
            raise ValueError("--from is needed: the run directory whose rows are translated")
        if self.source and not translate:
            raise ValueError(f"--from is for --recipe translate, not for {self.recipe}")
        if translate and (len(self.lang) > 1 or self.seeds):
            raise ValueError("--recipe translate takes one --lang and no --seeds")
        if self.seeds and len(self.lang) > 1:
            raise ValueError("--seeds is one file of one language; give one --lang")
        return self

    @field_validator("extra_body")
    @classmethod
    def _extra_body(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted(_OWN_FIELDS & value.keys()):
            raise ValueError(f"must not hold {', '.join(taken)}: selfinstruct sends that itself")
        # NaN equals nothing: a run whose fingerprint holds it could never be gone on with.
        json.dumps(value, allow_nan=False)
        return value

    @field_validator("seeds", "source")
    @classmethod
    def _path(cls, value: str) -> str:
        value.encode()  # A name that is not UTF-8 could not be stored.
        return value

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        _ = parts.port  # Raises ValueError for one that cannot be.
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must look like http://HOST:PORT/v1")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must not hold a user name or password; the key is OPENAI_API_KEY")
        return value.rstrip("/")

    @property
    def embedded(self) -> bool:
        """No endpoint given: the model that runs in a child process of ours."""
        return not self.base_url

    def generation(self) -> dict[str, Any]:
        """The fields that decide the data."""
        return self.model_dump(exclude=set(FREE_FIELDS) | {"seeds", "source"}, mode="json")

    def stored(self) -> dict[str, Any]:
        """The whole config as the journal and the manifest keep it: no secret in any URL."""
        return {**self.model_dump(mode="json"), "base_url": public_url(self.base_url)}


def public_url(url: str) -> str:
    """`url` as it may be shown and stored: without user info, query and fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port:
        host = f"{host}:{parts.port}"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def make_config(
    flags: Mapping[str, Any],
    *,
    file: bytes | None = None,
    file_name: str = "",
    environment: Mapping[str, str],
) -> Config:
    """Merge the three sources. `flags` with value None were not given.

    Raises UsageError naming the flag, the file's key, or the variable at fault.
    """
    from_file = _read_toml(file, file_name) if file is not None else {}
    from_environment = {}
    if environment.get("OPENAI_BASE_URL"):
        from_environment["base_url"] = environment["OPENAI_BASE_URL"]
    elif environment.get("OPENAI_API_KEY"):
        from_environment["base_url"] = "https://api.openai.com/v1"
    given = {key: value for key, value in flags.items() if value is not None}
    merged = {**from_environment, **from_file, **given}
    if not merged.get("base_url"):
        grammar = merged.get("recipe", "alpaca") == "alpaca"
        merged = {**embedded.profile(merged.get("lang") if grammar else ""), **merged}
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise UsageError(str(first["msg"]).removeprefix("Value error, ")) from None
        key = str(first["loc"][0])
        if key in given:
            place = _flag(key)
        elif key in from_file:
            place = f"{file_name}: {key}"
        elif key in from_environment:
            place = "OPENAI_BASE_URL"
        else:
            place = _flag(key)
        message = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"unknown key; known: {', '.join(sorted(Config.model_fields))}"
        raise UsageError(f"{place}: {message[:1].lower()}{message[1:]}") from None


def _flag(key: str) -> str:
    return "--from" if key == "source" else "--" + key.replace("_", "-")


def _read_toml(content: bytes, name: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"{name}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: not TOML: {error}") from None
    fields = {key.replace("-", "_"): value for key, value in table.items()}
    if "from" in fields:
        fields["source"] = fields.pop("from")
    return fields
