"""The command that trains a model on rows."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from selfinstruct.cli import options
from selfinstruct.cli.extras import prepare
from selfinstruct.cli.frame import app, err, reports_errors

if TYPE_CHECKING:
    from selfinstruct.train.prepare import Prepared

# Said here so that --help loads nothing; a test compares them with what there is.
PRESET_NAMES = "default, alpaca-7b-full, alpaca-13b, belle-lora, chinese-alpaca-lora"
TEMPLATE_NAMES = "alpaca, chinese-alpaca, belle, vicuna, llama2, ziya, chat"


@app.command()
@reports_errors
def train(
    source: Annotated[
        str, typer.Argument(metavar="RUN|FILE", help="A run directory, or a file of rows.")
    ],
    base: Annotated[str, typer.Option(help="Model folder of transformers, or a .gguf file.")],
    out: Annotated[Path, typer.Option(help="Folder of the trained model; made if missing.")],
    preset: Annotated[
        str, typer.Option(metavar="NAME", help=f"Published recipe: {PRESET_NAMES}.")
    ] = "default",
    method: Annotated[str | None, typer.Option(metavar="lora|full|qlora")] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Prompt template: {TEMPLATE_NAMES} (the base's own). \\[the base's own, else "
            "alpaca]",
        ),
    ] = None,
    lang: options.OnlyLang = None,
    train_on: Annotated[
        str, typer.Option(metavar="all|last", help="Which answers of several turns to learn.")
    ] = "all",
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of a row at most.")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows of a step, over all devices.")] = None,
    device_batch: Annotated[int, typer.Option(help="Items that a device takes at once.")] = 4,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    epochs: Annotated[float | None, typer.Option()] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of epochs.")] = None,
    lora_r: Annotated[int | None, typer.Option(help="Rank of the adapters.")] = None,
    lora_alpha: Annotated[int | None, typer.Option()] = None,
    validation: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of rows held out, chosen by their hash."),
    ] = 0.02,
    pack: Annotated[
        bool | None,
        typer.Option(
            "--pack/--no-pack",
            help="Several rows in one item; changes the speed alone. "
            "\\[where the base keeps them apart]",
        ),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute activations twice: less memory.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    save_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints. \\[a tenth of all]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge the adapter into the base at the end.")
    ] = False,
    skip_empty: Annotated[
        bool, typer.Option("--skip-empty", help="Drop rows with an empty answer.")
    ] = False,
    show: Annotated[
        int, typer.Option(min=0, metavar="N", help="Print N rows; trained tokens are marked.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and stop.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Log for TensorBoard.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fine-tune a causal language model on a run's rows (LoRA unless the preset says otherwise).

    For several GPUs: accelerate launch -m selfinstruct.train RUN …
    """
    given = dict(locals())
    prepare("training")
    from selfinstruct.train.running import train as run
    from selfinstruct.train.settings import Settings

    made = Settings(
        source, base, out,
        preset=_preset(given),
        langs=tuple(lang or ()),
        command=_command(),
        **{name: given[name] for name in _PLAIN},
    )  # fmt: skip
    figures = run(made, _say(quiet=quiet), lambda prepared: _show(prepared, show))
    if int(os.environ.get("RANK", "0")):
        return  # Of several processes, the main one speaks.
    if as_json:
        print(json.dumps({"out": str(out), **figures, "exit_code": 0}))  # noqa: T201
    elif not dry_run:
        _say(quiet=quiet)(f"{out}: {_outcome(figures)}")


# Options that are fields of Settings under the same name.
_PLAIN = (
    "train_on", "pack", "validation", "seed", "device_batch", "steps", "save_every", "recompute",
    "merge", "resume", "skip_empty", "tensorboard", "dry_run", "show",
)  # fmt: skip
_OF_PRESET = (
    "method", "template", "max_tokens", "batch", "learning_rate", "epochs", "lora_r", "lora_alpha",
)  # fmt: skip


def _preset(given: dict[str, Any]) -> Any:
    from selfinstruct.train.presets import get_preset

    return get_preset(given["preset"]).changed(**{name: given[name] for name in _OF_PRESET})


def _command() -> str:
    """What was typed; under a launcher, what it was given to start."""
    return shlex.join(["selfinstruct", *sys.argv[1:]])


def _say(*, quiet: bool) -> Any:
    console = err()
    return lambda line: None if quiet else console.print(Text(line), soft_wrap=True)


def _show(prepared: Prepared, count: int) -> None:
    from selfinstruct.train.show import print_rows

    print_rows(Console(highlight=False), prepared.rows.rows, prepared.encoder.tokens, count)


def _outcome(figures: dict[str, Any]) -> str:
    held = figures["held_out_before"].items()
    after = figures["held_out_after"]
    losses = [f"{lang} {before:.4f} → {after[lang]:.4f}" for lang, before in held]
    return f"mean loss {figures['loss']:.4f}; held out: {', '.join(losses) or 'none'}"
