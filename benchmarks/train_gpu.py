"""Training speed: this project's batches beside bare transformers', in one run on one device.

A model of LLaMA's architecture with 1.1B random weights, in bfloat16 (autocast over float32 weights
for full fine-tuning), on made-up rows of 40 to 512 tokens. Padding does not count as tokens.
Model FLOPs are 6 a parameter and token, 4 where the base is frozen, and the attention's; their
utilisation is of the device's published dense bfloat16 rate, or else of a large matrix product
measured here.

    python -m benchmarks.train_gpu            # a GPU with 40 GB or more
    python -m benchmarks.train_gpu --toy      # any machine: shows that it runs, no more
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, Trainer, TrainerCallback
from transformers.utils import is_flash_attn_2_available

from selfinstruct.train.batches import Collator, Items, token_loss
from selfinstruct.train.encode import EncodedRow
from selfinstruct.train.presets import layout
from selfinstruct.train.schedule import spread, steps_of

# Dense bfloat16, from the makers' data sheets, in FLOP/s.
_PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
_LIMIT = 512
_WARM = 2


@dataclass(frozen=True, slots=True)
class Size:
    """What is measured. rows: of a step. device_batch: items at once."""

    config: LlamaConfig
    rows: int
    device_batch: int
    steps: int


def size(*, toy: bool) -> Size:
    if toy:
        config = LlamaConfig(
            vocab_size=1000, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=_LIMIT,
        )  # fmt: skip
        return Size(config, rows=8, device_batch=4, steps=4)
    # TinyLlama's shape: LLaMA's layers, 1.1B parameters.
    config = LlamaConfig(
        vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22,
        num_attention_heads=32, num_key_value_heads=4, max_position_embeddings=2048,
    )  # fmt: skip
    return Size(config, rows=128, device_batch=16, steps=8)


def made_rows(count: int, vocabulary: int) -> list[EncodedRow]:
    """Rows of random tokens: 40 to 512 long, half of them under 110, the last half trained."""
    chance = random.Random(0)
    rows = []
    for number in range(count):
        length = min(_LIMIT, round(40 + chance.lognormvariate(4.25, 0.8)))
        ids = np.array([chance.randrange(3, vocabulary) for _ in range(length)], np.int32)
        rows.append(EncodedRow(str(number), "en", ids, np.arange(length) >= length // 2))
    return rows


class Stopwatch(TrainerCallback):
    """Seconds of all steps after the first two."""

    def __init__(self) -> None:
        self.begun = self.ended = 0.0

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_more: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ended = time.perf_counter()
        if state.global_step == _WARM:
            self.begun = self.ended


def seconds(
    model: Any,
    data: Any,
    collate: Any,
    loss: Any,
    made: Size,
    slots: int,
    batch: int,
) -> float:
    """How long a Trainer takes for the measured steps of `slots` items, `batch` at once."""
    watch = Stopwatch()
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, per_device_train_batch_size=batch,
            gradient_accumulation_steps=slots // batch, max_steps=made.steps + _WARM,
            learning_rate=1e-5, bf16=gpu, use_cpu=not gpu, save_strategy="no", report_to=[],
            disable_tqdm=True, log_level="error", remove_unused_columns=False,
            train_sampling_strategy="sequential", logging_strategy="no",
        )  # fmt: skip
        trainer = Trainer(
            model=model, args=arguments, train_dataset=data, data_collator=collate,
            compute_loss_func=loss, callbacks=[watch],
        )  # fmt: skip
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return watch.ended - watch.begun


def bare(rows: Sequence[EncodedRow]) -> Any:
    """A batch as Alpaca's own collator makes it: in the file's order, padded to the longest."""
    return Collator(pad=0)([[row] for row in rows])


def model_flops(model: Any, config: LlamaConfig, rows: Sequence[EncodedRow], frozen: bool) -> float:
    """FLOPs that the model needs for these rows, forward and backward."""
    weights = sum(p.numel() for p in model.parameters()) - config.vocab_size * config.hidden_size
    tokens = sum(map(len, rows))
    # Scores and sums, each 2 FLOPs a pair of positions and channel; half of the pairs are masked.
    pairs = sum(len(row) ** 2 for row in rows) / 2
    attention = 4 * config.num_hidden_layers * config.hidden_size * pairs
    return float((4 if frozen else 6) * weights * tokens + 3 * attention)


def peak() -> tuple[float, str]:
    """(FLOP/s to compare with, where they are from)."""
    gpu = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if gpu else "CPU"
    for mark, rate in _PEAK.items():
        if mark in name:
            return rate, f"published for {mark}"
    side, dtype = (8192, torch.bfloat16) if gpu else (1024, torch.float32)
    a = torch.ones(side, side, dtype=dtype, device="cuda" if gpu else "cpu")
    best = float("inf")
    for _try in range(3):
        begun = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - begun)
    return 2 * side**3 / best, f"a product of {side} × {side} matrices measured here"


def fresh(made: Size, *, frozen: bool) -> Any:
    """The model with random weights, to be trained whole or by LoRA of rank 16."""
    torch.manual_seed(0)
    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu and frozen else torch.float32
    attention = "flash_attention_2" if gpu and is_flash_attn_2_available() else "sdpa"
    model = AutoModelForCausalLM.from_config(
        made.config, dtype=dtype, attn_implementation=attention
    )
    if not frozen:
        return model
    from peft import LoraConfig, get_peft_model

    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules=modules)
    return get_peft_model(model, config)


def measured(made: Size, rows: list[EncodedRow], kind: str, *, frozen: bool, rate: float) -> str:
    """A line of the table."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = fresh(made, frozen=frozen)
    lengths = [len(row) for row in rows]
    counted = rows
    if kind == "bare":
        count = made.rows * (made.steps + _WARM)
        data, slots, batch = rows[:count], made.rows, made.device_batch
        counted = rows[made.rows * _WARM : count]
        spent = seconds(model, data, bare, None, made, slots, batch)
    else:
        pack = kind == "packed"
        steps = steps_of(
            lengths, batch=made.rows, epochs=1, seed=0, pack_to=_LIMIT if pack else None,
            steps=made.steps + _WARM,
        )  # fmt: skip
        spot = layout(max(map(len, steps)), 1, made.device_batch)
        flat = pack and torch.cuda.is_available() and model.config._attn_implementation != "sdpa"
        collate = Collator(0, packed=pack, flat=flat, multiple=8)
        counted = [rows[row] for step in steps[_WARM:] for item in step for row in item]
        data = Items(rows, spread(steps, spot.slots))
        spent = seconds(model, data, collate, token_loss, made, spot.slots, spot.device_batch)
    tokens = sum(map(len, counted))
    flops = model_flops(model, made.config, counted, frozen)
    memory = (
        f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if torch.cuda.is_available() else "–"
    )
    names = {"bare": "bare Trainer, padded", "padded": "ours, padded", "packed": "ours, packed"}
    cells = ["LoRA" if frozen else "full", names[kind], f"{tokens / spent:,.0f}"]
    return f"| {' | '.join(cells)} | {flops / spent / rate:.1%} | {memory} |"


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toy", action="store_true")
    made = size(toy=parser.parse_args().toy)
    if not torch.cuda.is_available() and made.config.hidden_size > 64:
        parser.error("no GPU here; --toy runs anywhere")
    transformers.utils.logging.set_verbosity_error()
    rows = made_rows(made.rows * (made.steps + _WARM), made.config.vocab_size)
    rate, source = peak()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    weights = sum(p.numel() for p in fresh(made, frozen=False).parameters())
    print(
        f"{device}, torch {torch.__version__}, transformers {transformers.__version__}; "
        f"{weights / 1e6:,.1f}M weights, {made.rows} rows a step, "
        f"{sum(map(len, rows)) / len(rows):.0f} tokens a row on average"
    )
    print(f"100 % is {rate / 1e12:,.2f} TFLOP/s: {source}")
    print("| method | batches | tokens/s | model FLOPs | peak memory |\n|---|---|---|---|---|")
    for frozen in (False, True):
        for kind in ("bare", "padded", "packed"):
            print(measured(made, rows, kind, frozen=frozen, rate=rate), flush=True)


if __name__ == "__main__":
    main()
