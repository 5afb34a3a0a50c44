"""A server that allows 600 requests a minute, and after a minute 1,200: how soon it is noticed.

A real run over a socket with `--concurrency auto`, ended by Ctrl-C. Without rate-limit headers, so
that the limit has to be found; `--headers` sends them.

    python -m benchmarks.throttled [--headers]
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import subprocess
import sys
import tempfile
import time

from tests.scripted_server import ROOT, Entry, Script, ServerProcess

CHANGE = 60.0
SECONDS = 120.0
BEFORE, AFTER = 600, 1200


def run(server: ServerProcess, script: Script) -> list[Entry]:
    """Generate for two minutes, with the limit raised after one; the server's ledger."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "selfinstruct", "generate", "--n", "1000000"]
        command += ["--out", f"{folder}/run", "--base-url", server.base_url, "--quiet"]
        command += ["--model", "m", "--api", "completions"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            server.wait(requests=1)
            begun = time.monotonic()
            time.sleep(begun + CHANGE - time.monotonic())
            server.use(dataclasses.replace(script, rpm=AFTER))
            time.sleep(begun + SECONDS - time.monotonic())
            process.send_signal(signal.SIGINT)
    return server.entries()


def main() -> None:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headers", action="store_true")
    script = Script(
        latency=0.5,
        jitter=0.5,
        rpm=BEFORE,
        rpm_burst=10,
        ratelimit_headers=parser.parse_args().headers,
    )
    with ServerProcess(script) as server:
        entries = run(server, script)
    begun = entries[0].started
    starts = [(entry.started - begun, entry.status == 200) for entry in entries]

    def rate(since: float, until: float) -> float:
        return sum(ok for at, ok in starts if since <= at < until) / (until - since)

    def refused(since: float, until: float) -> float:
        found = [ok for at, ok in starts if since <= at < until]
        return 1 - sum(found) / len(found)

    at = CHANGE
    while at + 5 < SECONDS and rate(at, at + 5) < 0.95 * AFTER / 60:
        at += 0.5
    allowed = (BEFORE / 60 * (CHANGE - 10) + AFTER / 60 * (SECONDS - CHANGE - 30)) / (SECONDS - 40)
    held = (rate(10, CHANGE) * (CHANGE - 10) + rate(90, SECONDS) * 30) / (SECONDS - 40)
    print(f"{BEFORE} a minute, then {AFTER}; headers: {script.ratelimit_headers}")
    print(
        f"  goodput, seconds 10 to 60:    {rate(10, CHANGE) * 60 / BEFORE:.1%} of what is allowed"
    )
    print(f"  goodput, seconds 90 to 120:   {rate(90, SECONDS) * 60 / AFTER:.1%}")
    print(f"  both together:                {held / allowed:.1%} (target ≥ 95 %)")
    print(f"  new limit found after:        {at - CHANGE:.1f} s (target ≤ 30 s)")
    print(f"  answered 429, first minute:   {refused(0, CHANGE):.2%}")
    print(f"  answered 429, second minute:  {refused(CHANGE, SECONDS):.2%} (target < 1 %)")


if __name__ == "__main__":
    main()
