"""The commands for files that people already have: clean, explain."""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from selfinstruct.cli import options
from selfinstruct.cli.frame import app, err, reports_errors
from selfinstruct.errors import UsageError


class TakesMany(TyperCommand):
    """`--against` takes every word up to the next option: a shell has put a glob's files there."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        many = False
        for word in args:
            if many and (word == "-" or not word.startswith("-")):
                spread += ["--against", word]
                continue
            if many and spread[-2:-1] != ["--against"]:
                spread.append("--against")  # Alone: said to need a value.
            many = word == "--against"
            if not many:
                spread.append(word)
        if many and spread[-2:-1] != ["--against"]:
            spread.append("--against")
        return super().parse_args(ctx, spread)


@app.command(cls=TakesMany)
@reports_errors
def clean(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="JSON Lines, a JSON array, CSV or Parquet, also as .gz or .zst; - for stdin.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Directory for the results.")],
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE...", help="Evaluation files or seeds that no row may repeat."),
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="\\[recognised row by row]")
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help="Language of all rows. \\[detected row by row]")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.toml", help="Filters: alpaca, belle, strict or your own."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP", help="filters, contamination or dedup; may be repeated."),
    ] = None,
    method: Annotated[
        str, typer.Option("--dedup", metavar="METHOD", help="rouge, exact, minhash or semantic.")
    ] = "rouge",
    threshold: Annotated[
        float | None,
        typer.Option(help="A row above it repeats another. \\[rouge 0.7]"),
    ] = None,
    ngram: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens in a row that may not be shared. \\[en 13, zh 20]"),
    ] = None,
    pii: Annotated[
        str, typer.Option(metavar="off|flag|mask", help="E-mail, phone, id numbers, keys.")
    ] = "off",
    embed: Annotated[
        str | None,
        typer.Option(metavar="URL|DIR", help="Embeddings for semantic: endpoint or model2vec."),
    ] = None,
    embed_model: Annotated[str | None, typer.Option(help="The endpoint's model.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A malformed row is an error.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Clean instruction files: filters, exact dedup, decontamination; a reason for every row."""
    from selfinstruct.cleaning.corridor import clean as run
    from selfinstruct.cleaning.settings import settings_of
    from selfinstruct.cleaning.views import Screen, summary_table

    settings = settings_of(
        inputs=inputs, against=_expanded(against or []), layout=layout, lang=lang,
        profile=profile, only=only, method=method, threshold=threshold, ngram=ngram,
        pii=pii, embed=embed, embed_model=embed_model, strict=strict,
    )  # fmt: skip
    with Screen(err(), quiet=quiet) as screen:
        summary = run(settings, out, screen)
    if as_json:
        print(json.dumps({"out": str(out), **summary, "exit_code": 0}))  # noqa: T201
        return
    Console(highlight=False).print(summary_table(summary, out), soft_wrap=True)


@app.command()
@reports_errors
def explain(
    directory: Annotated[Path, typer.Argument(help="What `clean` wrote.", show_default=False)],
    row: Annotated[int, typer.Argument(help="Row number in the input, from 0.")],
    as_json: options.Json = False,
) -> None:
    """What happened to one row of a clean, with everything for and against it."""
    from selfinstruct.cleaning.explain import explain as look
    from selfinstruct.cleaning.views import explained

    found = look(directory, row)
    if as_json:
        print(json.dumps(found))  # noqa: T201
        return
    Console(highlight=False).print(explained(found))


def _expanded(patterns: list[str]) -> list[str]:
    """Paths; a pattern in quotes, which no shell has expanded, stands for its files."""
    paths: list[str] = []
    for pattern in patterns:
        # A file may be called a[1].jsonl. Not Path.glob, which takes no absolute pattern.
        found = (
            [pattern] if os.path.lexists(pattern) else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        )
        if not found and glob.has_magic(pattern):
            raise UsageError(f"--against: no file matches {pattern}")
        paths += found or [pattern]
    return paths
