"""The options, each said once: several commands take the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
Known = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIR|FILE", help="Rows that new ones must differ from, too; may be repeated."
    ),
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
OnlyLang = Annotated[
    list[str] | None, typer.Option("--lang", help="Only this language; may be repeated. \\[all]")
]
Validation = Annotated[
    float, typer.Option(metavar="SHARE", help="Share of rows kept apart, chosen by their hash.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many rows of each language.")]
Shuffle = Annotated[
    int | None, typer.Option(metavar="SEED", help="Another order, the same for the same seed.")
]
License = Annotated[
    str, typer.Option(metavar="NAME", help="Licence in the card (hf), as the Hub calls it.")
]
