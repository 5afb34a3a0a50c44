"""The command as its users run it: a process of its own, an environment of its own.

In: arguments. Out: exit code, stdout, stderr, and what the run directory then holds. No test may
see a traceback, so every result is checked for one here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfinstruct.journal import LOCK, NAME, Fact, read_facts
from tests.scripted_server import ROOT, ServerProcess

TIMEOUT = 180.0
KEY = "sk-test-0123456789abcdef"
DATA = ("alpaca.en.jsonl", "records.jsonl", "rejected.jsonl")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.err, self.err
        assert "internal error" not in self.err, self.err

    @property
    def json(self) -> dict[str, Any]:
        """stdout, which must be one JSON object on one line and nothing else."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        value = json.loads(lines[0])
        assert isinstance(value, dict)
        return value

    @property
    def complaint(self) -> str:
        """The one line that says why the command failed."""
        lines = [line for line in self.err.splitlines() if line.startswith("selfinstruct: ")]
        assert len(lines) == 1, self.err
        return lines[0]


def environment(**more: str) -> dict[str, str]:
    """Nothing of the caller's but what a process needs to start; no key, no endpoint."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", **more}


def start(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> subprocess.Popen[str]:
    """Begin `selfinstruct ARGUMENTS`; its pid is the pid of the command itself."""
    return subprocess.Popen(
        [sys.executable, "-m", "selfinstruct", *map(str, arguments)],
        cwd=ROOT,
        env=environment() if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=before,
    )


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for a command to end by itself."""
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out, err)


@contextlib.contextmanager
def running(
    *arguments: str | Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command in progress, killed when the block leaves it alive."""
    process = start(*arguments, env=env)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.communicate()


def run(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Done:
    """`selfinstruct ARGUMENTS`, from start to end."""
    return finish(start(*arguments, env=env, before=before))


def run_together(*commands: Sequence[str | Path]) -> list[Done]:
    """Several commands at the same time, each from start to end."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(running(*command)) for command in commands]
        return [finish(process) for process in processes]


def asked(server: ServerProcess, out: Path, *more: str | Path, n: int = 20) -> list[str | Path]:
    """`generate` against a scripted server, four requests at a time unless `more` says so."""
    where = ["--concurrency", "4"]
    if "--model" not in more:
        where += ["--model", "asked-model"]
    if "--base-url" not in more:
        where += ["--base-url", server.base_url]
    return ["generate", "--n", str(n), "--out", out, *where, *more]


def generate(
    server: ServerProcess,
    out: Path,
    *more: str | Path,
    n: int = 20,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Done:
    """One whole `generate`, with a key."""
    keyed = environment(OPENAI_API_KEY=KEY) if env is None else env
    return run(*asked(server, out, *more, n=n), env=keyed, before=before)


@contextlib.contextmanager
def server_closed(server: ServerProcess) -> Iterator[None]:
    """Nobody listens on the server's port inside the block."""
    server.close()
    try:
        yield
    finally:
        server.reopen()


# ---------------------------------------------------------------- what a run directory holds


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file whose every line is closed."""
    content = path.read_bytes()
    assert not content or content.endswith(b"\n")
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def data(out: Path) -> dict[str, bytes]:
    """The derived row files, byte for byte."""
    return {name: (out / name).read_bytes() for name in DATA}


def manifest(out: Path) -> dict[str, Any]:
    """The manifest, whose counts must add up."""
    stated: dict[str, Any] = json.loads((out / "manifest.json").read_bytes())
    assert stated["candidates"] == stated["kept"] + sum(stated["rejected"].values())
    assert stated["kept"] == len(rows(out / "records.jsonl")) == len(rows(out / "alpaca.en.jsonl"))
    assert sum(stated["rejected"].values()) == len(rows(out / "rejected.jsonl"))
    return stated


def facts(out: Path, *kinds: str) -> list[Fact]:
    """The journal's facts of these types (all types when none is named), in order.

    Fails unless every byte of the journal is part of a valid line.
    """
    found = [fact for _offset, fact in read_facts(out / NAME)]
    assert (out / NAME).read_bytes().count(b"\n") == len(found)
    assert (out / NAME).read_bytes()[-1:] in (b"", b"\n")
    return [fact for fact in found if not kinds or fact["type"] in kinds]


def bytes_under(directory: Path) -> bytes:
    """Every byte of every file under a directory, names included; not who last held the lock."""
    files = sorted(p for p in directory.rglob("*") if p.is_file() and p.name != LOCK)
    return b"\0".join(str(path).encode() + b"\0" + path.read_bytes() for path in files)
