"""What every command has around it: the app, and how failures end.

Enters: commands. Leaves: one line on stderr and the documented exit code for whatever goes wrong.
"""

from __future__ import annotations

import functools
import io
import json
import os
import sys
from collections.abc import Callable
from typing import IO, Annotated, ParamSpec, TypeVar, cast

import typer
from rich.console import Console
from rich.text import Text

import selfinstruct
from selfinstruct.errors import Interrupted, SelfInstructError

P = ParamSpec("P")
T = TypeVar("T")

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


class _Stderr(io.TextIOBase):
    """stderr as long as somebody reads it: the Ctrl-C that drains a run may end its `tee`."""

    def write(self, text: str) -> int:
        return self._or_nothing(lambda: sys.stderr.write(text), len(text))

    def flush(self) -> None:
        self._or_nothing(sys.stderr.flush, None)

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return sys.stderr.encoding

    @staticmethod
    def _or_nothing(say: Callable[[], T], nothing: T) -> T:
        try:
            return say()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            return nothing


def err() -> Console:
    # Without a stderr at all rich is silent by itself.
    file = cast("IO[str]", _Stderr()) if sys.stderr else None
    return Console(stderr=True, file=file, highlight=False)


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
        err().print(Text(f"selfinstruct: {message}"), soft_wrap=True)
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
