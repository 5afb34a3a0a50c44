"""The commands that carry rows: export to a trainer's layout, import from one, push to the Hub."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from selfinstruct.cli import options
from selfinstruct.cli.frame import app, err, reports_errors
from selfinstruct.errors import UsageError

# Said here so that --help loads no layout; a test compares it with EXPORTERS.
FORMAT_NAMES = (
    "alpaca, alpaca-json, axolotl, belle-0.5m, belle-1m, belle-conversations, belle-multiturn, "
    "chatllama, hf, llama-factory, messages, openai-finetune, parquet, sharegpt, trl, ziya"
)


@app.command()
@reports_errors
def export(
    directory: options.Run,
    layout: Annotated[
        str, typer.Option("--format", metavar="NAME", help=f"One of {FORMAT_NAMES}.")
    ],
    lang: options.OnlyLang = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File for one language, folder for several. \\[DIR/export]"),
    ] = None,
    validation: options.Validation = 0.0,
    limit: options.Limit = None,
    shuffle: options.Shuffle = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse rows that the layout has no place for."),
    ] = False,
    license: options.License = "",
    as_json: options.Json = False,
) -> None:
    """Write the kept rows in a trainer's layout, one file for each language."""
    from selfinstruct.exporting.choice import Choice
    from selfinstruct.exporting.export import export as write

    choice = Choice(_share(validation), limit, shuffle, strict)
    done = write(directory, layout, out, langs=lang or (), choice=choice, license=license)
    if done.notice:
        err().print(Text(done.notice), soft_wrap=True)
    if as_json:
        files = [
            {"path": str(file.path), "lang": file.lang, "split": file.split, "rows": file.rows}
            for file in done.files
        ]
        companion = str(done.companion) if done.companion else None
        summary = {"run": str(directory), "format": layout, "files": files, "notice": done.notice}
        counts = {"left_out": done.left_out, "companion": companion, "exit_code": 0}
        print(json.dumps({**summary, **counts}))  # noqa: T201
        return
    console = Console(highlight=False)
    for file in done.files:
        console.print(Text(f"{file.path}: {file.rows:,} rows"), soft_wrap=True)
    if done.companion:
        console.print(Text(str(done.companion)), soft_wrap=True)


def _share(validation: float) -> float:
    if not 0.0 <= validation < 1.0:
        raise UsageError("--validation: a share of the rows, from 0 to less than 1, such as 0.01")
    return validation


@app.command("import")
@reports_errors
def import_(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help="JSON Lines, JSON, CSV or Parquet; - for stdin."),
    ],
    out: Annotated[Path, typer.Option(help="Directory; made if missing.")],
    layout: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="Layout of all rows. \\[by each row's fields]"
        ),
    ] = "",
    lang: Annotated[str, typer.Option(help="Language of all rows. \\[by each row's text]")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Refuse malformed rows.")] = False,
    as_json: options.Json = False,
) -> None:
    """Take in rows that others made, to export, show, count, train on or translate from."""
    from selfinstruct.importing import import_files

    done = import_files(files, out, format_name=layout, lang=lang, strict=strict)
    for problem in done.shown:
        err().print(Text(problem), soft_wrap=True)
    if done.malformed > len(done.shown):
        err().print(Text("…"))
    manifest = done.manifest
    languages = {lang: counts["kept"] for lang, counts in manifest.languages.items()}
    if as_json:
        summary = {"out": str(out), "rows": manifest.kept, "malformed": done.malformed}
        more = {"languages": languages, "files": manifest.imported, "exit_code": 0}
        print(json.dumps({**summary, **more}))  # noqa: T201
        return
    each = ", ".join(f"{lang} {rows:,}" for lang, rows in languages.items())
    said = f"{manifest.kept:,} rows in {out} ({each})"
    if done.malformed:
        said += f"; {done.malformed:,} malformed, listed in {out / 'rejected.jsonl'}"
    Console(highlight=False).print(Text(said), soft_wrap=True)


@app.command()
@reports_errors
def push(
    directory: options.Run,
    repo: Annotated[str, typer.Option(metavar="NAME", help="Dataset repository, or OWNER/NAME.")],
    lang: options.OnlyLang = None,
    validation: options.Validation = 0.0,
    limit: options.Limit = None,
    shuffle: options.Shuffle = None,
    license: options.License = "",
    public: Annotated[
        bool, typer.Option("--public", help="A new repository that everybody can read.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Upload the kept rows and their card to the Hugging Face Hub; private unless --public."""
    from selfinstruct.exporting.choice import Choice
    from selfinstruct.hub import push as upload

    choice = Choice(_share(validation), limit, shuffle)
    done = upload(
        directory, repo, os.environ, langs=lang or (), choice=choice, license=license, public=public
    )
    if done.exported.notice:
        err().print(Text(done.exported.notice), soft_wrap=True)
    if as_json:
        summary = {"run": str(directory), "repo": done.repo, "url": done.url, "made": done.made}
        more = {"rows": done.rows, "left_out": done.exported.left_out, "exit_code": 0}
        print(json.dumps({**summary, **more}))  # noqa: T201
        return
    how = ("new, public" if public else "new, private") if done.made else "brought up to date"
    Console(highlight=False).print(Text(f"{done.url}: {done.rows:,} rows ({how})"), soft_wrap=True)
