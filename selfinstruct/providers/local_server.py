"""The embedded model's own process: `python -m selfinstruct.providers.local_server`.

Enters: one JSON line on stdin (`LocalServer` in local.py writes it). Leaves: a line on stdout, its
address; after that llama.cpp answers HTTP from its own threads until stdin ends. Does not
know: runs, prompts, or who asks; it only knows that it must not outlive its parent.

    stdin   {"model": "/…/x.gguf", "name": "x", "api_key": "…", "slots": 8, "slot_tokens": 2048,
             "parent_pid": 4242, "die_with_thread": true}
    stdout  http://127.0.0.1:40979
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
MAX_THREADS = 8  # a judgement, not a measurement: a step of 135M weights is too small to split far

# How often a libgomp thread looks before it sleeps at a barrier; its default is 300,000. Tokens/s
# of 8 requests on 2 cores, idle / beside one busy process: 300,000: 172 / 3; 30,000: 166 / 45;
# 3,000: 160 / 54; 300: not measured / 55; OMP_WAIT_POLICY=PASSIVE (0): 108 / 55.
SPIN_COUNT = "3000"


def read_config() -> dict[str, Any]:
    """The first line of stdin. An empty one means that the parent is gone already: exit."""
    line = bytearray()
    while not line.endswith(b"\n"):  # unbuffered: the rest of the pipe belongs to the watcher
        byte = os.read(0, 1)
        if not byte:
            os._exit(0)
        line += byte
    config: dict[str, Any] = json.loads(line)
    return config


def die_with_parent(parent_pid: int, die_with_thread: bool) -> None:
    """End this process when the parent ends, however it ends.

    Two ropes. A thread waits for the end of the stdin pipe: it works on every POSIX system, but the
    engine holds the interpreter while it loads (2.6 s, no thread ran). On Linux the
    kernel also sends SIGKILL, which nothing delays; it does so when the parent *thread* that
    started us ends, so the parent asks for it only from its main thread.
    """
    threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()
    if die_with_thread and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before the call above could tell us
            os._exit(0)


def _exit_at_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def accept_sigterm() -> None:
    """Let SIGTERM end the process in the kernel, at once and without destructors.

    Tearing the engine down with requests in flight can take a minute, and it holds nothing that
    would need saving. A Python handler would have to wait for the engine to return to Python.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def cores() -> int:
    """Cores that this process may use: its affinity, cut by a cgroup's CPU quota. At least 1."""
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no cgroup v2, or "max": no quota
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, int(quota) // int(period))
    return max(1, count)


def parameters(engine: Any, config: dict[str, Any]) -> Any:
    """llama.cpp's settings: loopback, a port that the OS chooses, our slots and key."""
    params = engine.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["api_key"]]
    params.n_parallel = config["slots"]
    params.n_ctx = config["slots"] * config["slot_tokens"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = min(cores(), MAX_THREADS)
    params.cache_ram_mib = 0  # else old prompts pile up in memory, 8 GiB by default
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    params.verbosity = 2  # warnings and errors; 3 writes several lines a request
    return params


def main() -> None:
    """Serve until the parent goes. Raises whatever the engine raises; stderr carries it home."""
    accept_sigterm()
    config = read_config()
    die_with_parent(config["parent_pid"], config["die_with_thread"])
    ready = os.dup(1)
    os.dup2(2, 1)  # the engine's own prints go to the log, not into the ready line
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read when the library is loaded
    import xllamacpp  # here: not before the ropes are tied and the variable is set

    server = xllamacpp.Server(parameters(xllamacpp, config))
    os.write(ready, f"{server.listening_address}\n".encode())
    os.close(ready)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
