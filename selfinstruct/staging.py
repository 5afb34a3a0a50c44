"""Files that appear together or not at all: temporary names, fsync, then all renames.

Enters: paths and bytes. Leaves: the files. Knows no layout and no run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from selfinstruct.exports import disk_error
from selfinstruct.journal import sync_directory


class Staging:
    """Files under temporary names, gone when the block ends before `publish`.

    An OSError in the block leaves it as a DiskError that names `where`.
    """

    def __init__(self, where: Path) -> None:
        self._where = where
        self._files: dict[Path, tuple[Path, BinaryIO]] = {}

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for temporary, file in self._files.values():
            # A full disk makes close fail too; the write before it has said so.
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_error(self._where, error) from error

    def open(self, path: Path) -> BinaryIO:
        """The file that will be `path`; its folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # With the process's id: two exports at once do not write into each other's file.
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._files[path] = temporary, temporary.open("wb")
        return self._files[path][1]

    def size(self, path: Path) -> int:
        """Bytes written to a file so far."""
        return self._files[path][1].tell()

    def publish(self, paths: Collection[Path]) -> None:
        """Put these in their places, in the order in which they were opened; drop the others."""
        for _temporary, file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        for path, (temporary, _file) in self._files.items():
            if path in paths:
                temporary.replace(path)
        for folder in dict.fromkeys(path.parent for path in paths):
            sync_directory(folder)
