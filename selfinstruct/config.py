"""What a run is asked to do: flags, a TOML file and the environment → one frozen Config.

Flags beat the file, the file beats the environment. Knows no seeds, prompts or provider; the
fingerprint of their bytes is the pipeline's business. API keys never enter a Config.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
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
    {
        "n", "base_url", "concurrency", "timeout", "durability", "patience", "max_barren", "rpm",
        "tpm", "max_cost", "max_total_tokens", "price_in", "price_out", "batch_api",
    }
)  # fmt: skip
# Fields that came later: they are in the fingerprint only where they differ from what was before.
_LATER = {"structured": False, "choices": 1}


_SAMPLING = ("temperature", "top_p", "max_tokens")
_OWN_FIELDS = {
    "model", "prompt", "messages", "stream", "n", "stop", "seed", "max_completion_tokens",
    *_SAMPLING,
}  # fmt: skip
_NUMBERS = (
    "n", "concurrency", "seed", "temperature", "top_p", "max_tokens", "timeout", "tasks",
    "examples", "example_chars", "rouge_l", "patience", "max_barren", "choices", "rpm", "tpm",
    "max_cost", "max_total_tokens", "price_in", "price_out",
)  # fmt: skip


class Config(BaseModel):
    """One run. Defaults are those of Stanford Alpaca where it has one.

    n: kept rows wanted of each language; None (translate only): all that the source gives.
    source: the run whose rows translate works on. known: files and directories of rows that new
    ones must differ from, too. timeout: seconds, the total deadline of one
    attempt. patience: seconds without any success after which an endpoint is given up.
    max_barren: decided requests in a row without a kept row after which the run is given up.
    tasks: tasks asked for in one request, None for the language's own number. examples: seed tasks
    shown in it, each of at most example_chars characters. extra_body: further fields of the
    request body, such as vLLM's top_k. rouge_l: a candidate is rejected above this F-measure.
    base_url, model: one or several; `places` says which goes with which. structured: ask for JSON
    by schema. choices: answers to each prompt (the API's n). rpm, tpm: requests and tokens a
    minute, for each endpoint. max_cost: USD, max_total_tokens: prompt and completion together, both
    for the whole run. price_in, price_out: USD per million tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int | None = Field(default=None, ge=1, le=100_000_000)
    recipe: str = "alpaca"
    lang: tuple[str, ...] = ("en",)
    base_url: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    api: Literal["auto", "completions", "chat"] = "auto"
    concurrency: int | Literal["auto"] = "auto"
    seed: int = 0
    seeds: str = ""
    source: str = ""
    known: tuple[str, ...] = ()
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
    structured: bool = False
    choices: int = Field(default=1, ge=1, le=128)
    batch_api: bool = False
    rpm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tpm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_cost: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_total_tokens: int | None = Field(default=None, ge=1)
    price_in: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_out: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @field_validator(*_NUMBERS, mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        # Else `max_cost = true` would mean one dollar.
        if isinstance(value, bool):
            raise ValueError("must be a number, not true or false")
        return value

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
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("--price-in and --price-out go together: USD per million tokens")
        if self.structured and self.api == "completions":
            raise ValueError("--structured is for the chat API; leave --api completions out")
        if self.structured and "response_format" in self.extra_body:
            raise ValueError("--structured sends its own response_format; leave yours out")
        if (self.max_cost or self.max_total_tokens) and "best_of" in self.extra_body:
            raise ValueError("--max-cost cannot be kept with best_of in extra_body; use --choices")
        if self.batch_api and self.embedded:
            raise ValueError("--batch-api needs a --base-url with /v1/batches")
        _ = self.places
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

    @field_validator("known")
    @classmethod
    def _paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            path.encode()
        return value

    @field_validator("base_url", "model", "known", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        values = (value,) if isinstance(value, str) else value
        return tuple(v for v in values if v != "") if isinstance(values, list | tuple) else values

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            parts = urlsplit(url)
            _ = parts.port  # Raises ValueError for one that cannot be.
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("must look like http://HOST:PORT/v1")
            try:
                parts.hostname.encode("idna")
            except UnicodeError:
                raise ValueError(f"{parts.hostname} can be the name of no host") from None
            if parts.username is not None or parts.password is not None:
                raise ValueError("must not hold a user name or password; the key is OPENAI_API_KEY")
        return tuple(url.rstrip("/") for url in value)

    @property
    def embedded(self) -> bool:
        """No endpoint given: the model that runs in a child process of ours."""
        return not self.base_url

    @property
    def places(self) -> tuple[Place, ...]:
        """Every base URL with the model that is asked there: one model for all, all models at the
        one URL, or the first with the first and so on. Raises ValueError when neither fits."""
        urls, models = self.base_url or ("",), self.model or ("",)
        if len(urls) == 1 or len(models) == 1:
            pairs = [Place(url, model) for url in urls for model in models]
        elif len(urls) == len(models):
            pairs = [Place(url, model) for url, model in zip(urls, models, strict=True)]
        else:
            raise ValueError("--model: give one for all, or one for each --base-url, in order")
        return tuple(dict.fromkeys(pairs))

    @property
    def models(self) -> tuple[str, ...]:
        """The different models, sorted: request k is asked of models[k modulo their number], so
        that who answers never depends on who is free."""
        return tuple(sorted(set(self.model)))

    def generation(self) -> dict[str, Any]:
        """The fields that decide the data."""
        fields = self.model_dump(
            exclude=set(FREE_FIELDS) | {"seeds", "source", "known"}, mode="json"
        )
        for name, before in _LATER.items():
            if fields[name] == before:
                del fields[name]
        return {**fields, "model": _one_or_list(self.models)}

    def stored(self) -> dict[str, Any]:
        """The whole config as the journal and the manifest keep it: no secret in any URL."""
        return {
            **self.model_dump(mode="json"),
            "base_url": _one_or_list([public_url(url) for url in self.base_url]),
            "model": _one_or_list(self.model),
        }


class Place(NamedTuple):
    """One endpoint of a run: where, and which model is asked there."""

    base_url: str
    model: str


def _one_or_list(values: Sequence[str]) -> str | list[str]:
    """The only value alone, "" for none: runs had a single model and endpoint at first."""
    return list(values) if len(values) > 1 else values[0] if values else ""


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
        grammar = merged.get("recipe", "alpaca") == "alpaca" and not merged.get("structured")
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
    fields: dict[str, Any] = {}
    for written, value in table.items():
        key = "source" if written == "from" else written.replace("-", "_")
        if key in fields:
            raise UsageError(f"{name}: {written}: said twice, with - and _ or as from and source")
        fields[key] = value
    return fields
