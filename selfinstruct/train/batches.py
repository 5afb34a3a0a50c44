"""Items → tensors, and the loss over them.

Enters: EncodedRows and the schedule's items. Leaves: batches for a causal language model. A packed
item's rows do not see each other: each begins again at position 0, and transformers gives every
stretch of positions a mask of its own (a block-diagonal one, or flash attention's lengths).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from selfinstruct.train.encode import EncodedRow
from selfinstruct.train.schedule import Item

# What the loss passes over.
IGNORED = -100


class Items(Dataset):
    """A schedule's items as lists of rows, in the order in which they are trained on."""

    def __init__(self, rows: Sequence[EncodedRow], items: Sequence[Item]) -> None:
        self._rows = rows
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> list[EncodedRow]:
        return [self._rows[row] for row in self._items[number]]


class Collator(NamedTuple):
    """Items → one batch. Padding is masked, never trained, and so any id will do.

    packed: rows are told apart by their positions; else one row an item, with an attention mask.
    flat: all items in a row of the batch, as flash attention takes them.
    multiple: lengths are filled up to a multiple of this many tokens.
    """

    pad: int
    packed: bool = False
    flat: bool = False
    multiple: int = 1

    def __call__(self, items: Sequence[Sequence[EncodedRow]]) -> dict[str, Any]:
        if self.flat:
            items = [[row for item in items for row in item]]
        # An empty item is one token that nobody learns.
        longest = max(1, *(sum(map(len, item)) for item in items)) if items else 1
        width = -(-longest // self.multiple) * self.multiple
        ids = np.full((len(items), width), self.pad, np.int64)
        labels = np.full((len(items), width), IGNORED, np.int64)
        positions = np.zeros((len(items), width), np.int64)
        mask = np.zeros((len(items), width), np.int64)
        for line, item in enumerate(items):
            end = 0
            for row in item:
                place = np.s_[line, end : end + len(row)]
                ids[place] = row.ids
                labels[place] = np.where(row.trained, row.ids, IGNORED)
                positions[place] = np.arange(len(row))
                end += len(row)
            mask[line, : max(1, end)] = 1
        batch = {"input_ids": ids, "labels": labels}
        batch |= {"position_ids": positions} if self.packed else {"attention_mask": mask}
        return {name: torch.from_numpy(array) for name, array in batch.items()}


def token_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """The sum over the trained tokens of a batch, divided by those of the whole step.

    A step's loss is so the mean over its trained tokens, however they are spread over passes and
    devices. Only their logits become float32: the largest tensor of the training.
    """
    total, count = summed_loss(outputs.logits, labels)
    return total / (count if num_items_in_batch is None else num_items_in_batch)


def summed_loss(logits: Any, labels: Any) -> tuple[Any, int]:
    """(cross entropy summed over the trained tokens, their number)."""
    targets = labels[:, 1:]
    trained = targets != IGNORED
    chosen = logits[:, :-1][trained].float()
    loss = functional.cross_entropy(chosen, targets[trained], reduction="sum")
    return loss, len(chosen)


def keeps_packed_rows_apart(model: Any, rows: Sequence[EncodedRow], collator: Collator) -> bool:
    """Whether this model gives packed rows the logits that they have alone, by trying it."""
    short = [EncodedRow(row.id, row.lang, row.ids[:16], row.trained[:16]) for row in rows[:3]] * 2
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            together = _logits(model, [short], collator._replace(packed=True))
            alone = torch.cat(
                [_logits(model, [[row]], collator._replace(packed=False)) for row in short]
            )
    except TypeError:
        # It takes no positions.
        return False
    finally:
        model.train(was_training)
    # Half precision adds up otherwise in a longer row.
    tolerance = 1e-3 if alone.dtype == torch.float32 else 0.1
    return bool((together - alone).abs().max() <= tolerance * alone.float().std())


def _logits(model: Any, items: Sequence[Sequence[EncodedRow]], collator: Collator) -> Any:
    batch = collator(items)
    del batch["labels"]
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    count = sum(len(row) for item in items for row in item)
    return model(**batch, use_cache=False).logits[0, :count]
