"""The batch way to buy: docs/design/batch.md.

`Batches` stands where the generator stands; `cancel` stops what it left at a provider.
"""

from __future__ import annotations

from selfinstruct.batches.buying import Batches
from selfinstruct.batches.cancelling import cancel
from selfinstruct.batches.ledger import batch_token, result_path
from selfinstruct.batches.waiting import poll_seconds

__all__ = ["Batches", "batch_token", "cancel", "poll_seconds", "result_path"]
