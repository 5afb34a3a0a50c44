"""Room set aside for what is paid for, in case the journal cannot grow any more.

Enters: journal lines. Leaves: the same lines on disk, later moved to the journal. Knows how a line
ends, nothing of facts. The file is as long as the room; zeros follow the last line.

On a full disk (ENOSPC, EDQUOT) or at a limit of the journal's size (EFBIG), the replies that are on
the wire are paid for and must still go somewhere. 4 MiB hold 256 in flight, the most that the
throttle allows by itself, at 16 KiB each; a reply of 17 tasks is about 8 KiB.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAME = "journal.spill"
_ROOMS = tuple(1 << bits for bits in (22, 21, 20, 19, 18, 17, 16))


class Spill:
    """The file beside the journal. `used`: bytes of lines in it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._file = -1
        self.used = 0

    @property
    def ready(self) -> bool:
        """Is there a file to write to?"""
        return self._file >= 0

    def set_aside(self) -> None:
        """Take the room, or as much of it as there is; none is no error.

        Without any the file stays, empty: under a limit of a file's size it can still grow.
        """
        try:
            # O_EXCL: what lies there already may be paid for.
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            return
        for room in _ROOMS:
            try:
                os.posix_fallocate(self._file, 0, room)
            except OSError:
                continue
            return

    def write(self, line: bytes) -> None:
        """Add a line, whole or not at all. Raises OSError."""
        written = 0
        while written < len(line):
            written += os.pwrite(self._file, line[written:], self.used + written)
        self.used += len(line)

    def read(self, offset: int) -> bytes:
        """The line that begins at `offset`, without its end."""
        rest = os.pread(self._file, self.used - offset, offset)
        return rest[: rest.index(b"\n")]

    def sync(self) -> None:
        """Raises OSError."""
        os.fsync(self._file)

    def left(self) -> bytes:
        """The whole lines that an earlier process left here. Raises OSError.

        Zeros are room, also where a power cut kept a block from the disk. Half a line at the end is
        none: its append never returned.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        text = content.partition(b"\0")[0]
        return text[: text.rfind(b"\n") + 1]

    def remove(self) -> None:
        """Of what an earlier process left nothing is needed any more. Raises OSError."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file, and of the room when nothing is in it."""
        if self._file < 0:
            return
        os.close(self._file)
        self._file = -1
        if not self.used:
            # Room without facts that cannot be removed does no harm: the next open removes it.
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
