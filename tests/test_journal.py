"""The journal: what was appended is there again, byte for byte, whatever crashed in between."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.errors import DiskError, JournalDamaged, RunLocked, UsageError
from selfinstruct.journal import LOCK, NAME, Journal, body_of, decode, encode, read_fact, read_facts

Fact = dict[str, Any]
FACTS: list[Fact] = [
    {"type": "run", "version": 1},
    {"type": "reply", "k": 0, "body": b"caf\xc3\xa9 \xe2\x80\xa8 x"},
    {"type": "reply", "k": 1, "body": b"\xff\x00\n\r"},
    {"type": "outcome", "k": 2, "reason": "empty"},
]
MORE: Fact = {"type": "target", "n": 9}


def file_of(facts: list[Fact]) -> bytes:
    return b"".join(encode(sequence, fact) for sequence, fact in enumerate(facts))


def plain(fact: Fact) -> Fact:
    """A fact that was read, without the sequence number and with its bytes as bytes again."""
    fields = {key: value for key, value in fact.items() if key != "seq"}
    if "body" in fields or "body_b64" in fields:
        fields["body"] = body_of(fields)
        fields.pop("body_b64", None)
    return fields


def write_run(directory: Path, facts: list[Fact]) -> Path:
    with Journal(directory) as journal:
        for fact in facts:
            journal.append(fact)
    return directory / NAME


def facts_in(directory: Path) -> list[Fact]:
    return [plain(fact) for _, fact in read_facts(directory / NAME)]


@contextmanager
def fresh_directory(content: bytes | None = None) -> Iterator[Path]:
    """A directory for one hypothesis example, with a journal of this content."""
    with tempfile.TemporaryDirectory() as name:
        if content is not None:
            (Path(name) / NAME).write_bytes(content)
        yield Path(name)


# ── round trip ───────────────────────────────────────────────────────────────────────────────

# json.loads joins a high surrogate to a low one after it; decoded UTF-8 and JSON never hold such.
_JOINED = re.compile("[\ud800-\udbff][\udc00-\udfff]")
TEXTS = st.text(st.characters(), max_size=12).filter(lambda text: not _JOINED.search(text))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    TEXTS.filter(lambda key: key not in ("seq", "crc", "body", "body_b64")), VALUES, max_size=4
)
SOME_FACTS = st.lists(
    st.builds(lambda fields, body: {**fields, **body}, FIELDS, st.just({}))
    | st.builds(lambda fields, body: {**fields, "body": body}, FIELDS, st.binary(max_size=20)),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(SOME_FACTS)
def test_facts_come_back(facts: list[Fact]) -> None:
    with fresh_directory() as directory:
        offsets = []
        with Journal(directory) as journal:
            for fact in facts:
                offsets.append(journal.append(fact))
            assert [plain(journal.read(offset)) for offset in offsets] == facts
        content = (directory / NAME).read_bytes()
        assert content == file_of(facts)
        assert content.isascii()
        assert facts_in(directory) == facts
        assert [offset for offset, _ in read_facts(directory / NAME)] == offsets
        with Journal(directory) as journal:
            assert [plain(fact) for _, fact in journal.facts()] == facts
            assert journal.empty == (not facts)
            assert journal.size == len(content)
            assert journal.set_aside == 0
        assert (directory / NAME).read_bytes() == content


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_bytes_come_back(body: bytes) -> None:
    line = encode(7, {"k": 1, "body": body})
    assert body_of(decode(line[:-1])) == body


def test_a_line_is_one_json_object_that_other_tools_read() -> None:
    line = encode(3, {"type": "reply", "body": b'{"a": "\xe2\x80\xa8\\ud800"}', "x": "\ud800"})
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    row = json.loads(line)
    assert list(row) == ["seq", "type", "body", "x", "crc"]
    assert row["seq"] == 3
    assert row["body"] == '{"a": "\u2028\\ud800"}'


def test_facts_without_a_body_have_an_empty_one() -> None:
    assert body_of({"type": "outcome"}) == b""


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_a_line_of_any_bytes_is_not_trusted(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


def test_going_on_after_reopening(tmp_path: Path) -> None:
    for fact in FACTS:
        with Journal(tmp_path) as journal:
            journal.append(fact)
    assert (tmp_path / NAME).read_bytes() == file_of(FACTS)


def test_offsets(tmp_path: Path) -> None:
    path = write_run(tmp_path, FACTS)
    for (offset, fact), expected in zip(read_facts(path), FACTS, strict=True):
        assert read_fact(path, offset) == fact
        assert plain(fact) == expected


# ── crashes ──────────────────────────────────────────────────────────────────────────────────


def check_recovery(content: bytes, cut: int) -> None:
    """A file cut off at any byte is a prefix of its facts, and can be gone on with."""
    kept = content[:cut].rpartition(b"\n")[0]
    kept += b"\n" if kept else b""
    tail = content[len(kept) : cut]
    whole = [plain(decode(line)) for line in kept.split(b"\n")[:-1]]
    with fresh_directory(content[:cut]) as directory:
        assert facts_in(directory) == whole, "reading alone sees the same"
        with Journal(directory) as journal:
            assert journal.set_aside == len(tail)
            assert [plain(fact) for _, fact in journal.facts()] == whole
            assert (directory / NAME).read_bytes() == kept
            journal.append(MORE)
        aside = directory / "journal.tail"
        assert (aside.read_bytes() if aside.exists() else b"") == (tail + b"\n" if tail else b"")
        assert (directory / NAME).read_bytes() == kept + encode(len(whole), MORE)
        with Journal(directory) as journal:
            assert journal.set_aside == 0


@settings(max_examples=60, deadline=None)
@given(SOME_FACTS.filter(bool), st.data())
def test_any_crash_leaves_a_prefix(facts: list[Fact], data: st.DataObject) -> None:
    content = file_of(facts)
    check_recovery(content, data.draw(st.integers(0, len(content)), label="cut"))


def test_every_crash_leaves_a_prefix() -> None:
    content = file_of(FACTS[:3])
    for cut in range(len(content) + 1):
        check_recovery(content, cut)


def test_two_crashes_keep_both_tails(tmp_path: Path) -> None:
    path = write_run(tmp_path, FACTS)
    for tail in (b'{"seq":4,"a', b'{"seq":4,"b'):
        with path.open("ab") as file:
            file.write(tail)
        with Journal(tmp_path) as journal:
            assert journal.set_aside == len(tail)
    assert (tmp_path / "journal.tail").read_bytes() == b'{"seq":4,"a\n{"seq":4,"b\n'
    assert facts_in(tmp_path) == FACTS


def test_a_process_killed_while_it_writes(tmp_path: Path) -> None:
    """SIGKILL at an arbitrary moment of real appending, three times over."""
    code = (
        "import sys; from pathlib import Path; from selfinstruct.journal import Journal\n"
        "with Journal(Path(sys.argv[1])) as journal:\n"
        "    n = 0\n"
        "    while True:\n"
        "        journal.append({'n': n, 'body': b'x' * 5000}); n += 1\n"
        "        if n == 200: print('busy', flush=True)\n"
    )
    for _ in range(3):
        before = len(facts_in(tmp_path)) if (tmp_path / NAME).exists() else 0
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        with child.stdout:
            assert child.stdout.readline() == "busy\n"
            child.send_signal(signal.SIGKILL)
        child.wait()
        with Journal(tmp_path):
            numbers = [fact["n"] for fact in facts_in(tmp_path)]
        assert len(numbers) >= before + 200
        assert numbers[before:] == list(range(len(numbers) - before))


# ── damage ───────────────────────────────────────────────────────────────────────────────────


def check_damage(content: bytes, line: int) -> None:
    """Refused naming the file, the byte where `line` (0-based) begins and its number."""
    offset = sum(len(part) + 1 for part in content.split(b"\n")[:line])
    with fresh_directory(content) as directory:
        expected = re.escape(f"{directory / NAME}: damaged at byte {offset} (line {line + 1}): ")
        for _ in range(2):
            # The second time tells that the first let go of the lock.
            with pytest.raises(JournalDamaged, match=expected) as caught, Journal(directory):
                pass
            assert caught.value.exit_code == 2
        with pytest.raises(JournalDamaged, match=expected):
            list(read_facts(directory / NAME))
        assert (directory / NAME).read_bytes() == content
        assert not (directory / "journal.tail").exists()


CONTENT = file_of(FACTS)


@pytest.mark.parametrize(
    "flip", [0x01, 0x20, 0x80, None], ids=["bit 0", "case", "bit 7", "newline"]
)
def test_every_flipped_byte_is_refused(flip: int | None) -> None:
    """Also in the last line: it was ended with a newline, so it was written whole."""
    for at in range(len(CONTENT) - 1):
        damaged = bytearray(CONTENT)
        damaged[at] = ord("\n") if flip is None else damaged[at] ^ flip
        if bytes(damaged) != CONTENT:
            check_damage(bytes(damaged), CONTENT.count(b"\n", 0, at))


def test_a_lost_last_newline_is_a_crash_not_damage() -> None:
    with fresh_directory(CONTENT[:-1] + b"!") as directory, Journal(directory) as journal:
        assert [plain(fact) for _, fact in journal.facts()] == FACTS[:-1]
        assert journal.set_aside == len(encode(3, FACTS[3]))


LINES = CONTENT.splitlines(keepends=True)
MOVED = {
    "lost": (LINES[:1] + LINES[2:], 1),
    "lost first": (LINES[1:], 0),
    "twice": ([LINES[0], *LINES], 1),
    "swapped": ([LINES[0], LINES[2], LINES[1], LINES[3]], 1),
    "blank line": ([*LINES[:2], b"\n", *LINES[2:]], 2),
    "crlf": ([line.replace(b"\n", b"\r\n") for line in LINES], 0),
    "foreign": ([*LINES, b'{"seq":4}\n'], 4),
    "another file": ([b"hello\n"], 0),
    "holes": ([*LINES[:2], bytes(100) + b"\n", *LINES[2:]], 2),
}


@pytest.mark.parametrize(("lines", "place"), MOVED.values(), ids=MOVED)
def test_whole_lines_in_the_wrong_place_are_refused(lines: list[bytes], place: int) -> None:
    check_damage(b"".join(lines), place)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 12), st.binary(max_size=12))
def test_any_splice_is_a_prefix_or_refused(at: int, length: int, patch: bytes) -> None:
    """Whatever is overwritten, no fact is read that was not appended."""
    content = CONTENT[:at] + patch + CONTENT[at + length :]
    read: list[Fact] = []
    refused = False
    with fresh_directory(content) as directory:
        try:
            read.extend(plain(fact) for _, fact in read_facts(directory / NAME))
        except JournalDamaged:
            refused = True
    assert read == FACTS[: len(read)]
    assert refused or len(read) == content.count(b"\n")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run here"):
        list(read_facts(tmp_path / NAME))


def test_a_directory_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with (
            pytest.raises(UsageError, match=f"cannot use {path} as a run directory"),
            Journal(path),
        ):
            pass


# ── one writer ───────────────────────────────────────────────────────────────────────────────

HOLD = (
    "import sys; from pathlib import Path; from selfinstruct.journal import Journal\n"
    "with Journal(Path(sys.argv[1])) as journal:\n"
    "    journal.append({'n': 0}); print('held', flush=True); sys.stdin.read()\n"
)


def test_a_second_writer_is_told_the_first_ones_pid(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        for _ in range(2):
            with (
                pytest.raises(RunLocked, match=rf"{tmp_path} .*process {holder.pid}\b") as caught,
                Journal(tmp_path),
            ):
                pass
            assert caught.value.exit_code == 2
        assert facts_in(tmp_path) == [{"n": 0}], "reading needs no lock"
        holder.kill()
    with Journal(tmp_path) as journal:
        journal.append({"n": 1})
    assert facts_in(tmp_path) == [{"n": 0}, {"n": 1}]


def test_a_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path):
        with pytest.raises(RunLocked, match=f"process {os.getpid()} "), Journal(tmp_path):
            pass
        with pytest.raises(RunLocked, match=f"process {os.getpid()} "), Journal(tmp_path):
            pass
    with Journal(tmp_path):
        pass


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    with Journal(tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
    with child:
        assert child.stdout is not None
        # Its files are closed only once it runs: exec lets the parent go before that.
        assert child.stdout.readline() == b"up\n"
        with Journal(tmp_path):
            pass
        child.kill()


# ── the file system ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("no_umask")
def test_only_the_owner_reads_replies(tmp_path: Path) -> None:
    path = write_run(tmp_path, FACTS)
    assert mode(path) == 0o600
    assert mode(tmp_path / LOCK) == 0o600


@pytest.mark.usefixtures("no_umask")
def test_only_the_owner_reads_the_tail(tmp_path: Path) -> None:
    path = write_run(tmp_path, FACTS)
    with path.open("ab") as file:
        file.write(b'{"seq":4,"type":"reply","body":"half a rep')
    with Journal(tmp_path):
        pass
    assert mode(tmp_path / "journal.tail") == 0o600


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "b", FACTS)
    assert facts_in(tmp_path / "a" / "b") == FACTS


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:1]))
    path = write_run(tmp_path, FACTS)
    assert path.read_bytes() == CONTENT


class FailingDisk:
    """os.write that takes `room` bytes, then fails."""

    def __init__(self, room: int, number: int) -> None:
        self.room = room
        self._number = number
        self._write = os.write

    def __call__(self, file: int, data: bytes) -> int:
        if not self.room:
            raise OSError(self._number, os.strerror(self._number))
        written = self._write(file, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "ulimit"),
        (errno.EIO, "check the disk"),
    ],
)
@pytest.mark.parametrize("room", [0, 1, 30])
def test_a_fact_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str, room: int
) -> None:
    with Journal(tmp_path) as journal:
        for fact in FACTS[:2]:
            journal.append(fact)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", FailingDisk(room, number))
            with pytest.raises(DiskError, match=hint) as caught:
                journal.append(FACTS[2])
        assert caught.value.exit_code == 4
        assert str(tmp_path) in str(caught.value)
        assert (tmp_path / NAME).read_bytes() == file_of(FACTS[:2])
        assert facts_in(tmp_path) == FACTS[:2]
        # There is room again: the same journal goes on, no number is missing.
        for fact in FACTS[2:]:
            journal.append(fact)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_after_half_a_fact_that_cannot_be_taken_back_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_truncate(file: int, length: int) -> None:
        raise OSError(errno.EIO, "broken")

    with Journal(tmp_path) as journal:
        journal.append(FACTS[0])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", FailingDisk(10, errno.EIO))
            patch.setattr(os, "ftruncate", no_truncate)
            with pytest.raises(DiskError):
                journal.append(FACTS[1])
        with pytest.raises(DiskError, match="left unfinished"):
            journal.append(FACTS[1])
    with Journal(tmp_path) as journal:
        assert journal.set_aside == 10
        assert facts_in(tmp_path) == FACTS[:1]


LIMITED = """
import resource, sys
from pathlib import Path
from selfinstruct.errors import DiskError
from selfinstruct.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
n = 0
try:
    with Journal(Path(sys.argv[1])) as journal:
        while True:
            journal.append({"n": n, "body": b"x" * 3000})
            n += 1
except DiskError as error:
    print(n, error.exit_code, error)
"""


def test_a_real_limit_leaves_a_valid_journal(tmp_path: Path) -> None:
    """The kernel takes part of the last line, then refuses the rest."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    written, code, message = done.stdout.split(" ", 2)
    assert (int(written), code) == (6, "4")
    assert "raise the file size limit" in message
    path = tmp_path / NAME
    assert path.read_bytes().endswith(b"\n")
    assert [fact["n"] for fact in facts_in(tmp_path)] == list(range(6))
    with Journal(tmp_path) as journal:
        assert journal.set_aside == 0
        journal.append({"n": 6})
    assert [fact["n"] for fact in facts_in(tmp_path)] == list(range(7))


class CountingFsync:
    """os.fsync that notes what it was called for, and fails when told to."""

    def __init__(self) -> None:
        self.directories = 0
        self.files = 0
        self.fails = False
        self._fsync = os.fsync

    def __call__(self, file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            self.directories += 1
        else:
            self.files += 1
        if self.fails:
            raise OSError(errno.EIO, "broken")
        self._fsync(file)


@pytest.fixture
def fsync(monkeypatch: pytest.MonkeyPatch) -> CountingFsync:
    counting = CountingFsync()
    monkeypatch.setattr(os, "fsync", counting)
    return counting


def test_what_is_appended_is_synced_at_the_latest_at_the_end(
    tmp_path: Path, fsync: CountingFsync
) -> None:
    with Journal(tmp_path) as journal:
        assert fsync.directories == 1, "a new file's name must survive too"
        assert not journal.unsynced
        for fact in FACTS[:2]:
            journal.append(fact)
        assert journal.unsynced
        assert fsync.files == 0, "when to sync is the generator's business"
        journal.sync()
        assert (journal.unsynced, fsync.files) == (False, 1)
        journal.append(FACTS[2])
    assert fsync.files == 2
    with Journal(tmp_path):
        pass
    assert (fsync.directories, fsync.files) == (1, 2)


def test_a_failed_sync_is_final(tmp_path: Path, fsync: CountingFsync) -> None:
    """Linux may drop the dirty pages and report success the next time."""

    def run() -> None:
        with Journal(tmp_path) as journal:
            journal.append(FACTS[0])
            fsync.fails = True
            journal.sync()

    with pytest.raises(DiskError, match="cannot write"):
        run()
    assert fsync.files == 1


def test_the_end_syncs_after_another_error_too(tmp_path: Path, fsync: CountingFsync) -> None:
    def run() -> None:
        with Journal(tmp_path) as journal:
            journal.append(FACTS[0])
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        run()
    assert fsync.files == 1
    assert facts_in(tmp_path) == FACTS[:1]


def test_after_a_failed_fsync_no_later_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may have dropped the pages: a later success would mean nothing."""
    with Journal(tmp_path) as journal:
        journal.append({"type": "a"})

        def fail(_descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", fail)
            with pytest.raises(DiskError):
                journal.sync()
        with pytest.raises(DiskError, match="earlier fsync"):
            journal.sync()
        with pytest.raises(DiskError, match="earlier fsync"):
            journal.append({"type": "b"})
