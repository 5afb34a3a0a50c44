"""How close `selfinstruct generate` comes to a bare aiohttp loop of the same width.

Both send the same prompts to the same slot-limited server with a long tail of latencies, one after
the other in this run. Ours journals, parses, filters and judges; the loop reads bodies and throws
them away. Rates are the server's own: answers sold, from the first request to the last answer.

    python -m benchmarks.generate [--width 64] [--rows 12000]
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

import aiohttp

from selfinstruct.config import Config
from selfinstruct.plan import Plan
from tests.scripted_server import Script, ServerProcess

ROOT = Path(__file__).resolve().parent.parent
MODEL = "scripted-model"


@dataclass(frozen=True)
class Result:
    """requests: answers sold. seconds: first request to last answer. cpu: client's seconds."""

    requests: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def script(width: int) -> Script:
    """0.5 s ± 50 %, 2 % at ten times that; as many slots as the client is wide."""
    return Script(
        latency=0.5,
        jitter=0.5,
        tail_share=0.02,
        tail_factor=10.0,
        slots=width,
        tasks_per_reply=(3, 7),
        duplicate_share=0.05,
        bad_share=0.05,
    )


async def bare_loop(base_url: str, bodies: Sequence[bytes], width: int) -> None:
    """`width` workers that take the next body as soon as they are free."""
    queue = iter(bodies)
    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=width)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def worker() -> None:
            for body in queue:
                async with session.post(
                    f"{base_url}/completions", data=body, headers=headers
                ) as response:
                    await response.read()

        await asyncio.gather(*(worker() for _ in range(width)))


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


def compare(width: int, rows: int) -> float:
    """Print the comparison at one width; returns our share of the bare loop's rate."""
    with tempfile.TemporaryDirectory() as folder, ServerProcess(script(width)) as server:
        run = str(Path(folder) / "run")
        ours = measured(
            server,
            f"selfinstruct generate --n {rows} --out {run} --base-url {server.base_url} "
            f"--model {MODEL} --api completions --concurrency {width} --quiet",
        )
        manifest = json.loads((Path(run) / "manifest.json").read_text())
        bodies = Path(folder) / "bodies.jsonl"
        config = Config(n=rows, base_url=(server.base_url,), model=(MODEL,))
        plan = Plan.of(config)
        with bodies.open("w") as file:
            for request in range(ours.requests):
                prompt = plan.tracks[0].prompt(request)
                body = {"model": MODEL, "prompt": prompt.text, "max_tokens": config.max_tokens}
                body |= {"stop": list(prompt.stop), "seed": prompt.seed}
                file.write(json.dumps(body) + "\n")
        server.reset(script(width))
        loop = measured(
            server,
            f"benchmarks.generate --bare {server.base_url} --bodies {bodies} --width {width}",
        )
    share = ours.rate / loop.rate
    print(f"{width} in flight, {manifest['kept']} rows kept of {manifest['candidates']} candidates")
    for name, result in (("bare aiohttp loop", loop), ("selfinstruct generate", ours)):
        print(
            f"  {name:22} {result.requests:6} requests {result.seconds:7.1f} s "
            f"{result.rate:7.1f} requests/s {1000 * result.cpu / result.requests:6.2f} ms CPU each"
        )
    print(f"  share of the bare loop: {share:.3f} (target ≥ 0.95)")
    needed = manifest["requests"]["decided"]
    print(f"  requests paid: {ours.requests}, needed: {needed}")
    return share


def main() -> None:
    """Compare, or be the bare loop's process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rows", type=int, default=12000)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    parser.add_argument("--bodies", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bodies = options.bodies.read_bytes().splitlines()
        asyncio.run(bare_loop(options.bare, bodies, options.width))
        return
    begun = time.monotonic()
    compare(options.width, options.rows)
    print(f"  ({time.monotonic() - begun:.0f} s in all)")


if __name__ == "__main__":
    main()
