"""The journal: the one append-only file that holds what money bought.

Enters: facts as dicts. Leaves: bytes on disk that survive SIGKILL, and the facts again. The only
module that appends and fsyncs. Knows nothing of what the facts mean beyond their `type`.

One JSON object a line, ASCII only, its last field a CRC-32 of the line before that field, its
first the sequence number. Recovery splits bytes on newlines alone (str.splitlines also cuts at
U+2028). An unterminated tail is moved to `journal.tail`; any other damage is refused.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from selfinstruct.errors import (
    DiskError,
    JournalDamaged,
    RunLocked,
    SelfInstructError,
    UsageError,
)

VERSION = 1
NAME = "journal.jsonl"
TAIL = "journal.tail"
LOCK = ".lock"
_CRC_FIELD = b',"crc":"00000000"}'

Fact = dict[str, Any]


def encode(sequence: int, fact: Mapping[str, Any]) -> bytes:
    """One journal line. bytes values are stored as text, or as base64 when not UTF-8."""
    flat: Fact = {"seq": sequence}
    for key, value in fact.items():
        if isinstance(value, bytes):
            try:
                flat[key] = value.decode("utf-8")
            except UnicodeDecodeError:
                flat[f"{key}_b64"] = base64.b64encode(value).decode("ascii")
        else:
            flat[key] = value
    body = json.dumps(flat, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)


def decode(line: bytes) -> Fact:
    """The fact in one line without its newline. Raises ValueError when it cannot be trusted."""
    body = line[: -len(_CRC_FIELD)] + b"}"
    if line != body[:-1] + b',"crc":"%08x"}' % zlib.crc32(body):
        raise ValueError("checksum does not match")
    fact: Fact = json.loads(body)
    return fact


def body_of(fact: Mapping[str, Any]) -> bytes:
    """The raw bytes that a reply or failure fact carries."""
    if "body_b64" in fact:
        return base64.b64decode(fact["body_b64"])
    return str(fact.get("body", "")).encode("utf-8")


def read_facts(path: Path) -> Iterator[tuple[int, Fact]]:
    """(offset, fact) of every complete line, without locking. Stops before an unterminated tail.

    Raises UsageError when there is no journal, JournalDamaged naming file and byte offset.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path.parent}: no run here ({error.strerror})") from None
    offset = 0
    with file:
        for sequence, line in enumerate(file):
            if not line.endswith(b"\n"):
                return
            try:
                fact = decode(line[:-1])
                if fact.get("seq") != sequence:
                    raise ValueError(f"sequence number {fact.get('seq')}, expected {sequence}")
            except ValueError as error:
                raise JournalDamaged(
                    f"{path}: damaged at byte {offset} (line {sequence + 1}): {error}",
                    hint="restore the file from a copy; nothing was changed",
                ) from None
            yield offset, fact
            offset += len(line)


def read_fact(path: Path, offset: int) -> Fact:
    """The fact at an offset that read_facts or append gave."""
    with path.open("rb") as file:
        file.seek(offset)
        return decode(file.readline()[:-1])


class Journal:
    """An open, locked journal. Use as a context manager; one writer per directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._lock = -1
        self._file = -1
        self._sequence = 0
        self._size = 0
        self._synced = 0
        self._broken = ""
        self.set_aside = 0
        self.trouble: DiskError | None = None

    def __enter__(self) -> Journal:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._acquire_lock()
            existed = self.path.exists()
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            if not existed:
                sync_directory(self.path.parent)
        except OSError as error:
            self.close()
            raise _cannot_open(self.path.parent, error) from error
        try:
            self._recover()
        except SelfInstructError:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self.unsynced and not self._broken and not isinstance(error, DiskError):
                self.sync()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the files. Does not sync."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _acquire_lock(self) -> None:
        path = self.path.parent / LOCK
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 20).decode("ascii", "replace").strip() or "unknown"
            self.close()
            raise RunLocked(
                f"{self.path.parent} is being written by process {holder}",
                hint="wait for it or stop it",
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def _recover(self) -> None:
        for offset, _fact in self.facts():
            self._sequence += 1
            self._size = offset
        if self._sequence:
            with self.path.open("rb") as file:
                file.seek(self._size)
                self._size += len(file.readline())
        total = self.path.stat().st_size
        if total > self._size:
            self._set_tail_aside(total)
        self._synced = self._size

    def _set_tail_aside(self, total: int) -> None:
        """Move what a crash left half-written out of the way; keep it for the curious."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._size)
                tail = file.read()
            aside = os.open(
                self.path.with_name(TAIL), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
            )
            with os.fdopen(aside, "ab") as copy:
                copy.write(tail + b"\n")
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
        except OSError as error:
            raise _disk_error(self.path, error) from error
        self.set_aside = total - self._size

    @property
    def size(self) -> int:
        """Bytes of complete lines."""
        return self._size

    @property
    def empty(self) -> bool:
        return self._sequence == 0

    @property
    def unsynced(self) -> bool:
        return self._synced < self._size

    def facts(self) -> Iterator[tuple[int, Fact]]:
        """Every (offset, fact) on disk."""
        return read_facts(self.path)

    def read(self, offset: int) -> Fact:
        """The fact that starts at `offset`."""
        return read_fact(self.path, offset)

    def restart(self) -> None:
        """Empty a journal that holds nothing bought. Raises DiskError."""
        try:
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise _disk_error(self.path, error) from error
        self._sequence = self._size = self._synced = 0

    def append(self, fact: Mapping[str, Any]) -> int:
        """Write one fact, whole or not at all; returns its offset. Raises DiskError."""
        if self._broken:
            raise DiskError(f"cannot write {self.path}: {self._broken}")
        line = encode(self._sequence, fact)
        offset = self._size
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            # Half a line must not come before the next fact: cut it off, or write no more.
            try:
                os.ftruncate(self._file, offset)
            except OSError:
                self._broken = "an earlier write was left unfinished"
            raise _disk_error(self.path, error) from error
        self._sequence += 1
        self._size += len(line)
        return offset

    def sync(self) -> None:
        """fsync what was appended. Raises DiskError, and from then on always: after a failed fsync
        the kernel may have dropped the pages, so a later success would mean nothing."""
        if self._broken:
            raise DiskError(f"cannot write {self.path}: {self._broken}")
        size = self._size
        try:
            os.fsync(self._file)
        except OSError as error:
            self._broken = "an earlier fsync failed"
            raise _disk_error(self.path, error) from error
        self._synced = max(self._synced, size)


def sync_directory(directory: Path) -> None:
    """fsync a directory, so that names made or replaced in it survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_error(path: Path, error: OSError) -> DiskError:
    hint = "check the disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space, then run the same command again"
    elif error.errno == errno.EFBIG:
        hint = "raise the file size limit (ulimit -f), then run the same command again"
    return DiskError(f"cannot write {path}: {error.strerror}", hint=hint)


def _cannot_open(directory: Path, error: OSError) -> UsageError | DiskError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
        return _disk_error(directory, error)
    return UsageError(f"cannot use {directory} as a run directory: {error.strerror}")
