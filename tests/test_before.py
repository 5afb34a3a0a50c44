"""Run directories of before there were endpoints, prices and cached tokens."""

from __future__ import annotations

import json
from pathlib import Path

from selfinstruct.journal import NAME, encode
from selfinstruct.verify import verify
from tests.cli import facts, generate, manifest, run
from tests.scripted_server import Script, ServerProcess


def age(out: Path) -> None:
    """Write journal and manifest as the version before would have."""
    old = [fact for fact in facts(out) if fact["type"] != "endpoint"]
    lines = []
    for number, fact in enumerate(old):
        kept = {k: v for k, v in fact.items() if k not in ("seq", "crc", "to", "most", "billed")}
        if fact["type"] == "run":
            later = {"structured", "choices", "batch_api", "rpm", "tpm", "max_cost"}
            later |= {"max_total_tokens", "price_in", "price_out"}
            kept["config"] = {k: v for k, v in fact["config"].items() if k not in later}
        lines.append(encode(number, kept))
    (out / NAME).write_bytes(b"".join(lines))
    stated = manifest(out)
    for field in ("cost", "endpoints", "tokens_per_kept_row"):
        del stated[field]
    del stated["tokens"]["cached"], stated["tokens"]["doubtful"]
    stated["journal_bytes"] = (out / NAME).stat().st_size
    (out / "manifest.json").write_text(json.dumps(stated))


def test_they_are_read_verified_and_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ServerProcess(Script(tasks_per_reply=(3, 7))) as server:
        assert generate(server, out, n=40).code == 0
        age(out)
        assert verify(out) == []
        paid = len(facts(out, "reply"))
        (taken,) = run("status", out, "--json").json["endpoints"]
        assert (taken["url"], taken["model"]) == (server.base_url, "asked-model")
        assert taken["paid"] == paid
        sold = server.ledger().sold
        assert generate(server, out, n=40).code == 0
        assert server.ledger().sold == sold
        assert generate(server, out, n=90).code == 0
        assert verify(out) == []
        (taken,) = run("status", out, "--json").json["endpoints"]
        assert taken["paid"] == server.ledger().sold
