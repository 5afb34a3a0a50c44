"""The door to a trained model, or to any base: a model to ask, its tokenizer, and how to ask it.

model, tokenizer, template = load("models/alpaca-7b")
encoder, _notices = make_encoder(tokenizer, template, max_tokens=2048)
ids = encoder.prompt(Example(Task("Name a river.", "", "")))
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from selfinstruct.errors import UsageError
from selfinstruct.train.bases import base_path, load_model, load_tokenizer
from selfinstruct.train.folder import Folder
from selfinstruct.train.templates import CHAT

_ADAPTER = "adapter_config.json"


def load(
    model_dir_or_base: str, adapter: str | None = None, device: str = "auto"
) -> tuple[Any, Any, str]:
    """(model in evaluation mode, tokenizer, the template's name).

    model_dir_or_base: what `train` wrote, a folder of transformers, or a GGUF file. adapter: a
    LoRA folder on top of it. device: "auto" for a GPU where there is one. The template is the one
    that was trained with; for a model that was not trained here it is the tokenizer's own, else
    Alpaca's. Raises UsageError.
    """
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    folder = Path(model_dir_or_base)
    if adapter is None and (folder / _ADAPTER).is_file():
        adapter, model_dir_or_base = model_dir_or_base, adapted_base(folder)
    base = base_path(model_dir_or_base)
    model = load_model(base, dtype=torch.float32 if chosen == "cpu" else torch.bfloat16)
    own_tokenizer = adapter and (Path(adapter) / "tokenizer_config.json").is_file()
    tokenizer = load_tokenizer(adapter if adapter and own_tokenizer else base)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    own = CHAT if getattr(tokenizer, "chat_template", None) else "alpaca"
    trained = Path(adapter or base)
    # A GGUF file is no folder that could say.
    template = Folder(trained).stored().get("template", own) if trained.is_dir() else own
    return model.to(chosen).eval(), tokenizer, str(template)


def adapted_base(folder: Path) -> str:
    """The path of the base that an adapter belongs to. Raises UsageError."""
    try:
        base = json.loads((folder / _ADAPTER).read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{folder / _ADAPTER} cannot be read: {error}") from None
    return str(base)
