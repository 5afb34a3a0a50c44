"""A model that can be asked: what lies in a folder, made ready, or one line about why it cannot be.

Enters: a path, and a template where the trained one is not wanted. Leaves: a Speaker, whose prompts
are those of training.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import GenerationConfig

from selfinstruct.errors import UsageError
from selfinstruct.records import Example
from selfinstruct.train.bases import check_vocabulary, is_gguf
from selfinstruct.train.checks import make_encoder
from selfinstruct.train.encode import Encoder
from selfinstruct.train.folder import TRAINING, Folder
from selfinstruct.train.loading import adapted_base, load
from selfinstruct.train.templates import TextTemplate

CONFIG, ADAPTER = "config.json", "adapter_config.json"
# Tokens of a row where no training says how many.
MAX_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Speaker:
    """path: as it was named. trained: the template that the model is asked with unless another is
    wanted. reach: how many positions the model has, None where it does not say."""

    path: str
    model: Any
    encoder: Encoder
    trained: str
    reach: int | None

    @property
    def template(self) -> str:
        return self.encoder.template.name

    @property
    def many_turns(self) -> bool:
        """Whether a question may follow another."""
        template = self.encoder.template
        return not isinstance(template, TextTemplate) or template.many_turns

    def prompt(self, example: Example) -> list[int]:
        """The ids that the model is given. Raises UsageError for what the template has no place
        for."""
        try:
            return self.encoder.prompt(example)
        except ValueError as error:
            raise UsageError(str(error)) from None

    def room(self, prompt: int, wanted: int) -> int:
        """Tokens that an answer may have after `prompt` tokens. Raises UsageError for none."""
        if self.reach is None:
            return wanted
        if prompt >= self.reach:
            raise UsageError(
                f"{prompt} tokens are asked, the model's positions end at {self.reach}"
            )
        return min(wanted, self.reach - prompt)


def get_speaker(
    path: str, *, base: str = "", template: str = "", max_tokens: int | None = None
) -> Speaker:
    """path: what `train` wrote, a folder of transformers, or a GGUF file. base: where the model is
    that an adapter belongs to, when it has moved. template: "" for the trained one. max_tokens: of
    an encoded row, None for the training's. Raises UsageError."""
    _quieten()
    adapter = _adapter(path, base)
    where = (base or adapted_base(Path(path))) if adapter else path
    if adapter and not Path(where).exists():
        raise UsageError(
            f"{path}: its base {where} is no longer there", hint="--base says where it is"
        )
    try:
        model, tokenizer, trained = load(where, path if adapter else None)
        check_vocabulary(model, tokenizer)
    except UsageError as error:
        # The loader speaks of the option of `train`.
        raise UsageError(str(error).removeprefix("--base: ")) from None
    # A base's own habits (penalties, top-k) are not what was asked for.
    model.generation_config = GenerationConfig()
    limit = max_tokens or Folder(Path(path)).stored().get("max_tokens", MAX_TOKENS)
    encoder, _notices = make_encoder(tokenizer, template or trained, limit)
    reach = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return Speaker(path, model, encoder, trained, reach)


def _adapter(path: str, base: str) -> bool:
    """Whether a folder holds an adapter instead of a model. Raises UsageError when it holds
    neither, and for a base that is of no use."""
    folder = Path(path)
    if not folder.exists():
        raise UsageError(f"{path} is not there")
    if (folder / ADAPTER).is_file():
        return True
    if base:
        raise UsageError(f"--base: {path} is no adapter: it is a model by itself")
    if is_gguf(path) or (folder / CONFIG).is_file():
        return False
    if (folder / TRAINING).is_file():
        raise UsageError(
            f"{path}: its training has not ended", hint="train … --resume goes on with it"
        )
    raise UsageError(
        f"{path} is no model: no {CONFIG} and no {ADAPTER} in it",
        hint="name what `selfinstruct train --out` wrote, or a folder of transformers",
    )


def _quieten() -> None:
    """The libraries' bars and warnings are for their developers; failures still raise."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"(torch|transformers|peft|accelerate)\b")
