"""Everything that is decided before a model is loaded: rows, ids, steps.

Enters: Settings and how many devices there are. Leaves: Prepared, and the lines that say what is
about to happen.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfinstruct.errors import UsageError
from selfinstruct.train.bases import base_path, check_length, is_gguf, load_tokenizer
from selfinstruct.train.checks import make_encoder
from selfinstruct.train.encode import Dropped, EncodedRow, Encoder, Encoding
from selfinstruct.train.presets import Layout, layout
from selfinstruct.train.schedule import Item, steps_of
from selfinstruct.train.settings import Settings
from selfinstruct.train.sources import digest, read_source, split

# Architectures whose attention keeps packed rows apart by their positions: each is tested so.
PACKING = frozenset({"llama", "mistral", "qwen2", "qwen3"})


@dataclass(frozen=True, slots=True)
class Prepared:
    """base: its absolute path. rows: encoded, to train on. held_out: by language. steps: the items
    of each. pack: whether an item may hold several rows."""

    base: str
    encoder: Encoder
    rows: Encoding
    held_out: dict[str, list[EncodedRow]]
    steps: list[list[Item]]
    pack: bool
    layout: Layout
    dropped: list[Dropped]
    fingerprint: dict[str, Any]
    notices: list[str]

    @property
    def step_tokens(self) -> list[int]:
        """Tokens of the rows of each step."""
        lengths = [len(row) for row in self.rows.rows]
        return [sum(lengths[row] for item in step for row in item) for step in self.steps]

    def figures(self) -> dict[str, Any]:
        """What the run starts by saying."""
        return {
            "rows": len(self.rows.rows),
            "tokens": self.rows.tokens,
            "supervised_tokens": self.rows.supervised,
            "dropped": dict(self.rows.reasons),
            "cut": self.rows.cut,
            "held_out": {lang: len(rows) for lang, rows in sorted(self.held_out.items())},
            "steps": len(self.steps),
            "items": sum(map(len, self.steps)),
            "packed": self.pack,
        }


def prepare(settings: Settings, devices: int) -> Prepared:
    """Raises UsageError for whatever cannot be trained rightly."""
    preset = settings.preset
    base = base_path(settings.base)
    check_length(base, preset.max_tokens)
    tokenizer = load_tokenizer(base)
    encoder, notices = make_encoder(
        tokenizer, preset.template, preset.max_tokens, settings.train_on
    )
    source = read_source(settings.source, settings.langs)
    training, apart = split(source, settings.validation)
    rows = encoder.encode(training, skip_empty=settings.skip_empty)
    held = encoder.encode(apart, skip_empty=settings.skip_empty)
    if not rows.rows:
        raise UsageError(f"{settings.source}: no row is left to train on {_why(rows)}")
    pack = _packs(base) if settings.pack is None else settings.pack
    steps = steps_of(
        [len(row) for row in rows.rows],
        batch=preset.batch,
        epochs=preset.epochs,
        seed=settings.seed,
        pack_to=preset.max_tokens if pack else None,
        steps=settings.steps,
    )
    return Prepared(
        base=base,
        encoder=encoder,
        rows=rows,
        held_out=_by_language(held.rows),
        steps=steps,
        pack=pack,
        layout=layout(max(map(len, steps)), devices, settings.device_batch),
        dropped=[*rows.dropped, *held.dropped],
        fingerprint=settings.fingerprint(base, encoder.template.name, digest(source), pack),
        notices=[*notices, *_unknown_notice(rows)],
    )


def opening_lines(prepared: Prepared, settings: Settings) -> list[str]:
    """What is about to happen, in figures."""
    rows, spread, preset = prepared.rows, prepared.layout, settings.preset
    held = sum(map(len, prepared.held_out.values()))
    lines = [
        f"{len(rows.rows):,} rows, {rows.tokens:,} tokens, {rows.supervised:,} of them trained; "
        f"{held:,} rows held out",
        f"template {prepared.encoder.template.name}, method {preset.method}, preset {preset.name}",
        f"{len(prepared.steps):,} steps of {preset.batch} rows: {spread.devices} device"
        f"{'s' if spread.devices > 1 else ''} × {spread.device_batch} × {spread.accumulation}, "
        + (f"packed to {preset.max_tokens} tokens" if prepared.pack else "padded"),
    ]
    if rows.dropped or rows.cut:
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in rows.reasons.items())
        lines.insert(1, f"dropped: {dropped or 'none'}; {rows.cut:,} answers cut, without EOS")
    return [*lines, *(f"note: {notice}" for notice in prepared.notices)]


def _packs(base: str) -> bool:
    """Whether rows are packed unless the user says: where it is known to change nothing."""
    if is_gguf(base):
        return True
    config = json.loads((Path(base) / "config.json").read_bytes())
    return config.get("model_type") in PACKING


def _by_language(rows: Sequence[EncodedRow]) -> dict[str, list[EncodedRow]]:
    found: dict[str, list[EncodedRow]] = defaultdict(list)
    for row in rows:
        found[row.lang or "rows"].append(row)
    return dict(found)


def _why(rows: Encoding) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in rows.reasons.items())
    return f"({reasons})" if reasons else "(all are held out)"


def _unknown_notice(rows: Encoding) -> list[str]:
    if not rows.unknown:
        return []
    return [
        f"{rows.unknown:,} trained tokens are <unk>: the base's vocabulary has nothing for them"
    ]
