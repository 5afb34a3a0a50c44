"""The commands that look at a run and change nothing in it, and the embedded model's own."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from selfinstruct.cli import options
from selfinstruct.cli.frame import app, err, model_app, reports_errors


@app.command()
@reports_errors
def status(directory: options.Run, as_json: options.Json = False) -> None:
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
def verify(directory: options.Run, as_json: options.Json = False) -> None:
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
        err().print(Text(hint), soft_wrap=True)
        raise typer.Exit(1)


@app.command()
@reports_errors
def show(
    directory: options.Run,
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
def stats(directory: options.Run, as_json: options.Json = False) -> None:
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


@model_app.command("fetch")
@reports_errors
def fetch() -> None:
    """Install the embedded model (93 MB) and its engine, and check them."""
    from selfinstruct.providers.local import fetch_model

    err().print(Text(fetch_model()), soft_wrap=True)
