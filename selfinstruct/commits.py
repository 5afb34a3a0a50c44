"""Group commit: facts go to the journal at once, and to the disk a few at a time.

Enters: facts. Leaves: an open journal that is never more than so many facts or so many seconds
ahead of the disk. Use as `async with`. Knows nothing of what the facts mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType

from selfinstruct.errors import DiskError
from selfinstruct.journal import Journal

_COMMIT_FACTS, _COMMIT_SECONDS = 16, 0.05


class Commits:
    """`failed` hears of a disk that can take no more, once or more often."""

    def __init__(self, journal: Journal, failed: Callable[[DiskError], None]) -> None:
        self._journal = journal
        self._failed = failed
        self._uncommitted = 0
        self._due = asyncio.Event()
        self._committing = asyncio.Lock()

    async def __aenter__(self) -> Commits:
        self._journal.set_room_aside()
        self._committer = asyncio.create_task(self._commit_forever())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._committer.cancel()
        await asyncio.gather(self._committer, return_exceptions=True)
        self._journal.release_room()

    def append(self, fact: Mapping[str, object]) -> None:
        """Raises DiskError when there is no room left at all."""
        self._journal.append(fact)
        if self._journal.trouble is not None:
            # The fact is safe in the room set aside, but there is not much of it.
            self._failed(self._journal.trouble)
        self._uncommitted += 1
        if self._uncommitted >= _COMMIT_FACTS:
            self._due.set()

    async def commit(self) -> None:
        """Every fact is on the disk when this returns. Raises DiskError."""
        async with self._committing:
            if self._journal.unsynced:
                self._uncommitted = 0
                await asyncio.to_thread(self._journal.sync)

    async def _commit_forever(self) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout(_COMMIT_SECONDS):
                        await self._due.wait()
                except TimeoutError:
                    pass
                self._due.clear()
                await self.commit()
        except DiskError as error:
            self._failed(error)
