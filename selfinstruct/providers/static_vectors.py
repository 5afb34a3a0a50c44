"""Embeddings from a model2vec folder on disk: no network, no torch.

Enters: a folder that the user has, then texts. Leaves: one vector each. Knows no threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfinstruct.errors import UsageError

_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def load_static_model(folder: Path) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """A function from n texts to vectors, shape (n, d), in this process alone.

    Raises UsageError when model2vec is not installed or the folder holds no model of its.
    """
    try:
        import model2vec
    except ImportError:
        raise UsageError(
            "a model folder needs model2vec", hint="pip install 'selfinstruct[semantic]'"
        ) from None
    # model2vec takes what is no folder for the name of something to download.
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"{folder}: no model2vec model: {', '.join(missing)} missing")
    try:
        model = model2vec.StaticModel.from_pretrained(folder.resolve(), force_download=False)
    except Exception as error:  # noqa: BLE001  Of safetensors, tokenizers and json, none with a base.
        raise UsageError(f"{folder}: not a model2vec model: {error}") from None

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, model.dim), np.float32)
        # One process: workers would each load the model again.
        return np.asarray(model.encode(list(texts), use_multiprocessing=False), np.float32)

    return embed
