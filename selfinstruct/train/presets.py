"""Published recipes of fine-tuning, with their sources, and how one is laid out on the devices.

Pure: knows no model, no rows. A preset says what a step is, never how many devices there are: the
rows of one step stay the same and accumulation fills what the devices do not take at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from selfinstruct.errors import UsageError

Method = Literal["lora", "full", "qlora"]
METHODS: tuple[Method, ...] = ("lora", "full", "qlora")


@dataclass(frozen=True, slots=True)
class Preset:
    """How to train.

    source: who published these values; what is not theirs is said. template: "" for the base's own,
    else Alpaca's. max_tokens: of a row, prompt and answer together. batch: rows of one step, over
    all devices. warmup: share of the steps. lora_*: rank, alpha and dropout of the adapters.
    embeddings: whether embeddings and head are trained whole beside the adapters.
    """

    name: str
    source: str
    method: Method = "lora"
    template: str = ""
    max_tokens: int = 512
    batch: int = 128
    learning_rate: float = 3e-4
    epochs: float = 3.0
    warmup: float = 0.03
    weight_decay: float = 0.0
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    embeddings: bool = False

    def changed(self, **given: Any) -> Preset:
        """With what the user gave; None for what was not. Raises UsageError."""
        preset = replace(
            self, **{name: value for name, value in given.items() if value is not None}
        )
        for name in ("max_tokens", "batch", "learning_rate", "epochs", "lora_r", "lora_alpha"):
            if not 0 < getattr(preset, name) < math.inf:
                raise UsageError(f"--{name.replace('_', '-')} must be a number more than 0")
        if preset.method not in METHODS:
            known = ", ".join(METHODS)
            raise UsageError(f"unknown method {preset.method!r}; known: {known}")
        return preset


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "default",
            "LoRA of belle-lora, the rest of alpaca-7b-full",
        ),
        Preset(
            "alpaca-7b-full",
            "tatsu-lab/stanford_alpaca, README.md, Fine-tuning",
            method="full",
            template="alpaca",
            learning_rate=2e-5,
        ),
        Preset(
            "alpaca-13b",
            "tatsu-lab/stanford_alpaca, README.md, Fine-tuning",
            method="full",
            template="alpaca",
            learning_rate=1e-5,
            epochs=5.0,
        ),
        Preset(
            "belle-lora",
            "LianjiaTech/BELLE, train/configs/lora_config_llama.json and train/scripts/run_sft.sh; "
            "2 epochs as in its other commands, where this one has 10",
            template="belle",
            max_tokens=1024,
            batch=8,
            epochs=2.0,
            warmup=0.01,
            weight_decay=1e-5,
        ),
        Preset(
            "chinese-alpaca-lora",
            "ymcui/Chinese-LLaMA-Alpaca, scripts/training/run_sft.sh (on one device)",
            template="chinese-alpaca",
            batch=8,
            learning_rate=1e-4,
            epochs=1.0,
            lora_r=8,
            embeddings=True,
        ),
    )
}


def get_preset(name: str) -> Preset:
    """The preset called `name`. Raises UsageError naming the known ones."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}") from None


class Layout(NamedTuple):
    """How a step's items are spread: `devices` × `accumulation` passes of `device_batch` items."""

    devices: int
    device_batch: int
    accumulation: int

    @property
    def slots(self) -> int:
        """Places for items in a step; those that are left over stay empty."""
        return self.devices * self.device_batch * self.accumulation


def layout(items: int, devices: int, device_batch: int) -> Layout:
    """The fewest passes that hold the `items` of a step.

    >>> layout(128, devices=8, device_batch=4), layout(128, devices=3, device_batch=4).slots
    (Layout(devices=8, device_batch=4, accumulation=4), 132)
    """
    device_batch = min(device_batch, math.ceil(items / devices))
    return Layout(devices, device_batch, math.ceil(items / (devices * device_batch)))


# The seven projections of LLaMA's layer, as BELLE and Chinese-Alpaca adapt them, and BLOOM's one.
_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_BLOOM = ("query_key_value",)


def adapted_modules(model_type: str, names: set[str]) -> list[str] | str:
    """What LoRA adapts: modules by the last part of their name, or all linear layers.

    names: the last parts of the names of a model's modules.
    """
    if model_type == "bloom":
        return list(_BLOOM)
    return list(_LLAMA) if set(_LLAMA) <= names else "all-linear"
