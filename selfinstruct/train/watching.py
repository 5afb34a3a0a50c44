"""What goes on while a trainer trains: losses on disk, lines for people, checkpoints that count.

Enters: transformers' Trainer, as a callback. Leaves: loss.jsonl, complete checkpoints, held-out
losses; stops the training when the loss is no number.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from selfinstruct.errors import TrainingFailed
from selfinstruct.train.batches import Collator, summed_loss
from selfinstruct.train.encode import EncodedRow
from selfinstruct.train.folder import LOSSES, Folder

Say = Callable[[str], None]
HELD_OUT = "held_out_before.json"
# Seconds between two lines of progress.
_EVERY = 10.0


class Watcher(TrainerCallback):
    """tokens: of the rows of each step, from the first. held_out: rows by language.

    before, after: the held-out loss of each language. Every process has one; files and lines are
    the main process's.
    """

    def __init__(
        self,
        folder: Folder,
        say: Say,
        tokens: Sequence[int],
        held_out: Mapping[str, Sequence[EncodedRow]],
        collator: Collator,
        device_batch: int,
    ) -> None:
        self._folder = folder
        self._say = say
        self._tokens = tokens
        self._held_out = held_out
        self._collator = collator._replace(packed=False, flat=False)
        self._device_batch = device_batch
        self.before: dict[str, float] = {}
        self.after: dict[str, float] = {}
        self.trainer: Any = None
        self._started = self._step_began = self._said = 0.0
        self._first = 0

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_more: Any) -> None:
        """Losses of steps after the checkpoint are forgotten: they will be made again."""
        main = state.is_world_process_zero
        if main:
            past = [entry for entry in state.log_history if "loss" in entry]
            content = "".join(json.dumps(_entry(entry)) + "\n" for entry in past)
            self._folder.write(LOSSES, content.encode())
        stored = self._folder.path / HELD_OUT
        if state.global_step and stored.exists():
            self.before = json.loads(stored.read_bytes())
        else:
            self.before = self.held_out_loss()
            if main:
                self._folder.write_json(HELD_OUT, self.before)
        self._started = self._said = time.monotonic()
        self._first = state.global_step

    def on_step_begin(self, _args: Any, _state: Any, _control: Any, **_more: Any) -> None:
        self._step_began = time.monotonic()

    def on_log(
        self, _args: Any, state: Any, _control: Any, logs: dict[str, Any], **_more: Any
    ) -> None:
        """Raises TrainingFailed when loss or gradient is no number."""
        if "loss" not in logs:
            return
        for name, what in (("loss", "loss"), ("grad_norm", "gradient")):
            if not math.isfinite(logs.get(name, 0.0)):
                last = self._folder.last_checkpoint() if state.is_world_process_zero else None
                raise TrainingFailed(
                    f"step {state.global_step}: the {what} is {logs[name]}",
                    hint=f"the last checkpoint is {last.name if last else 'none'}; "
                    "a lower --learning-rate may help",
                )
        if state.is_world_process_zero:
            entry = {**logs, "step": state.global_step}
            with (self._folder.path / LOSSES).open("a") as file:
                file.write(json.dumps(_entry(entry)) + "\n")
            self._progress(state, logs)

    def on_save(self, _args: Any, state: Any, _control: Any, **_more: Any) -> None:
        # Each process writes its own part.
        self.trainer.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            self._folder.complete(state.global_step)

    def on_train_end(self, _args: Any, _state: Any, _control: Any, **_more: Any) -> None:
        self.after = self.held_out_loss()

    def _progress(self, state: Any, logs: Mapping[str, Any]) -> None:
        now, step = time.monotonic(), state.global_step
        left = state.max_steps - step
        done = step - self._first
        # The first step also loads kernels; the second is what the others will take.
        if done == min(2, state.max_steps - self._first):
            self._say(f"about {span((now - self._step_began) * left)} to go")
        elif now - self._said < _EVERY and left:
            return
        self._said = now
        elapsed = now - self._started
        rate = sum(self._tokens[self._first : step]) / elapsed
        self._say(
            f"step {step:,}/{state.max_steps:,}  loss {logs['loss']:.4f}  "
            f"{rate:,.0f} tokens/s  elapsed {span(elapsed)}  ETA {span(elapsed / done * left)}"
        )

    def held_out_loss(self) -> dict[str, float]:
        """The mean loss of a held-out token, by language."""
        accelerator, model = self.trainer.accelerator, self.trainer.model_wrapped
        was_training = model.training
        model.eval()
        found = {}
        for lang, rows in sorted(self._held_out.items()):
            total = torch.zeros(2, dtype=torch.float64)
            for batch in self._own_share(
                rows, accelerator.num_processes, accelerator.process_index
            ):
                tensors = {k: v.to(accelerator.device) for k, v in self._collator(batch).items()}
                labels = tensors.pop("labels")
                with torch.no_grad():
                    loss, count = summed_loss(model(**tensors, use_cache=False).logits, labels)
                total += torch.tensor([float(loss), count], dtype=torch.float64)
            # float32: not every device adds float64.
            whole = accelerator.reduce(total.float().to(accelerator.device), "sum")
            found[lang] = float(whole[0] / whole[1])
        model.train(was_training)
        return found

    def _own_share(
        self, rows: Sequence[EncodedRow], processes: int, index: int
    ) -> list[list[list[EncodedRow]]]:
        """This process's batches; every process has as many, since they compute together."""
        ordered = sorted(rows, key=len, reverse=True)
        size = self._device_batch
        starts = range(0, len(ordered), size * processes)
        mine = [ordered[start + index * size : start + (index + 1) * size] for start in starts]
        return [[[row] for row in batch] or [[]] for batch in mine]


def _entry(logs: Mapping[str, Any]) -> dict[str, Any]:
    """A line of loss.jsonl."""
    names = {"step": "step", "loss": "loss", "grad_norm": "grad_norm", "learning_rate": "lr"}
    return {ours: logs[theirs] for theirs, ours in names.items() if theirs in logs}


def span(seconds: float) -> str:
    """
    >>> span(42.4), span(187), span(18720)
    ('42 s', '3 min', '5.2 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
