"""Killed anywhere, a run ends with the same bytes and buys no reply twice that it has on disk.

What each kill may cost is read from the journal as the kill left it: the intents without an
answer. The server's ledger must agree.

Runs are forked from a process that has the package imported already: a start takes 0.1 s instead
of 1 s. The undisturbed runs and those that are interrupted start the command from nothing.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from selfinstruct.journal import read_facts
from selfinstruct.verify import verify
from tests import crash_child
from tests.scripted_server import ROOT, Script, ServerProcess

LONG = 120.0  # seconds; CI has 2 cores and company
FOREVER = 3600.0  # seconds that a reply takes when nobody is meant to wait for it
POLL = 0.002
DERIVED = ("alpaca.en.jsonl", "records.jsonl", "rejected.jsonl")
MANIFEST = "manifest.json"
REPLIES = Script(duplicate_share=0.1, bad_share=0.1, latency=0.01, jitter=0.5)
FORKS = multiprocessing.get_context("forkserver")
PRELOADED = (
    "pytest",
    "tests.crash_child",
    "selfinstruct.cli",
    "selfinstruct.display",
    "selfinstruct.pipeline",
    "aiohttp",
    "httpx2",
    "openai",
    "openai.resources.completions",
)

Fact = dict[str, Any]

POINTS = (
    "before:truncate/.lock:1",
    "after:truncate/.lock:1",
    "before:fsync/.:1",
    "before:write/run:1",
    "half:write/run:1",
    "after:write/run:1",
    "half:write/target:1",
    "before:write/intent:1",
    "half:write/intent:4",
    "after:write/intent:8",
    "before:write/reply:1",
    "half:write/reply:1",
    "after:write/reply:1",
    "half:write/reply:9",
    "after:write/reply:16",
    "before:fsync/journal.jsonl:2",
    "after:fsync/journal.jsonl:3",
    "half:write/session:1",
    "after:write/session:1",
    "before:fsync/.records.jsonl.tmp:1",
    "after:fsync/.manifest.json.tmp:1",
    "before:rename/alpaca.en.jsonl:1",
    "after:rename/alpaca.en.jsonl:1",
    "after:rename/records.jsonl:1",
    "before:rename/manifest.json:1",
    "after:rename/manifest.json:1",
    "before:fsync/.:2",
)


# ── the runs ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Run:
    """One run directory and the command that fills it."""

    directory: Path
    base_url: str
    n: int = 60
    concurrency: int = 8

    @property
    def command(self) -> list[str]:
        options = {
            "--n": self.n,
            "--out": self.directory,
            "--base-url": self.base_url,
            "--model": "scripted-model",
            "--concurrency": self.concurrency,
            "--tasks": 4,
        }
        return ["generate", *(str(part) for option in options.items() for part in option)]

    @contextmanager
    def running(self, point: str = "") -> Iterator[BaseProcess]:
        """The command in a forked process, killed when the block leaves it alive."""
        arguments = (point, self.command, str(self._log))
        process = FORKS.Process(target=crash_child.run, args=arguments)
        process.start()
        try:
            yield process
        finally:
            process.kill()
            process.join()
            process.close()

    def until_end(self, point: str = "") -> int:
        """The command's exit code, minus the signal's number when one has ended it."""
        with self.running(point) as process:
            process.join(LONG)
            assert process.exitcode is not None, self.log
            return process.exitcode

    def facts(self) -> list[Fact]:
        """What the journal holds; raises when it is damaged."""
        path = self.directory / crash_child.JOURNAL
        return [fact for _offset, fact in read_facts(path)] if path.exists() else []

    def files(self) -> dict[str, bytes]:
        return {name: (self.directory / name).read_bytes() for name in DERIVED}

    @property
    def journal_size(self) -> int:
        path = self.directory / crash_child.JOURNAL
        return path.stat().st_size if path.exists() else 0

    @property
    def _log(self) -> Path:
        return self.directory.with_suffix(".log")

    @property
    def log(self) -> str:
        return self._log.read_text()


Undisturbed = Callable[[int], dict[str, bytes]]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    FORKS.set_forkserver_preload(list(PRELOADED))
    with ServerProcess() as process:
        yield process


@pytest.fixture(scope="module")
def undisturbed(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The files of a run of n rows that nothing happened to, one request at a time."""
    made: dict[int, dict[str, bytes]] = {}

    def files(n: int) -> dict[str, bytes]:
        if n not in made:
            server.reset(REPLIES)
            directory = tmp_path_factory.mktemp("undisturbed") / "run"
            run = Run(directory, server.base_url, n, concurrency=1)
            subprocess.run(
                [sys.executable, "-m", "selfinstruct", *run.command, "--quiet"],
                cwd=ROOT,
                check=True,
                timeout=LONG,
            )
            made[n] = run.files()
            assert made[n]["alpaca.en.jsonl"].count(b"\n") == n
        return made[n]

    return files


@pytest.fixture
def run(server: ServerProcess, tmp_path: Path) -> Run:
    """A run to be, and a server that has sold nothing yet."""
    server.reset(REPLIES)
    return Run(tmp_path / "run", server.base_url)


def poll(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(POLL)


# ── the audit ────────────────────────────────────────────────────────────────────────────────


def lost_between(before: list[Fact], after: list[Fact]) -> list[str]:
    """The prompts sent, or about to be, by the process that wrote `after`, and never answered."""
    open_intents: dict[tuple[int, int], str] = {}
    for fact in after[len(before) :]:
        if fact["type"] == "intent":
            open_intents[fact["k"], fact["attempt"]] = fact["prompt"]
        elif fact["type"] in ("reply", "failure"):
            del open_intents[fact["k"], fact["attempt"]]
    return list(open_intents.values())


def replies_of(facts: list[Fact]) -> Counter[str]:
    """Journaled replies by prompt."""
    prompts = {fact["k"]: fact["prompt"] for fact in facts if fact["type"] == "intent"}
    assert len(set(prompts.values())) == len(prompts)
    return Counter(prompts[fact["k"]] for fact in facts if fact["type"] == "reply")


def audit(server: ServerProcess, killed: list[list[Fact]], run: Run) -> int:
    """Check the journal and the ledger against each other; how many sales were repetitions.

    killed: the journal after each kill, in order. A kill costs at most the requests whose intent
    it left without a reply, never more than the concurrency; a reply on disk is never bought
    again. The ledger calls a prompt by its whole SHA-256, the journal by the first half.
    """
    lost: Counter[str] = Counter()
    end, before = run.facts(), list[Fact]()
    for facts in killed:
        assert facts[: len(before)] == before
        gone = lost_between(before, facts)
        assert len(gone) <= run.concurrency
        lost.update(gone)
        before = facts
    assert end[: len(before)] == before
    assert not lost_between(before, end)
    replies = replies_of(end)
    intents = Counter(fact["prompt"] for fact in end if fact["type"] == "intent")
    assert set(replies.values()) == {1}
    prompts = server.wait(idle=True, timeout=LONG).prompts
    assert replies.keys() <= {name[:32] for name in prompts}
    for name, count in prompts.items():
        digest = name[:32]
        assert count.requests <= intents[digest]
        assert replies[digest] <= count.sold <= replies[digest] + lost[digest]
    repeated = sum(count.sold - 1 for count in prompts.values() if count.sold)
    assert repeated <= lost.total()
    return repeated


def assert_done(run: Run, files: dict[str, bytes]) -> None:
    """The directory holds these bytes, agrees with its journal, and nothing temporary is left."""
    assert run.files() == files
    assert verify(run.directory) == []
    left = {path.name for path in run.directory.iterdir()} - {"journal.tail"}
    assert left == {*DERIVED, MANIFEST, crash_child.JOURNAL, ".lock"}


# ── named points ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_point(
    point: str, undisturbed: Undisturbed, run: Run, server: ServerProcess
) -> None:
    files = undisturbed(run.n)
    server.reset()
    assert run.until_end(point) == -signal.SIGKILL, run.log
    killed = run.facts()
    assert run.until_end() == 0, run.log
    assert_done(run, files)
    audit(server, [killed], run)


@pytest.mark.parametrize(
    "point",
    [
        "before:truncate/journal.jsonl:1",
        "after:truncate/journal.jsonl:1",
        "before:fsync/journal.jsonl:1",
        "after:fsync/journal.jsonl:1",
    ],
)
def test_killed_again_while_recovering(
    point: str, undisturbed: Undisturbed, run: Run, server: ServerProcess
) -> None:
    files = undisturbed(run.n)
    server.reset()
    assert run.until_end("half:write/reply:5") == -signal.SIGKILL
    killed = [run.facts()]
    assert run.until_end(point) == -signal.SIGKILL
    killed.append(run.facts())
    assert killed[1] == killed[0]
    assert run.until_end() == 0, run.log
    assert_done(run, files)
    audit(server, killed, run)
    # The process that moves the tail away says so, unless that is when it dies.
    assert ("half-written" in run.log) == point.startswith("before:truncate")
    tail = (run.directory / "journal.tail").read_bytes()
    assert tail.startswith(b'{"seq":')
    assert len(set(tail.splitlines())) == 1


def test_killed_after_every_reply(
    undisturbed: Undisturbed, run: Run, server: ServerProcess
) -> None:
    run = replace(run, n=20, concurrency=2)
    files = undisturbed(run.n)
    server.reset()
    killed: list[list[Fact]] = []
    while run.until_end("after:write/reply:1") != 0:
        killed.append(run.facts())
        assert replies_of(killed[-1]).total() == len(killed)
    assert_done(run, files)
    assert len(killed) >= 5
    assert audit(server, killed, run) <= len(killed)


@pytest.mark.parametrize(
    "point",
    ["power-cut:write/reply:12", "power-cut:write/session:1", "power-cut:rename/manifest.json:1"],
)
def test_power_cut(point: str, undisturbed: Undisturbed, run: Run, server: ServerProcess) -> None:
    files = undisturbed(run.n)
    server.reset()
    assert run.until_end(point) == -signal.SIGKILL
    kept = replies_of(run.facts())
    sold = server.wait(idle=True, timeout=LONG).sold
    assert run.until_end() == 0, run.log
    assert_done(run, files)
    ledger = server.wait(idle=True, timeout=LONG)
    counts = {name[:32]: count for name, count in ledger.prompts.items()}
    assert all(counts[digest].requests == 1 for digest in kept)
    if "rename" in point:
        assert ledger.sold == sold == kept.total()


# ── random kills ─────────────────────────────────────────────────────────────────────────────


def next_trigger(rng: random.Random, run: Run, server: ServerProcess) -> Callable[[], object]:
    """Something to call that returns somewhere in the next few requests of a run."""
    # Half of the time what the last process had sent is out of the way, else it counts too.
    ledger = server.wait(idle=rng.random() < 0.5, timeout=LONG)
    size, step = run.journal_size, rng.randint(1, 8)
    more = rng.randrange(16_000 + 500 * run.concurrency)
    lock = run.directory / ".lock"
    holder = lock.read_bytes() if lock.exists() else b""
    return rng.choice(
        [
            lambda: poll(lambda: lock.exists() and lock.read_bytes() not in (b"", holder)),
            lambda: server.wait(requests=ledger.requests + step, timeout=LONG),
            lambda: server.wait(sold=ledger.sold + step, timeout=LONG),
            lambda: poll(lambda: run.journal_size > size + more),
            lambda: poll(lambda: run.journal_size > size + more),
        ]
    )


@pytest.mark.parametrize(("concurrency", "kills"), [(8, 50), (64, 15)])
def test_random_kills(
    concurrency: int, kills: int, undisturbed: Undisturbed, run: Run, server: ServerProcess
) -> None:
    """One run; whatever a killed process had sent is still served and sold."""
    run = replace(run, n=600, concurrency=concurrency)
    files = undisturbed(run.n)
    server.reset(replace(REPLIES, latency=0.06, slots=concurrency // 2))
    rng = random.Random(concurrency)
    killed: list[list[Fact]] = []
    for _ in range(kills):
        wait_until_due = next_trigger(rng, run, server)
        with run.running() as process:
            wait_until_due()
            assert process.exitcode is None, run.log
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
        killed.append(run.facts())
    server.use(REPLIES)
    assert run.until_end() == 0, run.log
    assert_done(run, files)
    repeated = audit(server, killed, run)
    assert 0 < repeated <= kills * concurrency
    assert 0 < replies_of(killed[-1]).total() < replies_of(run.facts()).total()
    assert server.ledger().peak_in_flight >= concurrency


# ── publishing ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wanted", [30, 60])
def test_killed_between_the_renames_of_a_grown_run(
    wanted: int, undisturbed: Undisturbed, run: Run, server: ServerProcess
) -> None:
    """Old and new files lie side by side; the command for either size puts them right."""
    before, files = undisturbed(30), undisturbed(wanted)
    grown = undisturbed(60)
    server.reset()
    assert replace(run, n=30).until_end() == 0
    assert run.until_end("before:rename/records.jsonl:1") == -signal.SIGKILL
    mixed = run.files()
    assert mixed["alpaca.en.jsonl"] == grown["alpaca.en.jsonl"]
    assert mixed["records.jsonl"] == before["records.jsonl"]
    assert verify(run.directory)
    requests = server.wait(idle=True).requests
    assert replace(run, n=wanted).until_end() == 0, run.log
    assert_done(run, files)
    assert server.ledger().requests == requests


@pytest.mark.parametrize(
    ("concurrency", "deleted"),
    [
        (1, (*DERIVED, MANIFEST)),
        (8, (*DERIVED, MANIFEST)),
        (64, (*DERIVED, MANIFEST)),
        (8, (MANIFEST,)),
        (1, ("records.jsonl",)),
    ],
)
def test_deleted_files_come_back_for_nothing(
    concurrency: int,
    deleted: tuple[str, ...],
    undisturbed: Undisturbed,
    run: Run,
    server: ServerProcess,
) -> None:
    run = replace(run, concurrency=concurrency)
    files = undisturbed(run.n)
    assert run.until_end() == 0, run.log
    for name in deleted:
        (run.directory / name).unlink()
    server.reset()
    assert run.until_end() == 0, run.log
    assert_done(run, files)
    assert server.ledger().requests == 0


# ── the lock ─────────────────────────────────────────────────────────────────────────────────


def test_a_kill_frees_the_lock(undisturbed: Undisturbed, run: Run, server: ServerProcess) -> None:
    """A second command is refused; who waits for the lock itself gets it with the kill."""
    files = undisturbed(run.n)
    server.reset(replace(REPLIES, latency=FOREVER))
    lock = run.directory / ".lock"
    got = threading.Event()
    with run.running() as holder:
        server.wait(in_flight=run.concurrency, timeout=LONG)
        pid = holder.pid
        assert run.until_end() == 2
        assert f"process {pid}" in run.log
        assert lock.read_text() == f"{pid}\n"

        def wait_for_lock() -> None:
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                got.set()

        waiter = threading.Thread(target=wait_for_lock, daemon=True)
        waiter.start()
        assert not got.is_set()
        holder.kill()
        holder.join()
        waiter.join(LONG)
    assert got.is_set()
    killed = run.facts()
    assert len(lost_between([], killed)) == run.concurrency
    server.reset(REPLIES)
    assert run.until_end() == 0, run.log
    assert_done(run, files)
    # Of the requests before the reset the new ledger knows nothing: each is bought once.
    assert audit(server, [killed], run) == 0


# ── signals ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def command(run: Run) -> Iterator[subprocess.Popen[str]]:
    """The command as a shell would start it, stderr in a pipe."""
    arguments = [sys.executable, "-m", "selfinstruct", *run.command]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_keeps_what_is_paid_for(
    number: signal.Signals, undisturbed: Undisturbed, run: Run, server: ServerProcess
) -> None:
    files = undisturbed(run.n)
    server.reset(replace(REPLIES, latency=1.0))
    with command(run) as process:
        server.wait(in_flight=run.concurrency, timeout=LONG)
        process.send_signal(number)
        assert process.wait(LONG) == 128 + number
    ledger = server.wait(idle=True)
    assert ledger.requests == ledger.sold == replies_of(run.facts()).total()
    assert verify(run.directory) == []
    server.use(REPLIES)
    assert run.until_end() == 0, run.log
    assert_done(run, files)
    assert audit(server, [], run) == 0


def test_a_signal_when_nobody_reads_stderr_any_more(
    undisturbed: Undisturbed, run: Run, server: ServerProcess
) -> None:
    """`… 2>&1 | tee log`: the same Ctrl-C ends the tee."""
    files = undisturbed(run.n)
    server.reset(replace(REPLIES, latency=1.0))
    with command(run) as process:
        server.wait(in_flight=run.concurrency, timeout=LONG)
        assert process.stderr is not None
        process.stderr.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG) == 130
    ledger = server.wait(idle=True)
    assert ledger.requests == ledger.sold == replies_of(run.facts()).total()
    assert verify(run.directory) == []
    server.use(REPLIES)
    assert run.until_end() == 0, run.log
    assert_done(run, files)


def test_a_second_interrupt_leaves_at_once(
    undisturbed: Undisturbed, run: Run, server: ServerProcess
) -> None:
    files = undisturbed(run.n)
    server.reset(replace(REPLIES, latency=FOREVER))
    with command(run) as process:
        server.wait(in_flight=run.concurrency, timeout=LONG)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any("waiting for 8 paid replies" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG) == 130
    interrupted = run.facts()
    assert len(lost_between([], interrupted)) == run.concurrency
    assert verify(run.directory) == []
    server.reset(REPLIES)
    assert run.until_end() == 0, run.log
    assert_done(run, files)
    assert audit(server, [interrupted], run) == 0


@pytest.mark.parametrize(
    "point",
    [
        "SIGINT:write/run:1",
        "SIGINT:write/intent:1",
        "SIGINT:write/reply:3",
        "SIGINT:fsync/.alpaca.en.jsonl.tmp:1",
        "SIGINT:rename/records.jsonl:1",
    ],
)
def test_interrupted_at_a_named_point(
    point: str, undisturbed: Undisturbed, run: Run, server: ServerProcess
) -> None:
    files = undisturbed(run.n)
    server.reset()
    assert run.until_end(point) == 130, run.log
    assert "Traceback" not in run.log
    assert not lost_between([], run.facts())
    assert run.until_end() == 0, run.log
    assert_done(run, files)
    assert audit(server, [], run) == 0


def test_an_interrupt_before_the_first_request_buys_nothing(
    run: Run, server: ServerProcess
) -> None:
    assert run.until_end("SIGINT:write/target:1") == 130, run.log
    assert server.wait(idle=True).requests == 0
