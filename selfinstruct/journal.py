"""The journal: the one append-only file that holds what money bought.

Enters: facts as dicts. Leaves: bytes on disk that survive SIGKILL, and the facts again. The only
module that appends and fsyncs. Knows nothing of what the facts mean beyond their `type`.

One JSON object a line, ASCII only, its last field a CRC-32 of the line before that field, its
first the sequence number. Recovery splits bytes on newlines alone (str.splitlines also cuts at
U+2028). An unterminated tail is moved to `journal.tail`; any other damage is refused. While
requests are on the wire, room is set aside for replies that no longer fit on the disk (`spill.py`);
the next open moves them into the journal.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import itertools
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
from selfinstruct.spill import Spill

VERSION = 1
NAME = "journal.jsonl"
TAIL = "journal.tail"
LOCK = ".lock"
# No room: on the disk, in the user's share of it, or in this file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
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

    What a full disk left in the spill is not seen before a writer has moved it. Raises UsageError
    when there is no journal, JournalDamaged naming file and byte offset.
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
    """An open, locked journal. Use as a context manager; one writer per directory.

    set_aside: bytes that a crash left half-written. recovered: facts that a full disk had kept out
    of the journal. trouble: why facts do not fit any more; they are safe, but the room is small.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._lock = -1
        self._file = -1
        self._sequence = 0
        self._size = 0
        self._synced = 0
        self._broken = ""
        self._spill = Spill(directory)
        self.set_aside = 0
        self.recovered = 0
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
            if self.unsynced and not self._broken:
                self.sync()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the files. Does not sync."""
        self._spill.close()
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
        self._recover_spill()

    def _recover_spill(self) -> None:
        """Move what a full disk kept out of the journal to its end. Raises DiskError while there is
        still no room, JournalDamaged when it is not the rest of this journal; both change nothing.
        """
        try:
            left = self._spill.left()
            missing = self._not_moved_yet(left)
            if left:
                # Also when all is there: who moved it may have been killed before its fsync.
                self._move(missing)
            self._spill.remove()
            if left:
                # It must not come back after a power cut, to a journal that went on.
                sync_directory(self.path.parent)
        except OSError as error:
            raise _disk_error(self.path, error) from error
        self.recovered = missing.count(b"\n")
        self._sequence += self.recovered
        self._size += len(missing)
        self._synced = self._size

    def _move(self, lines: bytes) -> None:
        """Add them to the file and sync it, or leave it as it is. Raises OSError."""
        try:
            _write_all(self._file, lines)
            os.fsync(self._file)
        except OSError:
            # If this fails too, the next open sets half a line aside and skips the whole ones.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise

    def _not_moved_yet(self, left: bytes) -> bytes:
        """The lines from the spill that are not in the journal. A crash may have come between their
        move and the spill's end: then the journal has some of them, and must have them as they are.
        """
        if not left:
            return left
        expected, at = range(self._sequence + 1), 0
        lines = left.split(b"\n")[:-1]
        for line in lines:
            try:
                found = decode(line).get("seq", -1)
                if found not in expected:
                    raise ValueError(f"sequence number {found}, expected {expected[-1]}")
            except ValueError as error:
                raise self._spill_damaged(at, str(error)) from None
            expected = range(found + 1, found + 2)
            at += len(line) + 1
        first = expected[0] - len(lines)
        if first == self._sequence:
            return left
        start = next(itertools.islice(self.facts(), first, None))[0]
        with self.path.open("rb") as file:
            file.seek(start)
            moved = file.read(min(len(left), self._size - start))
        if not left.startswith(moved):
            raise self._spill_damaged(0, f"not what the journal has from byte {start} on")
        return left[len(moved) :]

    def _spill_damaged(self, at: int, why: str) -> JournalDamaged:
        return JournalDamaged(
            f"{self._spill.path}: damaged at byte {at}: {why}",
            hint="restore the file from a copy, or remove it and lose the replies in it; "
            "nothing was changed",
        )

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
        inside = self._size - self._spill.used
        if offset >= inside:
            return decode(self._spill.read(offset - inside))
        return read_fact(self.path, offset)

    def restart(self) -> None:
        """Empty a journal that holds nothing bought. Raises DiskError."""
        try:
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise _disk_error(self.path, error) from error
        self._sequence = self._size = self._synced = 0

    def set_room_aside(self) -> None:
        """From now on, what does not fit goes to the spill. None to be had is no error."""
        self._spill.set_aside()

    def release_room(self) -> None:
        """Nothing is on the wire any more."""
        if not self._spill.used:
            self._spill.close()

    def append(self, fact: Mapping[str, Any]) -> int:
        """Write one fact, whole or not at all; returns its offset. Raises DiskError when there is
        no room for it anywhere; `trouble` says that only the room set aside is left."""
        if self._broken:
            raise DiskError(f"cannot write {self.path}: {self._broken}")
        line = encode(self._sequence, fact)
        offset = self._size
        if self.trouble is None:
            self._append_to_file(line)
        else:
            self._append_to_spill(line)
        self._sequence += 1
        self._size += len(line)
        return offset

    def _append_to_file(self, line: bytes) -> None:
        try:
            _write_all(self._file, line)
        except OSError as error:
            # Half a line must not come before the next fact: cut it off, or write no more.
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self._broken = "an earlier write was left unfinished"
                raise _disk_error(self.path, error) from error
            trouble = _disk_error(self.path, error)
            if error.errno not in _FULL or not self._spill.ready:
                raise trouble from error
            # No power cut may keep facts of the spill and lose earlier ones of the journal.
            self.sync()
            self._append_to_spill(line)
            self.trouble = trouble

    def _append_to_spill(self, line: bytes) -> None:
        try:
            self._spill.write(line)
        except OSError as error:
            raise _disk_error(self.path, error) from error

    def sync(self) -> None:
        """fsync what was appended. Raises DiskError, and from then on always: after a failed fsync
        the kernel may have dropped the pages, so a later success would mean nothing."""
        if self._broken:
            raise DiskError(f"cannot write {self.path}: {self._broken}")
        size = self._size
        try:
            os.fsync(self._file)
            if self._spill.used:
                self._spill.sync()
                # Its name too: it was made without a sync, since mostly nobody needs it.
                sync_directory(self.path.parent)
        except OSError as error:
            self._broken = "an earlier fsync failed"
            raise _disk_error(self.path, error) from error
        self._synced = max(self._synced, size)


def _write_all(descriptor: int, line: bytes) -> None:
    written = 0
    while written < len(line):
        written += os.write(descriptor, line[written:])


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
