"""No room for the journal: what is paid for is kept beside it and comes back, once, in order."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from selfinstruct import spill
from selfinstruct.errors import DiskError, JournalDamaged, RunLocked
from selfinstruct.journal import NAME, Journal, encode, read_fact, read_facts

SPILL = spill.NAME
MIB = 1 << 20


def is_open(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())


@contextmanager
def full_after(
    directory: Path, room: int, code: int = errno.ENOSPC, spill_room: int = 4 * MIB
) -> Iterator[None]:
    """The journal may grow to `room` bytes, the spill to `spill_room`; others are not limited."""
    write, pwrite = os.write, os.pwrite

    def fits(content: bytes, left: int) -> bytes:
        if left <= 0:
            raise OSError(code, os.strerror(code))
        return content[:left]

    def limited_write(descriptor: int, content: bytes) -> int:
        if is_open(descriptor, directory / NAME):
            content = fits(content, room - os.fstat(descriptor).st_size)
        return write(descriptor, content)

    def limited_pwrite(descriptor: int, content: bytes, offset: int) -> int:
        if is_open(descriptor, directory / SPILL):
            content = fits(content, spill_room - offset)
        return pwrite(descriptor, content, offset)

    with mock.patch("os.write", limited_write), mock.patch("os.pwrite", limited_pwrite):
        yield


@contextmanager
def watched(*calls: str, fail: str = "", kill: str = "") -> Iterator[list[str]]:
    """What these functions of `os` are called for, as "fsync journal.jsonl", "unlink …", in order.

    fail: that call raises EIO. kill: that call ("before …" or "after …") raises Killed.
    """
    seen: list[str] = []

    def around(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(what: int | Path, *rest: Any) -> Any:
            path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else what
            event = f"{name} {'.' if path.is_dir() else path.name}"
            seen.append(event)
            if event == fail:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if kill == f"before {event}":
                raise Killed
            result = real(what, *rest)
            if kill == f"after {event}":
                raise Killed
            return result

        return call

    with ExitStack() as stack:
        for name in calls:
            stack.enter_context(mock.patch(f"os.{name}", around(name, getattr(os, name))))
        yield seen


class Killed(BaseException):
    """Nobody handles it: what is on the disk stays as it is at that moment."""


def fact(number: int, size: int = 20) -> dict[str, Any]:
    return {"type": "reply", "k": number, "body": "x" * size}


LINE = len(encode(0, fact(0)))


def numbers(directory: Path) -> list[int]:
    return [found["k"] for _offset, found in read_facts(directory / NAME)]


def fill(directory: Path, room: int = 300, count: int = 10, code: int = errno.ENOSPC) -> list[int]:
    """Append `count` facts with too little room, 3 fit into 300 bytes; their offsets."""
    with full_after(directory, room, code), Journal(directory) as journal:
        journal.set_room_aside()
        offsets = [journal.append(fact(number)) for number in range(count)]
        assert [journal.read(offset)["k"] for offset in offsets] == list(range(count))
        assert journal.size == sum(len(encode(n, fact(n))) for n in range(count))
        journal.sync()
        assert not journal.unsynced
        journal.release_room()
    return offsets


def lines_in(path: Path) -> bytes:
    return path.read_bytes().partition(b"\0")[0]


# ── a full disk ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_facts_that_do_not_fit_come_back(tmp_path: Path, code: int) -> None:
    offsets = fill(tmp_path, code=code)
    assert numbers(tmp_path) == [0, 1, 2], "the half line is cut off"
    assert (tmp_path / NAME).read_bytes().endswith(b"\n")
    assert (tmp_path / SPILL).stat().st_size == 4 * MIB
    with Journal(tmp_path) as journal:
        assert journal.recovered == 7
        assert journal.set_aside == 0
        assert not journal.unsynced
        assert journal.trouble is None
        assert [journal.read(offset)["k"] for offset in offsets] == list(range(10))
        assert journal.append(fact(10)) > 0
    assert numbers(tmp_path) == list(range(11))
    assert not (tmp_path / SPILL).exists()
    with Journal(tmp_path) as journal:
        assert journal.recovered == 0


def test_trouble_is_told(tmp_path: Path) -> None:
    with full_after(tmp_path, 300), Journal(tmp_path) as journal:
        journal.set_room_aside()
        for number in range(3):
            journal.append(fact(number))
            assert journal.trouble is None
        journal.append(fact(3))
        assert isinstance(journal.trouble, DiskError)
        assert "free some space" in str(journal.trouble)


def test_room_on_the_disk_does_not_end_the_trouble(tmp_path: Path) -> None:
    """A later fact in the journal would come before an earlier one in the spill."""
    with Journal(tmp_path) as journal:
        journal.set_room_aside()
        with full_after(tmp_path, 300):
            for number in range(4):
                journal.append(fact(number))
        for number in range(4, 8):
            journal.append(fact(number))
        assert journal.trouble is not None
        assert numbers(tmp_path) == [0, 1, 2]
    with Journal(tmp_path):
        assert numbers(tmp_path) == list(range(8))


def test_another_error_of_the_disk_is_final(tmp_path: Path) -> None:
    with full_after(tmp_path, 300, errno.EIO), Journal(tmp_path) as journal:
        journal.set_room_aside()
        for number in range(3):
            journal.append(fact(number))
        with pytest.raises(DiskError, match="check the disk"):
            journal.append(fact(3))
        assert journal.trouble is None
    assert not (tmp_path / SPILL).exists()


def test_the_journal_is_synced_before_the_spill_is_used(tmp_path: Path) -> None:
    """Else a power cut might keep facts of the spill and lose those that come before them."""
    with (
        watched("pwrite", "fsync") as seen,
        full_after(tmp_path, 300),
        Journal(tmp_path) as journal,
    ):
        journal.set_room_aside()
        for number in range(3):
            journal.append(fact(number))
        del seen[:]
        journal.append(fact(3))
        journal.append(fact(4))
        assert seen == [f"fsync {NAME}", f"pwrite {SPILL}", f"pwrite {SPILL}"]
        assert journal.unsynced
        del seen[:]
        journal.sync()
        # Its name must survive a power cut too.
        assert seen == [f"fsync {NAME}", f"fsync {SPILL}", "fsync ."]
        assert not journal.unsynced


@pytest.mark.parametrize("event", [f"fsync {SPILL}", "fsync ."])
def test_a_failed_sync_of_the_spill_is_final(tmp_path: Path, event: str) -> None:
    with full_after(tmp_path, 300), Journal(tmp_path) as journal:
        journal.set_room_aside()
        for number in range(4):
            journal.append(fact(number))
        with watched("fsync", fail=event), pytest.raises(DiskError):
            journal.sync()
        assert journal.unsynced
        with pytest.raises(DiskError, match="earlier fsync"):
            journal.sync()
        with pytest.raises(DiskError, match="earlier fsync"):
            journal.append(fact(4))


@pytest.mark.parametrize(("room_aside", "last"), [(True, SPILL), (False, NAME)])
def test_what_is_paid_for_is_synced_at_the_latest_at_the_end(
    tmp_path: Path, room_aside: bool, last: str
) -> None:
    """Also when the run ends because of that trouble."""

    def run() -> None:
        with full_after(tmp_path, 300), Journal(tmp_path) as journal:
            if room_aside:
                journal.set_room_aside()
            for number in range(4):
                journal.append(fact(number))
            assert journal.trouble is not None
            raise journal.trouble

    with watched("fsync") as seen, pytest.raises(DiskError):
        run()
    assert f"fsync {last}" in seen


REAL = """
import os, resource, signal, sys
from pathlib import Path
from selfinstruct.errors import DiskError
from selfinstruct.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
with Journal(Path(sys.argv[1])) as journal:
    journal.set_room_aside()
    n = spilled = 0
    try:
        while True:
            journal.append({"k": n, "body": b"x" * 3000})
            n += 1
            spilled += journal.trouble is not None
    except DiskError as error:
        print(n, spilled, error, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("limit", "room"), [(300_000, 1 << 18), (70_000, 1 << 16), (40_000, 0), (6 * MIB, 4 * MIB)]
)
def test_a_real_limit(tmp_path: Path, limit: int, room: int) -> None:
    """The kernel takes part of a line, then refuses the rest: of the journal, then of the spill.

    And the process is killed right there. Until then every append that returned is safe.
    """
    done = subprocess.run(
        [sys.executable, "-c", REAL, str(tmp_path), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    written, spilled, message = done.stdout.split(" ", 2)
    assert "raise the file size limit" in message
    assert len(numbers(tmp_path)) == int(written) - int(spilled)
    # Beyond its room, or without any, it grows as far as the limit lets it.
    assert int(spilled) >= max(room, limit) // 3200
    assert (tmp_path / SPILL).stat().st_size >= room
    with Journal(tmp_path) as journal:
        assert journal.recovered == int(spilled)
    assert numbers(tmp_path) == list(range(int(written)))
    assert {path.name for path in tmp_path.iterdir()} == {".lock", NAME}


SIZES = st.lists(st.integers(0, 200), min_size=1, max_size=12)


@settings(deadline=None, max_examples=120)
@given(sizes=SIZES, room=st.integers(0, 1500), spill_room=st.integers(0, 1500))
@example(sizes=[200, 0, 0], room=0, spill_room=200)  # A short fact fits where a long one did not.
@example(sizes=[0] * 6, room=2 * LINE + 1, spill_room=2 * LINE)
def test_what_was_appended_is_there_again(sizes: list[int], room: int, spill_room: int) -> None:
    """Journal and spill become full at any byte: exactly the appends that returned come back."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        kept: dict[int, int] = {}
        with (
            full_after(directory, room, spill_room=spill_room),
            Journal(directory) as journal,
        ):
            journal.set_room_aside()
            for number, size in enumerate(sizes):
                before = journal.trouble
                try:
                    kept[number] = journal.append(fact(number, size))
                except DiskError:
                    assert journal.trouble is before
            assert [journal.read(offset)["k"] for offset in kept.values()] == list(kept)
        inside = numbers(directory)
        with Journal(directory) as journal:
            assert journal.recovered == len(kept) - len(inside)
            assert journal.set_aside == 0
            journal.append(fact(99))
        assert numbers(directory) == [*kept, 99]
        # An offset names the same fact before and after the move.
        assert [read_fact(directory / NAME, at)["k"] for at in kept.values()] == list(kept)


# ── the room ─────────────────────────────────────────────────────────────────────────────────


def test_without_room_set_aside_a_full_disk_is_an_error(tmp_path: Path) -> None:
    with full_after(tmp_path, 300), Journal(tmp_path) as journal:
        for number in range(3):
            journal.append(fact(number))
        with pytest.raises(DiskError, match="free some space"):
            journal.append(fact(3))
        assert journal.trouble is None
    assert numbers(tmp_path) == [0, 1, 2]


def test_nothing_is_left_of_room_that_nobody_needed(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert not (tmp_path / SPILL).exists()
        for _ in range(2):
            journal.set_room_aside()
            assert (tmp_path / SPILL).stat().st_blocks * 512 >= 4 * MIB
            journal.append(fact(0))
            journal.release_room()
            assert not (tmp_path / SPILL).exists()


def test_the_end_releases_the_room_too(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.set_room_aside()
        assert (tmp_path / SPILL).exists()
    assert not (tmp_path / SPILL).exists()


def test_who_is_refused_leaves_the_room_of_the_other(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.set_room_aside()
        with pytest.raises(RunLocked), Journal(tmp_path):
            pass
        assert (tmp_path / SPILL).stat().st_size == 4 * MIB


def test_setting_aside_and_releasing_twice_changes_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.set_room_aside()
        with full_after(tmp_path, 0):
            journal.append(fact(0))
        before = (tmp_path / SPILL).read_bytes()
        journal.set_room_aside()
        journal.release_room()
        assert (tmp_path / SPILL).read_bytes() == before
        journal.append(fact(1))
    with Journal(tmp_path):
        assert numbers(tmp_path) == [0, 1]


def test_room_that_a_killed_process_left_is_no_fact(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(fact(0))
    (tmp_path / SPILL).write_bytes(bytes(1 << 16))
    with watched("fsync") as seen, Journal(tmp_path) as journal:
        assert journal.recovered == 0
        assert seen == []
    assert not (tmp_path / SPILL).exists()
    assert numbers(tmp_path) == [0]


@pytest.mark.parametrize(
    ("largest", "code", "size"),
    [
        (1 << 18, errno.ENOSPC, 1 << 18),
        (1 << 16, errno.EFBIG, 1 << 16),
        ((1 << 16) - 1, errno.ENOSPC, 0),
        (0, errno.EOPNOTSUPP, 0),
    ],
)
def test_as_much_room_as_there_is(tmp_path: Path, largest: int, code: int, size: int) -> None:
    real = os.posix_fallocate

    def fallocate(descriptor: int, offset: int, length: int) -> None:
        if length > largest:
            raise OSError(code, os.strerror(code))
        real(descriptor, offset, length)

    with mock.patch("os.posix_fallocate", fallocate), Journal(tmp_path) as journal:
        journal.set_room_aside()
        assert (tmp_path / SPILL).stat().st_size == size
        # Without room a file still may have some: its own limit is not the journal's.
        with full_after(tmp_path, 0):
            journal.append(fact(0))
    with Journal(tmp_path) as journal:
        assert journal.recovered == 1


def test_what_lies_there_already_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / SPILL).write_bytes(b"paid for\n")
    room = spill.Spill(tmp_path)
    room.set_aside()
    assert not room.ready
    room.close()
    assert (tmp_path / SPILL).read_bytes() == b"paid for\n"


def test_no_file_to_be_had_is_no_error(tmp_path: Path) -> None:
    (tmp_path / SPILL).mkdir()
    room = spill.Spill(tmp_path)
    room.set_aside()
    assert not room.ready
    room.close()


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        fill(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / SPILL).stat().st_mode) == 0o600


# ── the move ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("more", [0, 1, LINE, LINE + 50])
def test_while_there_is_no_room_nothing_is_moved(tmp_path: Path, more: int) -> None:
    fill(tmp_path)
    before = (tmp_path / SPILL).read_bytes()
    size = (tmp_path / NAME).stat().st_size
    for _ in range(2):
        # The second time tells that the first let go of the lock.
        with (
            full_after(tmp_path, size + more),
            pytest.raises(DiskError, match="free some space"),
            Journal(tmp_path),
        ):
            pass
        assert (tmp_path / NAME).stat().st_size == size
        assert (tmp_path / SPILL).read_bytes() == before
    with Journal(tmp_path) as journal:
        assert journal.recovered == 7
    assert numbers(tmp_path) == list(range(10))


def check_move(journaled: bytes, left: bytes, found: list[int]) -> None:
    """With these two files there are these facts, and a run that goes on."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / NAME).write_bytes(journaled)
        (directory / SPILL).write_bytes(left)
        with Journal(directory) as journal:
            assert journal.recovered == len(found) - journaled.count(b"\n")
            assert journal.set_aside == len(journaled) - journaled.rfind(b"\n") - 1
            journal.append(fact(99))
        assert numbers(directory) == [*found, 99]
        assert not (directory / SPILL).exists()


def test_the_move_is_cut_off_at_every_byte(tmp_path: Path) -> None:
    """A crash after any part of it, the spill being there still: nothing is lost or doubled."""
    fill(tmp_path, count=6)
    journaled, left = (tmp_path / NAME).read_bytes(), lines_in(tmp_path / SPILL)
    assert left.count(b"\n") == 3
    for cut in range(len(left) + 1):
        check_move(journaled + left[:cut], left + bytes(100), list(range(6)))


def test_the_spill_is_cut_off_at_every_byte(tmp_path: Path) -> None:
    """A crash while it is written, or one that kept a block from the disk: a prefix is there."""
    fill(tmp_path, count=6)
    journaled, left = (tmp_path / NAME).read_bytes(), lines_in(tmp_path / SPILL)
    for cut in range(len(left) + 1):
        found = list(range(3 + left[:cut].count(b"\n")))
        check_move(journaled, left[:cut], found)
        check_move(journaled, left[:cut] + bytes(100), found)
        if cut + LINE < len(left):
            check_move(journaled, left[:cut] + bytes(LINE) + left[cut + LINE :], found)


def test_a_spill_that_came_back_with_a_power_cut(tmp_path: Path) -> None:
    """The journal went on after the move: what it has already is still skipped."""
    fill(tmp_path, count=6)
    left = (tmp_path / SPILL).read_bytes()
    with Journal(tmp_path) as journal:
        for number in range(6, 9):
            journal.append(fact(number))
    check_move((tmp_path / NAME).read_bytes(), left, list(range(9)))


STEPS = [f"fsync {NAME}", f"unlink {SPILL}", "fsync ."]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_it_moves(tmp_path: Path, step: str, when: str) -> None:
    offsets = fill(tmp_path)
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.test_spill import *\n"
        "try:\n"
        "    with watched('fsync', 'unlink', kill=sys.argv[2]), Journal(Path(sys.argv[1])): pass\n"
        "except Killed: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), f"{when} {step}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = (tmp_path / SPILL).exists()
    with watched("fsync", "unlink") as seen, Journal(tmp_path) as journal:
        assert journal.recovered == 0, "all were there already"
        assert [journal.read(offset)["k"] for offset in offsets] == list(range(10))
    # They may be nowhere but in the page cache: not even then is the spill removed before a sync.
    assert seen == (STEPS if left else STEPS[1:2])
    assert numbers(tmp_path) == list(range(10))


@pytest.mark.parametrize("step", STEPS)
def test_a_move_that_fails_loses_nothing(tmp_path: Path, step: str) -> None:
    fill(tmp_path)
    with watched("fsync", "unlink", fail=step), pytest.raises(DiskError), Journal(tmp_path):
        pass
    with Journal(tmp_path) as journal:
        assert journal.recovered == (7 if step == STEPS[0] else 0)
    assert numbers(tmp_path) == list(range(10))
    assert not (tmp_path / SPILL).exists()


def test_half_a_move_that_cannot_be_taken_back(tmp_path: Path) -> None:
    fill(tmp_path)
    size = (tmp_path / NAME).stat().st_size
    with (
        full_after(tmp_path, size + LINE + 10),
        watched("ftruncate", fail=f"ftruncate {NAME}"),
        pytest.raises(DiskError, match="free some space"),
        Journal(tmp_path),
    ):
        pass
    assert (tmp_path / NAME).stat().st_size == size + LINE + 10
    with Journal(tmp_path) as journal:
        assert (journal.set_aside, journal.recovered) == (10, 6)
    assert numbers(tmp_path) == list(range(10))


def test_a_journal_starts_over_after_a_move(tmp_path: Path) -> None:
    fill(tmp_path)
    with Journal(tmp_path) as journal:
        journal.restart()
        journal.append(fact(42))
        assert journal.size == (tmp_path / NAME).stat().st_size
    with Journal(tmp_path):
        assert numbers(tmp_path) == [42]


# ── damage ───────────────────────────────────────────────────────────────────────────────────


def check_refused(directory: Path, journaled: bytes, left: bytes, why: str) -> None:
    """Neither file is changed, and the lock is let go of."""
    (directory / NAME).write_bytes(journaled)
    (directory / SPILL).write_bytes(left)
    for _ in range(2):
        with pytest.raises(JournalDamaged, match=f"{SPILL}: damaged at {why}"), Journal(directory):
            pass
    assert (directory / NAME).read_bytes() == journaled
    assert (directory / SPILL).read_bytes() == left


def test_every_flipped_byte_in_the_spill_is_refused(tmp_path: Path) -> None:
    """Also in its last line: that was written whole, and paid for."""
    fill(tmp_path, count=6)
    journaled, left = (tmp_path / NAME).read_bytes(), lines_in(tmp_path / SPILL)
    for at in range(len(left) - 1):
        damaged = bytearray(left + bytes(100))
        damaged[at] ^= 1
        start = left.rfind(b"\n", 0, at) + 1
        check_refused(tmp_path, journaled, bytes(damaged), f"byte {start}: ")


@pytest.mark.parametrize(
    ("inside", "beside", "why"),
    [
        ([0], [3, 4], "byte 0: sequence number 3, expected 1"),
        ([], [1], "byte 0: sequence number 1, expected 0"),
        ([0, 1, 2], [3, 5], f"byte {LINE}: sequence number 5, expected 4"),
        ([0, 1, 2], [3, 3], f"byte {LINE}: sequence number 3, expected 4"),
        ([0, 1, 2], [4, 3], "byte 0: sequence number 4, expected 3"),
    ],
)
def test_facts_of_another_place_are_refused(
    tmp_path: Path, inside: list[int], beside: list[int], why: str
) -> None:
    journaled, left = (b"".join(encode(n, fact(n)) for n in part) for part in (inside, beside))
    check_refused(tmp_path, journaled, left, why)


@pytest.mark.parametrize("wrong", [1, 2])
def test_facts_of_another_journal_are_refused(tmp_path: Path, wrong: int) -> None:
    """The same numbers, other facts: skipping them might lose what was paid for."""
    journaled = b"".join(encode(n, fact(n)) for n in range(3))
    left = b"".join(encode(n, fact(77 if n == wrong else n)) for n in range(1, 5))
    why = f"byte 0: not what the journal has from byte {LINE} on"
    check_refused(tmp_path, journaled, left, why)
