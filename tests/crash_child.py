"""The command line in a process that ends itself at a named point; the package needs no hooks.

    python -m tests.crash_child before:write/reply:5 -- generate --n 60 --out DIR …

A point is WHEN:WHAT:N: at the N-th time that WHAT happens in this process.

WHEN  before, after
      half       half of the bytes are written (write only)
      power-cut  before it, and the journal loses what was not yet fsynced
      SIGINT     before it, and with that signal instead of SIGKILL; any signal's name will do
WHAT  write/TYPE     a fact of that type goes into the journal
      fsync/NAME     a file of the run directory, "." being the directory itself
      truncate/NAME
      rename/NAME    NAME is the new name

Knows how the journal names its file and its facts' types, and nothing else of the package.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

JOURNAL = "journal.jsonl"
WHENS = ("before", "half", "after", "power-cut")
_TYPE = re.compile(rb'\{"seq":\d+,"type":"(\w+)"')


class Trap:
    """Stands around four functions of `os` and ends the process at one point."""

    def __init__(self, point: str, directory: Path) -> None:
        self._when, self._what, count = point.split(":")
        self._left = int(count)
        self._directory = directory
        self._synced = 0
        self._number = signal.SIGKILL
        if self._when not in WHENS:
            self._number = signal.Signals[self._when]

    def arm(self) -> None:
        """Replace os.write, os.fsync, os.ftruncate and os.replace, which Path.replace calls."""
        actions: dict[str, Callable[..., str]] = {
            "write": lambda _fd, data: f"write/{_fact_type(data)}",
            "fsync": lambda fd: f"fsync/{self._name(fd)}",
            "ftruncate": lambda fd, _length: f"truncate/{self._name(fd)}",
            "replace": lambda _source, target: f"rename/{Path(target).name}",
        }
        for function, what in actions.items():
            setattr(os, function, self._guarded(getattr(os, function), what))

    def _guarded(self, real: Callable[..., Any], what_of: Callable[..., str]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            what = what_of(*arguments)
            due = what == self._what and self._countdown() == 0
            size = self._journal_size() if what == f"fsync/{JOURNAL}" else 0
            if due and self._when == "half":
                descriptor, data = arguments
                real(descriptor, data[: len(data) // 2])
            if due and self._when != "after":
                self._end()
            result = real(*arguments)
            if due and self._when == "after":
                self._end()
            self._synced = max(self._synced, size)
            return result

        return call

    def _countdown(self) -> int:
        self._left -= 1
        return self._left

    def _end(self) -> None:
        if self._when == "power-cut":
            os.truncate(self._directory / JOURNAL, self._synced)
        os.kill(os.getpid(), self._number)

    def _journal_size(self) -> int:
        return (self._directory / JOURNAL).stat().st_size

    def _name(self, descriptor: int) -> str:
        """The open file's name in the run directory, "" when it is not in there."""
        status = os.fstat(descriptor)
        for path in (self._directory, *self._directory.iterdir()):
            # Another thread may just have removed or renamed it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), status):
                    return str(path.relative_to(self._directory))
        return ""


def _fact_type(data: bytes) -> str:
    found = _TYPE.match(data)
    return found[1].decode() if found else ""


def run(point: str, arguments: Sequence[str], log: str | None = None) -> None:
    """The command line with `arguments`; `point` "" for no trap. Ends as the command does.

    With `log`, both outputs are appended to that file.
    """
    if log is not None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
    if point:
        Trap(point, Path(arguments[arguments.index("--out") + 1])).arm()
    from selfinstruct.__main__ import main

    sys.argv = ["selfinstruct", *arguments]
    main()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[sys.argv.index("--") + 1 :])
