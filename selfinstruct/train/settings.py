"""What a training is asked to be: the command's options after they have been looked at.

Pure. Leaves: Settings, and of them the part that must be the same to go on with a training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from selfinstruct.errors import UsageError
from selfinstruct.train.presets import Preset, get_preset
from selfinstruct.train.templates import TrainOn

# Rows that a device takes at once unless the user says otherwise.
DEVICE_BATCH = 4
TRAIN_ON: tuple[TrainOn, ...] = ("all", "last")


@dataclass(frozen=True, slots=True)
class Settings:
    """source: a run directory or a file. langs: of these languages only, () for all.
    pack: whether rows share items; None where the base is known to keep them apart.
    validation: the share of rows held out. steps: instead of the preset's epochs.
    save_every: steps between checkpoints, None for a tenth of all. recompute: activations are
    computed twice instead of being kept. command: what the user typed, for the model card.
    """

    source: str
    base: str
    out: Path
    preset: Preset = field(default_factory=lambda: get_preset("default"))
    langs: tuple[str, ...] = ()
    train_on: TrainOn = "all"
    pack: bool | None = None
    validation: float = 0.02
    seed: int = 0
    device_batch: int = DEVICE_BATCH
    steps: int | None = None
    save_every: int | None = None
    recompute: bool = False
    merge: bool = False
    resume: bool = False
    skip_empty: bool = False
    tensorboard: bool = False
    dry_run: bool = False
    show: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise UsageError("--validation must be at least 0 and less than 1")
        if self.train_on not in TRAIN_ON:
            raise UsageError(f"--train-on must be {' or '.join(TRAIN_ON)}")
        if not 0 <= self.seed < 2**32:
            raise UsageError("--seed must be at least 0 and less than 2^32")
        for name in ("device_batch", "steps", "save_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1")

    def fingerprint(self, base: str, template: str, rows: str, pack: bool) -> dict[str, Any]:
        """What makes a training the one that it is: another value of any of these is another
        training. How many devices there are, and what each takes at once, is not among them."""
        preset = {k: v for k, v in asdict(self.preset).items() if k not in ("name", "source")}
        own = {"train_on": self.train_on, "validation": self.validation, "seed": self.seed}
        return {
            **preset, **own, "steps": self.steps, "base": base, "template": template,
            "pack": pack, "rows": rows,
        }  # fmt: skip


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """The names of what is not the same in two fingerprints."""
    return [name for name in asked if stored.get(name) != asked[name]]
