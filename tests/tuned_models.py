"""Models that were really trained, in seconds: each says a few sentences, whatever it is asked.

Leaves: a base, rows and the folder that `train` wrote, under one directory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfinstruct.train.presets import get_preset
from selfinstruct.train.running import train
from selfinstruct.train.settings import Settings
from tests.cli import environment
from tests.tiny_models import make_base

# Two threads of a toy model mostly wait for each other.
ENV = environment(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", SELFINSTRUCT_DEBUG="")


@dataclass(frozen=True)
class Tuned:
    base: Path
    rows: Path
    model: Path


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), "utf-8")
    return path


def make_tuned(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    *,
    steps: int,
    merge: bool = False,
    chat: str = "",
    **preset: Any,
) -> Tuned:
    """Train a tiny LLaMA on the rows, a quarter of them held out. chat: its tokenizer's own
    template."""
    import torch

    made = Tuned(
        make_base(folder / "base", bos=True, chat=chat),
        write_rows(folder / "rows.jsonl", rows),
        folder / "tuned",
    )
    chosen = get_preset("default").changed(**{"max_tokens": 160, "batch": 4, **preset})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        settings = Settings(
            str(made.rows), str(made.base), made.model, chosen,
            validation=0.25, steps=steps, save_every=steps, merge=merge,
        )  # fmt: skip
        train(settings, lambda _line: None, lambda _prepared: None)
    finally:
        torch.set_num_threads(threads)
    return made
