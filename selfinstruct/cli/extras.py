"""Before torch is loaded: whether it is there, and how its threads wait."""

from __future__ import annotations

import importlib.util
import os

from selfinstruct.errors import UsageError

_NEEDED = ("torch", "transformers", "peft", "accelerate", "matplotlib", "gguf")
_EXTRA = "pip install 'selfinstruct[train]'"


def prepare(what: str) -> None:
    """what: what needs the extra, for the message. Raises UsageError when it is not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{what} needs {', '.join(missing)}", hint=f"type: {_EXTRA}")
    # Its threads spin while they wait: beside a busy process two of them took 12 s for what takes
    # 3 s with this (docs/design/training.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    # Bars of the libraries would be drawn over our lines.
    os.environ.setdefault("TQDM_DISABLE", "1")
