"""`--metrics-port`: what Prometheus sees of a run, while it runs and at its end."""

from __future__ import annotations

import asyncio
import http.client
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from selfinstruct.config import make_config
from selfinstruct.errors import UsageError
from selfinstruct.metrics import HOST, Metrics, families
from selfinstruct.pipeline import generate as make
from selfinstruct.plan import Plan
from selfinstruct.progress import EndpointProgress, Progress
from selfinstruct.routes import Endpoint
from tests.cli import KEY, asked, environment, finish, generate, manifest, running
from tests.scripted_server import ROOT, Script, ServerProcess

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]
QUERY = "token-canary-42"


def numbers(text: str) -> Numbers:
    """Every sample, read by Prometheus's own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()
    finally:
        connection.close()


def value(found: Numbers, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


class Deaf:
    """A watcher that keeps the notices."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def watch(self, look: Any) -> None: ...

    def decided(self) -> None: ...


def test_a_run_is_seen_while_it_runs(tmp_path: Path) -> None:
    """Four requests have been sold; the fifth and later ones are held by one slot and latency."""
    port, out = free_port(), tmp_path / "run"
    script = Script(fault_plan=("ok", "500"), latency=0.2, slots=1)
    with ServerProcess(script) as server:
        url = f"{server.base_url}?key={QUERY}"
        command = asked(server, out, "--base-url", url, "--metrics-port", str(port), n=40)
        command += ["--price-in", "1", "--price-out", "2", "--max-cost", "5"]
        with running(*command, env=environment(OPENAI_API_KEY=KEY)) as process:
            server.wait(sold=4, in_flight=2)
            text = scrape(port)
            ledger = server.ledger()
            found = numbers(text)
            who = {"endpoint": server.base_url, "model": "asked-model"}
            assert value(found, "selfinstruct_rows_wanted", lang="en") == 40
            assert 0 < value(found, "selfinstruct_requests_in_flight", **who) <= 4
            assert value(found, "selfinstruct_requests_in_flight_limit", **who) == 4
            assert 2 <= value(found, "selfinstruct_requests_paid_total", **who) <= ledger.sold
            sent = value(found, "selfinstruct_requests_sent_total", **who)
            assert sent <= ledger.requests
            assert value(found, "selfinstruct_requests_failed_total", **who) == 1
            assert value(found, "selfinstruct_endpoint_state", **who, state="up") == 1
            assert value(found, "selfinstruct_endpoint_state", **who, state="ejected") == 0
            assert value(found, "selfinstruct_budget_usd") == 5
            assert 0 < value(found, "selfinstruct_cost_usd") < 5
            assert value(found, "selfinstruct_elapsed_seconds") > 0
            assert KEY not in text
            assert QUERY not in text
            # Nobody else on the network, and not even this machine's other addresses.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", port), timeout=5).close()
            done = finish(process)
    assert done.code == 0
    assert f"metrics at http://{HOST}:{port}/metrics" in done.err
    with pytest.raises(ConnectionRefusedError):
        scrape(port)


def test_the_last_values_are_the_manifests(tmp_path: Path) -> None:
    script = Script(tasks_per_reply=(2, 6), bad_share=0.2, duplicate_share=0.2, cached_share=0.5)
    with ServerProcess(script) as server:
        flags = {
            "n": 40, "base_url": server.base_url, "model": "asked-model", "concurrency": 4,
            "price_in": 1.0, "price_out": 2.0,
        }  # fmt: skip
        plan = Plan.of(make_config(flags, environment={}))
        watcher = Deaf()

        def connect(stack: ExitStack) -> list[Endpoint]:
            return [Endpoint(server.base_url, "", "asked-model")]

        with Metrics(watcher, 0) as metrics:
            assert watcher.notices == [f"metrics at {metrics.url}"]
            port = int(metrics.url.split(":")[2].split("/")[0])
            assert port > 0
            before = numbers(scrape(port))
            asyncio.run(make(plan, tmp_path / "run", connect, metrics))
            text = scrape(port)
    assert value(before, "selfinstruct_candidates_total") == 0
    found, stated = numbers(text), manifest(tmp_path / "run")
    assert value(found, "selfinstruct_rows_kept", lang="en") == stated["kept"] == 40
    assert value(found, "selfinstruct_candidates_total") == stated["candidates"]
    rejected = {
        dict(labels)["reason"]: count
        for (name, labels), count in found.items()
        if name == "selfinstruct_rejected_total"
    }
    assert rejected == stated["rejected"]
    assert len(rejected) > 1
    who = {"endpoint": server.base_url, "model": "asked-model"}
    for kind in ("sent", "paid", "failed"):
        count = value(found, f"selfinstruct_requests_{kind}_total", **who)
        assert count == stated["requests"][kind], kind
    for kind in ("prompt", "cached", "completion"):
        count = value(found, "selfinstruct_tokens_total", **who, kind=kind)
        assert count == stated["tokens"][kind], kind
    assert value(found, "selfinstruct_tokens_total", **who, kind="cached") > 0
    assert value(found, "selfinstruct_cost_usd") == stated["cost"]["usd"] > 0
    assert value(found, "selfinstruct_requests_in_flight", **who) == 0
    assert ("selfinstruct_budget_usd", frozenset()) not in found


def test_a_port_in_use_is_said_before_anything_is_bought(tmp_path: Path) -> None:
    with ServerProcess() as server, socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = generate(server, tmp_path / "run", "--metrics-port", port)
        assert done.code == 2
        assert f"--metrics-port: cannot listen on {HOST}:{port}" in done.complaint
        assert server.ledger().requests == 0
    assert not (tmp_path / "run").exists()


def test_the_port_is_free_again_afterwards() -> None:
    port = free_port()
    for _ in range(2):
        with Metrics(Deaf(), port):
            assert numbers(scrape(port))
    with Metrics(Deaf(), port), pytest.raises(UsageError, match="cannot listen"):
        Metrics(Deaf(), port).__enter__()


def test_resume_has_metrics_too_and_nobody_has_them_unasked(tmp_path: Path) -> None:
    with ServerProcess() as server:
        done = generate(server, tmp_path / "run", n=4)
        assert "metrics at" not in done.err
        with running("resume", tmp_path / "run", "--metrics-port", "0") as process:
            again = finish(process)
    assert again.code == 0
    assert f"metrics at http://{HOST}:" in again.err


def test_names_and_labels_that_hold_anything() -> None:
    """A model's name is the user's, a reason the recipe's: both are escaped as they must be."""
    odd = 'a "b"\\c\nd é'
    progress = Progress(
        languages={"en": (1, 2)},
        candidates=3,
        rejected=Counter({odd: 2}),
        endpoints=(EndpointProgress("", odd, sent=7, state="on trial"),),
    )

    class Once(CollectorRegistry):
        def collect(self) -> Any:
            return families(progress)

    found = numbers(generate_latest(Once()).decode())
    who: Mapping[str, str] = {"endpoint": "embedded", "model": odd}
    assert value(found, "selfinstruct_requests_sent_total", **who) == 7
    assert value(found, "selfinstruct_rejected_total", reason=odd) == 2
    assert value(found, "selfinstruct_endpoint_state", **who, state="on trial") == 1
    assert all(name.startswith("selfinstruct_") for name, _labels in found)


def test_help_does_not_load_the_client() -> None:
    program = (
        "import sys; sys.argv = ['selfinstruct', 'estimate', '--help']; import runpy\n"
        "try: runpy.run_module('selfinstruct', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'prometheus_client', 'openai', 'polars', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)
