"""The commands that ask a trained model: `chat`, and `compare` with what it was trained from."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from selfinstruct.cli import options
from selfinstruct.cli.frame import app, err, reports_errors
from selfinstruct.cli.training import TEMPLATE_NAMES
from selfinstruct.errors import UsageError

if TYPE_CHECKING:
    from selfinstruct.train.answers import Answer, Conversation
    from selfinstruct.train.speaker import Speaker

_NEEDED = ("torch", "transformers", "peft", "accelerate")
_EXTRA = "pip install 'selfinstruct[train]'"
_COMMANDS = "/reset forgets what was said, /quit or Ctrl-D ends, Ctrl-C stops an answer"
_PAGE = "before_after.html"

ModelDir = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_DIR",
        help="What `train` wrote, a folder of transformers, or a .gguf file.",
        show_default=False,
    ),
]
Template = Annotated[
    str, typer.Option(metavar="NAME", help=f"{TEMPLATE_NAMES}. \\[the trained one]")
]
Temperature = Annotated[float, typer.Option(min=0.0, help="0: the likeliest token, every time.")]
TopP = Annotated[float, typer.Option(min=0.0, max=1.0)]


@app.command()
@reports_errors
def chat(
    model: ModelDir,
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUESTION|-]",
            help="Answer this and end; - reads it from standard input. Without it, a conversation.",
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 512,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    template: Template = "",
    system: Annotated[str, typer.Option(help="System message.")] = "",
    base: Annotated[
        str, typer.Option(metavar="DIR", help="Where an adapter's base is, if it has moved.")
    ] = "",
) -> None:
    """Ask a model, with the prompt that it was trained on."""
    asked = _asked(question)
    _require()
    from selfinstruct.train.answers import Conversation, Sampling
    from selfinstruct.train.speaker import get_speaker

    speaker = get_speaker(model, base=base, template=template)
    sampling = Sampling(max_tokens, temperature, top_p, seed)
    conversation = Conversation(speaker, sampling, _text(system))
    if speaker.template != speaker.trained:
        _note(f"note: asked with {speaker.template}; its own template is {speaker.trained}")
    if asked is None:
        _converse(speaker, conversation)
    elif _answer(conversation, asked).stopped:
        raise KeyboardInterrupt


@app.command()
@reports_errors
def compare(
    model: ModelDir,
    data: Annotated[
        str, typer.Option(metavar="RUN|FILE", help="Rows to ask. \\[those that were held out]")
    ] = "",
    base: Annotated[
        str, typer.Option(metavar="DIR", help="The model before. \\[the training's base]")
    ] = "",
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="How many rows.")] = 20,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"The page. \\[MODEL_DIR/{_PAGE}]")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    template: Template = "",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Held-out questions, answered before and after the training, side by side."""
    _require()
    from selfinstruct.exports import write_whole
    from selfinstruct.train.held_out import about, held_out

    say = _silence if quiet else _note
    page = out or (Path(model) if Path(model).is_dir() else Path()) / _PAGE
    if not page.parent.is_dir():
        raise UsageError(f"--out: {page.parent} is no folder")
    trained = about(model)
    before = _base(model, base or trained.base)
    rows = held_out(trained, data, say)
    # Only now: torch takes seconds to load.
    from selfinstruct.train.answers import Sampling
    from selfinstruct.train.compare import compare as ask_both
    from selfinstruct.train.compare import html, terminal, with_losses

    sampling = Sampling(max_tokens, temperature, top_p, seed)
    found = ask_both(before, model, rows, n=n, template=template, sampling=sampling, say=say)
    if not (data or base or template):
        found = with_losses(found, trained)
    write_whole(page, html(found).encode("utf-8", "backslashreplace"))
    if as_json:
        print(json.dumps({**found.as_json(), "page": str(page), "exit_code": 0}))  # noqa: T201
        return
    Console(highlight=False).print(terminal(found))
    say(f"wrote {page}")


def _base(model: str, base: str) -> str:
    if not base:
        raise UsageError(
            f"{model} does not say what it was trained from", hint="--base names that model"
        )
    return base


def _require() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"asking a model needs {', '.join(missing)}", hint=f"type: {_EXTRA}")
    # Before torch is loaded: its threads would spin while they wait for each other.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def _asked(question: str | None) -> str | None:
    """The one question, None for a conversation. Raises UsageError for an empty one."""
    if question is None:
        return None
    if question == "-":
        try:
            question = sys.stdin.buffer.read().decode()
        except UnicodeDecodeError:
            raise UsageError("standard input is not UTF-8") from None
    question = _text(question).strip()
    if not question:
        raise UsageError("the question is empty")
    return question


def _text(typed: str) -> str:
    """Raises UsageError for bytes that are no UTF-8."""
    try:
        typed.encode()
    except UnicodeEncodeError:
        raise UsageError("the text is not UTF-8") from None
    return typed


def _converse(speaker: Speaker, conversation: Conversation) -> None:
    """Questions from the keyboard until there are no more."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (it gives `input` its keys and its past)

    turns = "" if speaker.many_turns else " (each question is asked alone)"
    _note(f"{speaker.path}, template {speaker.template}{turns}. {_COMMANDS}.")
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            break
        except KeyboardInterrupt:
            _note("\n/quit or Ctrl-D ends")
            continue
        if line == "/quit":
            return
        if line == "/reset":
            conversation.reset()
            _note("forgotten")
        elif line:
            try:
                _answer(conversation, _text(line))
            except UsageError as error:
                _note(str(error))
    if sys.stdin.isatty():
        print()  # noqa: T201


def _answer(conversation: Conversation, question: str) -> Answer:
    """Print an answer while it comes."""
    from selfinstruct.train.comparison import printable

    terminal = sys.stdout.isatty()

    def said(text: str) -> None:
        # A file gets what the model wrote, a terminal only what it can show.
        print(printable(text) if terminal else text, end="", flush=True)  # noqa: T201

    answer = conversation.ask(question, said)
    print(flush=True)  # noqa: T201
    if not answer.ended:
        _note("[stopped]" if answer.stopped else f"[cut at {answer.tokens} tokens]")
    return answer


def _silence(_line: str) -> None:
    """For --quiet."""


def _note(line: str) -> None:
    err().print(Text(line), soft_wrap=True)
