"""How close `selfinstruct generate` comes to a bare aiohttp loop, and how far others stay below it.

All send the same prompts to the same slot-limited server with a long tail of latencies, one after
the other in this run, each in a process of its own. Ours journals, parses, filters and judges; the
others read bodies and throw them away. Rates are the server's own: answers sold, from the first
request to the last answer.

    python -m benchmarks.generate [--width 64 256]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from selfinstruct.config import Config
from selfinstruct.plan import Plan
from tests.scripted_server import Script, ServerProcess

ROOT = Path(__file__).resolve().parent.parent
MODEL = "scripted-model"
BATCH = 50
# The slow ones get a part of the requests: their rate is what is asked, not their patience.
SHARES = {"bare": 1.0, "sdk": 0.5, "gather": 0.3}
NAMES = {
    "bare": "bare aiohttp loop",
    "sdk": "openai SDK, default client",
    "gather": f"asyncio.gather of {BATCH}",
}


@dataclass(frozen=True)
class Result:
    """requests: answers sold. seconds: first request to last answer. cpu: client's seconds."""

    requests: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def line(self, name: str, reference: Result) -> str:
        """A row of the table."""
        return (
            f"  {name:28} {self.requests:6} requests {self.seconds:7.1f} s {self.rate:7.1f} "
            f"requests/s {1000 * self.cpu / self.requests:6.2f} ms CPU each   "
            f"{self.rate / reference.rate:.3f} of the bare loop"
        )


@dataclass(frozen=True)
class Latency:
    """Seconds, give or take a share of them; a part of the answers takes `factor` times as long."""

    seconds: float
    jitter: float = 0.5
    tail: float = 0.0
    factor: float = 1.0

    def __str__(self) -> str:
        long = f", {self.tail:.0%} at {self.factor:g} times that" if self.tail else ""
        return f"{self.seconds:g} s ± {self.jitter:.0%}{long}"


LONG_TAIL = Latency(0.5, tail=0.02, factor=10.0)
FAST = Latency(0.2)


def script(width: int, latency: Latency) -> Script:
    """As many slots as the client is wide."""
    return Script(
        slots=width,
        tasks_per_reply=(3, 7),
        duplicate_share=0.05,
        bad_share=0.05,
        latency=latency.seconds,
        jitter=latency.jitter,
        tail_share=latency.tail,
        tail_factor=latency.factor,
    )


async def bare_loop(base_url: str, bodies: Sequence[bytes], width: int) -> None:
    """`width` workers that take the next body as soon as they are free."""
    queue = iter(bodies)
    async with _session(width) as session:

        async def worker() -> None:
            for body in queue:
                await _post(session, base_url, body)

        await asyncio.gather(*(worker() for _ in range(width)))


async def in_batches(base_url: str, bodies: Sequence[bytes], width: int) -> None:
    """Batches of 50, side by side up to the width: each waits for its slowest."""
    queue = iter([bodies[start : start + BATCH] for start in range(0, len(bodies), BATCH)])
    async with _session(width) as session:

        async def worker() -> None:
            for batch in queue:
                await asyncio.gather(*(_post(session, base_url, body) for body in batch))

        await asyncio.gather(*(worker() for _ in range(max(1, width // BATCH))))


async def with_sdk(base_url: str, bodies: Sequence[bytes], width: int) -> None:
    """The SDK as it comes, without its retries."""
    from openai import AsyncOpenAI

    queue = iter(bodies)
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:

        async def worker() -> None:
            for body in queue:
                fields: dict[str, Any] = json.loads(body)
                await client.completions.create(**fields)

        await asyncio.gather(*(worker() for _ in range(width)))


def _session(width: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=width)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600))


async def _post(session: aiohttp.ClientSession, base_url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{base_url}/completions", data=body, headers=headers) as response:
        await response.read()


CLIENTS = {"bare": bare_loop, "sdk": with_sdk, "gather": in_batches}


def measured(server: ServerProcess, module: str) -> Result:
    """Run `python -m MODULE …` in a process of its own and read the server's ledger."""
    command = [sys.executable, "-m", *module.split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{module} ended with {done.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ledger = server.wait(idle=True)
    entries = [entry for entry in server.entries() if entry.status == 200]
    begun = min(entry.started for entry in entries)
    seconds = max(entry.ended or begun for entry in entries) - begun
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Result(ledger.sold, seconds, cpu)


def write_bodies(path: Path, rows: int, requests: int) -> None:
    """The bodies of a run's first requests, one a line."""
    config = Config(n=rows, base_url=("http://localhost/v1",), model=(MODEL,))
    track = Plan.of(config).tracks[0]
    with path.open("w") as file:
        for request in range(requests):
            prompt = track.prompt(request)
            body = {"model": MODEL, "prompt": prompt.text, "max_tokens": config.max_tokens}
            body |= {"stop": list(prompt.stop), "seed": prompt.seed}
            file.write(json.dumps(body) + "\n")


def compare(width: int, rows: int, latency: Latency, clients: Sequence[str]) -> None:
    """Print a table for one width."""
    with tempfile.TemporaryDirectory() as folder, ServerProcess(script(width, latency)) as server:
        run = str(Path(folder) / "run")
        ours = measured(
            server,
            f"selfinstruct generate --n {rows} --out {run} --base-url {server.base_url} "
            f"--model {MODEL} --api completions --concurrency {width} --quiet",
        )
        manifest = json.loads((Path(run) / "manifest.json").read_text())
        bodies = Path(folder) / "bodies.jsonl"
        results: dict[str, Result] = {}
        for client in clients:
            write_bodies(bodies, rows, round(ours.requests * SHARES[client]))
            server.reset(script(width, latency))
            results[client] = measured(
                server,
                f"benchmarks.generate --client {client} --base-url {server.base_url} "
                f"--bodies {bodies} --width {width}",
            )
    kept, candidates = manifest["kept"], manifest["candidates"]
    print(f"{width} in flight, {latency}; {kept} rows kept of {candidates} candidates")
    reference = results["bare"]
    print(reference.line(NAMES["bare"], reference))
    print(ours.line("selfinstruct generate", reference))
    for client in clients[1:]:
        print(results[client].line(NAMES[client], reference))
    paid, needed = ours.requests, manifest["requests"]["decided"]
    print(f"  selfinstruct paid for {paid} requests, {needed} were needed", flush=True)


def main() -> None:
    """Compare, or be one of the other clients' processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    parser.add_argument("--bodies", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        bodies = options.bodies.read_bytes().splitlines()
        asyncio.run(CLIENTS[options.client](options.base_url, bodies, options.width[0]))
        return
    begun = time.monotonic()
    for width in options.width:
        # About half a minute for a full pipe of this width.
        compare(width, 190 * width, LONG_TAIL, ["bare", "sdk", "gather"])
    compare(256, 40_000, FAST, ["bare"])
    print(f"({time.monotonic() - begun:.0f} s in all)")


if __name__ == "__main__":
    main()
