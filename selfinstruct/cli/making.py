"""The commands that buy, or foresee what buying takes: generate, resume, cancel, estimate."""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from selfinstruct.cli import options
from selfinstruct.cli.frame import app, err, reports_errors
from selfinstruct.errors import UsageError

if TYPE_CHECKING:
    from selfinstruct.config import Config
    from selfinstruct.manifest import Manifest
    from selfinstruct.plan import Plan
    from selfinstruct.routes import Endpoint
    from selfinstruct.run import Watcher


@app.command()
@reports_errors
def generate(
    out: options.Out,
    n: options.Rows = None,
    recipe: options.RecipeName = None,
    lang: options.Lang = None,
    source: options.Source = None,
    known: options.Known = None,
    base_url: options.BaseUrl = None,
    model: options.ModelName = None,
    api: options.Api = None,
    concurrency: options.Concurrency = None,
    seed: options.RandomSeed = None,
    seeds: options.Seeds = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_tokens: options.MaxTokens = None,
    tasks: options.Tasks = None,
    choices: options.Choices = None,
    structured: options.Structured = None,
    batch_api: options.BatchApi = None,
    rpm: options.Rpm = None,
    tpm: options.Tpm = None,
    max_cost: options.MaxCost = None,
    max_total_tokens: options.MaxTotalTokens = None,
    price_in: options.PriceIn = None,
    price_out: options.PriceOut = None,
    timeout: options.Timeout = None,
    durability: options.Durability = None,
    config: options.ConfigFile = None,
    metrics_port: options.MetricsPort = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Generate exactly N rows into a run directory; the same command goes on after any stop.

    With no endpoint and no OPENAI_API_KEY, the embedded model is used.
    """
    given = dict(locals())
    settings = _settings(given, os.environ)
    plan = _plan(settings)  # Before the network is asked anything.
    plan = plan.with_models(_models(settings, out))
    _generate(plan, out, as_json=as_json, quiet=quiet, metrics_port=metrics_port)


@app.command()
@reports_errors
def resume(
    directory: options.Run,
    base_url: options.BaseUrl = None,
    concurrency: options.Concurrency = None,
    rpm: options.Rpm = None,
    tpm: options.Tpm = None,
    max_cost: options.MaxCost = None,
    max_total_tokens: options.MaxTotalTokens = None,
    price_in: options.PriceIn = None,
    price_out: options.PriceOut = None,
    timeout: options.Timeout = None,
    metrics_port: options.MetricsPort = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Go on with a run where it stopped; nothing that is paid for is bought again."""
    from selfinstruct.history import History
    from selfinstruct.plan import Plan

    history = History.load(directory)
    flags = {
        "base_url": base_url or None, "concurrency": _number_or_auto(concurrency),
        "rpm": rpm, "tpm": tpm, "max_cost": max_cost, "max_total_tokens": max_total_tokens,
        "price_in": price_in, "price_out": price_out, "timeout": timeout,
    }  # fmt: skip
    given = {key: value for key, value in flags.items() if value is not None}
    # A cap holds until another one is given, whichever command gave it.
    overrides: dict[str, Any] = {**history.terms, **given}
    if history.target != 0:
        overrides["n"] = history.target
    plan = Plan.from_header(history.header, directory, overrides)
    _generate(plan, directory, as_json=as_json, quiet=quiet, metrics_port=metrics_port)


@app.command()
@reports_errors
def cancel(
    directory: options.Run, base_url: options.BaseUrl = None, as_json: options.Json = False
) -> None:
    """Cancel a run's open batches at the provider; what they have done comes with `resume`."""
    from selfinstruct.batches import cancel as cancel_batches
    from selfinstruct.history import History
    from selfinstruct.plan import Plan
    from selfinstruct.views import cancelled_lines

    overrides = {"base_url": base_url} if base_url else {}
    plan = Plan.from_header(History.load(directory).header, directory, overrides)
    places = [] if plan.config.embedded else _places(plan.config)
    batches = cancel_batches(directory, places)
    if as_json:
        print(json.dumps({"run": str(directory), "batches": batches, "exit_code": 0}))  # noqa: T201
        return
    for line in cancelled_lines(directory, batches):
        Console(highlight=False).print(Text(line), soft_wrap=True)


@app.command()
@reports_errors
def estimate(
    n: options.Rows = None,
    recipe: options.RecipeName = None,
    lang: options.Lang = None,
    source: options.Source = None,
    base_url: options.BaseUrl = None,
    model: options.ModelName = None,
    api: options.Api = None,
    concurrency: options.Concurrency = None,
    seed: options.RandomSeed = None,
    seeds: options.Seeds = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_tokens: options.MaxTokens = None,
    tasks: options.Tasks = None,
    choices: options.Choices = None,
    structured: options.Structured = None,
    batch_api: options.BatchApi = None,
    rpm: options.Rpm = None,
    tpm: options.Tpm = None,
    max_cost: options.MaxCost = None,
    max_total_tokens: options.MaxTotalTokens = None,
    price_in: options.PriceIn = None,
    price_out: options.PriceOut = None,
    timeout: options.Timeout = None,
    durability: options.Durability = None,
    config: options.ConfigFile = None,
    probe: Annotated[
        int | None,
        typer.Option(metavar="K", help="Buy the run's first K requests into --out and measure."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where --probe begins the run that `generate` goes on with.")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """What a run will take: requests, tokens, dollars, hours. Buys nothing without --probe."""
    given = dict(locals())
    from selfinstruct.estimate import estimate as foresee
    from selfinstruct.estimate import table

    if (probe is None) != (out is None):
        raise UsageError("--probe and --out go together: what is bought is kept there")
    environment = dict(os.environ)
    if probe is None and model:
        # Where `generate` would go with a key; no key is needed to foresee what that takes.
        environment.setdefault("OPENAI_API_KEY", "-")
    settings = _settings(given, environment)
    plan = _plan(settings)
    if probe is not None and out is not None:
        if probe < len(plan.tracks):
            raise UsageError("--probe: at least one request for each language")
        found = _probe(plan.with_models(_models(settings, out)), out, probe, quiet=quiet)
    elif settings.model or settings.embedded:
        found = foresee(plan)
    else:
        raise UsageError("--model: needed, since no server is asked without --probe")
    if as_json:
        print(json.dumps({**found, "exit_code": 0}))  # noqa: T201
        return
    Console(highlight=False).print(table(found))


def _plan(settings: Config) -> Plan:
    from selfinstruct.plan import Plan

    if not settings.known:
        return Plan.of(settings)
    from selfinstruct.importing.known import read_known

    return Plan.of(settings, read_known(settings.known))


def _probe(plan: Plan, out: Path, requests: int, *, quiet: bool) -> dict[str, Any]:
    from selfinstruct.display import Display
    from selfinstruct.estimate import Stopwatch, estimate_from
    from selfinstruct.pipeline import generate as run

    with Display(err(), quiet=quiet) as display:
        stopwatch = Stopwatch(display)
        connect = functools.partial(_connect, plan, display)
        asyncio.run(run(plan, out, connect, stopwatch, first=requests))
    return estimate_from(plan, out, stopwatch)


def _generate(
    plan: Plan, out: Path, *, as_json: bool, quiet: bool, metrics_port: int | None = None
) -> None:
    from selfinstruct.display import Display
    from selfinstruct.pipeline import generate as run
    from selfinstruct.views import money_lines

    with Display(err(), quiet=quiet) as display, ExitStack() as stack:
        connect = functools.partial(_connect, plan, display)
        watcher: Watcher = display
        if metrics_port is not None:
            from selfinstruct.metrics import Metrics

            watcher = stack.enter_context(Metrics(display, metrics_port))
        manifest = asyncio.run(run(plan, out, connect, watcher))
    if as_json:
        print(json.dumps(_summary(manifest, out)))  # noqa: T201
    else:
        display.notice(
            f"{manifest.kept} rows in {out}; {sum(manifest.rejected.values())} rejected, "
            f"{manifest.requests['paid']} requests paid, "
            f"{manifest.tokens['completion']:,} completion tokens"
        )
        for line in money_lines(manifest.cost, manifest.tokens):
            display.notice(line)


def _summary(manifest: Manifest, out: Path) -> dict[str, Any]:
    keys = ["complete", "n", "kept", "candidates", "rejected", "languages"]
    keys += ["requests", "tokens", "cost", "endpoints", "seconds"]
    stated = manifest.model_dump()
    files = {name: str(out / name) for name in manifest.files}
    return {"run": str(out), **{key: stated[key] for key in keys}, "files": files, "exit_code": 0}


def _connect(plan: Plan, display: Any, stack: ExitStack) -> list[Endpoint]:
    from selfinstruct.routes import Endpoint

    config = plan.config
    if not config.embedded:
        return _places(config)
    from selfinstruct.providers.local import LocalServer

    display.notice("no endpoint given: using the embedded 135M model (it proves the road, no more)")
    server = stack.enter_context(LocalServer())
    return [Endpoint(server.base_url, server.api_key, server.model, server.concurrency)]


def _places(config: Config) -> list[Endpoint]:
    from selfinstruct.routes import Endpoint

    return [
        Endpoint(place.base_url, _api_key(config, place.base_url), place.model)
        for place in config.places
    ]


def _models(settings: Config, out: Path) -> tuple[str, ...]:
    """The models' names: those given, the embedded one's, the run's own, or the only one of each
    server."""
    if settings.model:
        return settings.model
    if settings.embedded:
        from selfinstruct.providers.local import model_name

        return (model_name(),)
    from selfinstruct.history import History
    from selfinstruct.providers.openai import only_model

    try:
        stored = History.load(out).header["config"]["model"]
        return (stored,) if isinstance(stored, str) else tuple(stored)
    except UsageError:
        found = [only_model(url, _api_key(settings, url)) for url in settings.base_url]
        return tuple(found) if len(set(found)) > 1 else (found[0],)


def _api_key(config: Config, base_url: str) -> str:
    """OPENAI_API_KEY_N for the N-th --base-url if there is one, else OPENAI_API_KEY.

    It must be what an HTTP header can carry; its value is never shown.
    """
    name = f"OPENAI_API_KEY_{config.base_url.index(base_url) + 1}"
    if name not in os.environ:
        name = "OPENAI_API_KEY"
    key = os.environ.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{name} holds characters that no key has; set it again")
    return key


def _number_or_auto(text: str | None) -> int | str | None:
    if text is None or text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--concurrency: must be 'auto' or a number, not {text!r}") from None


def _read_config(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"--config: cannot read {path}: {error.strerror}") from None


def _settings(given: Mapping[str, Any], environment: Mapping[str, str]) -> Config:
    """The config of a command's arguments, as far as they are fields of one, and of its file."""
    from selfinstruct.config import Config, make_config

    flags = {name: given[name] for name in Config.model_fields if name in given}
    for name in ("base_url", "model", "lang", "known"):
        flags[name] = given.get(name) or None  # A list that nobody gave may be empty.
    flags["concurrency"] = _number_or_auto(given["concurrency"])
    path: Path | None = given["config"]
    file = _read_config(path) if path else None
    return make_config(flags, file=file, file_name=str(path), environment=environment)
