"""The files that a clean writes: appended to under hidden names, renamed into place at the end.

Enters: rows of output in order, and at times a state to come back to. Leaves: the files, whole or
not at all; after a crash, the state and the files cut back to it. Knows no row and no rule.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from selfinstruct.errors import DiskError, RunLocked, UsageError
from selfinstruct.exports import write_whole
from selfinstruct.journal import NAME as JOURNAL
from selfinstruct.journal import sync_directory

KEPT = "kept.jsonl"
REJECTED = "rejected.jsonl"
FLAGGED = "flagged.jsonl"
SUMMARY = "summary.json"
ROWS = (KEPT, REJECTED, FLAGGED)
STATE = ".clean.state.json"
_LOCK = ".clean.lock"


class Parts:
    """Append-only files in one directory, held by one process at a time."""

    def __init__(self, directory: Path, names: tuple[str, ...]) -> None:
        self._directory = directory
        self._names = names
        self._files: dict[str, BinaryIO] = {}
        self._sizes: dict[str, int] = {}
        self._lock = -1

    def __enter__(self) -> Parts:
        """Raises UsageError for a run directory or a file, RunLocked, DiskError."""
        try:
            if (self._directory / JOURNAL).exists():
                raise UsageError(f"{self._directory} is a run; give --out a directory of its own")
            self._is_new = not self._directory.exists()
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except (FileExistsError, NotADirectoryError):
            raise UsageError(f"--out: {self._directory} is not a directory") from None
        except OSError as error:
            raise _failed(self._directory, error) from error
        if not self._is_held():
            os.close(self._lock)
            raise RunLocked(f"another process is writing {self._directory}")
        return self

    def _is_held(self) -> bool:
        """Whether the lock is ours, and still the one that others will find."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self._lock), (self._directory / _LOCK).stat())
        except OSError:
            return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            # A full disk makes close fail too; the write before it has said so.
            with contextlib.suppress(OSError):
                file.close()
        if not (self._directory / STATE).exists():
            # No later process can go on from here.
            for name in self._files:
                with contextlib.suppress(OSError):
                    self.part(name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                (self._directory / _LOCK).unlink(missing_ok=True)
                if self._is_new:
                    self._directory.rmdir()  # Only if nothing came of it.
        os.close(self._lock)

    def part(self, name: str) -> Path:
        """Where a file is before it is whole."""
        return self._directory / f".{name}.part"

    def open(self, state: Mapping[str, Any] | None) -> None:
        """Begin anew, or cut the files back to what `state` vouches for and go on behind it."""
        try:
            if state is None:
                self._forget()
            for name in self._names:
                size = state["sizes"][name] if state else 0
                self._files[name] = self.part(name).open("ab")
                self._files[name].truncate(size)
                self._sizes[name] = size
        except OSError as error:
            raise _failed(self._directory, error) from error

    def _forget(self) -> None:
        """Drop what another clean left: its state would vouch for what is written from now on."""
        (self._directory / STATE).unlink(missing_ok=True)
        sync_directory(self._directory)
        for name in ROWS:
            self.part(name).unlink(missing_ok=True)

    def state(self, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        """The last checkpoint of a clean with the same facts, if its files bear it out."""
        try:
            stored: dict[str, Any] = json.loads((self._directory / STATE).read_bytes())
            enough = all(
                self.part(name).stat().st_size >= stored["sizes"][name] for name in self._names
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return stored if enough and stored["facts"] == facts else None

    def write(self, name: str, line: bytes) -> None:
        """Append a row; `line` has no line end. Raises DiskError."""
        try:
            self._files[name].write(line + b"\n")
        except OSError as error:
            raise _failed(self._directory / name, error) from error
        self._sizes[name] += len(line) + 1

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """From here a later process goes on. Raises DiskError."""
        self._sync()
        stored = json.dumps({**state, "sizes": self._sizes})
        write_whole(self._directory / STATE, stored.encode())

    def publish(self, summary: Mapping[str, Any]) -> None:
        """Rename every file into place, the summary last, and forget the state."""
        self._sync()
        try:
            # What an earlier clean left here belongs to its own rows alone.
            for name in (SUMMARY, *(name for name in ROWS if name not in self._names)):
                (self._directory / name).unlink(missing_ok=True)
            for name in self._names:
                self.part(name).replace(self._directory / name)
            text = json.dumps(summary, ensure_ascii=False, indent=2) + "\n"
            write_whole(self._directory / SUMMARY, text.encode("utf-8", "backslashreplace"))
            (self._directory / STATE).unlink(missing_ok=True)
            sync_directory(self._directory)
        except OSError as error:
            raise _failed(self._directory, error) from error

    def _sync(self) -> None:
        try:
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _failed(self._directory, error) from error


def _failed(path: Path, error: OSError) -> DiskError:
    return DiskError(
        f"cannot write {path}: {error.strerror}",
        hint="nothing is lost: free some space, then run the same command again",
    )
