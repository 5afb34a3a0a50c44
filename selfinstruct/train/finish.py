"""The end of a training: the model in its folder, the curve, the card.

Enters: a trainer that has trained, and its figures. Leaves: files that plain transformers loads,
put into place together.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from selfinstruct.train.bases import is_gguf, load_model
from selfinstruct.train.card import card
from selfinstruct.train.folder import LOSSES, TRAINING, Folder
from selfinstruct.train.prepare import Prepared
from selfinstruct.train.settings import Settings


def finish(
    trainer: Any, prepared: Prepared, settings: Settings, folder: Folder, figures: dict[str, Any]
) -> None:
    """Every process takes part, since a sharded model is gathered; the main one writes.

    A GGUF base is always merged: an adapter alone would need it, and plain transformers does not
    find a GGUF file by an adapter's config.
    """
    frozen = settings.preset.method != "full"
    merge = frozen and (settings.merge or is_gguf(prepared.base))
    main = trainer.is_world_process_zero()
    if main:
        shutil.rmtree(folder.final, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(folder.final))
    if main:
        (folder.final / "training_args.bin").unlink(missing_ok=True)
        if merge:
            _merge(prepared.base, folder.final, trainer.model)
        prepared.encoder.tokens.tokenizer.save_pretrained(folder.final)
        if not frozen or merge:
            trainer.model.generation_config.save_pretrained(folder.final)
        figures["merged"] = merge
        _write_about(prepared, settings, folder, figures)
        folder.publish()
        folder.write_json(TRAINING, {**folder.stored(), "complete": True, "figures": figures})
        folder.remove_checkpoints()
    trainer.accelerator.wait_for_everyone()


def _merge(base: str, final: Path, trained: Any) -> None:
    """Replace the adapter in `final` by the whole model, made anew from the base's own weights:
    those of the training may lie in four bits, or be spread over devices."""
    from peft import PeftModel

    model = load_model(base, dtype=None if not is_gguf(base) else torch.float32)
    merged = PeftModel.from_pretrained(model, str(final)).merge_and_unload()
    merged.generation_config = trained.generation_config
    adapter = [*final.glob("adapter_*"), *final.glob("README.md")]
    merged.save_pretrained(final)
    for path in adapter:
        path.unlink()


def _write_about(
    prepared: Prepared, settings: Settings, folder: Folder, figures: dict[str, Any]
) -> None:
    """The card and the curve, beside the model."""
    lines = (folder.path / LOSSES).read_text("utf-8").splitlines()
    losses = [json.loads(line) for line in lines]
    (folder.final / "README.md").write_text(card(prepared, settings, figures), "utf-8")
    _draw(losses, figures, folder.final / "loss.png")
    about = {
        "template": prepared.encoder.template.name,
        "max_tokens": settings.preset.max_tokens,
        "base": prepared.base,
        "method": settings.preset.method,
        "command": settings.command,
        # Where `compare` finds the rows that were held out; standard input is gone.
        "source": "" if settings.source == "-" else str(Path(settings.source).resolve()),
        "langs": list(settings.langs),
    }
    folder.write_json(TRAINING, {**folder.stored(), **about})


def _draw(losses: list[dict[str, Any]], figures: dict[str, Any], path: Path) -> None:
    """The loss of every step; held-out losses as points before and after."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    steps = [entry["step"] for entry in losses]
    axes.plot(steps, [entry["loss"] for entry in losses], linewidth=1, label="trained rows")
    for lang, before in figures["held_out_before"].items():
        after = figures["held_out_after"][lang]
        axes.plot([0, steps[-1]], [before, after], "o--", linewidth=0.8, label=f"held out, {lang}")
    axes.set_xlabel("step")
    axes.set_ylabel("loss of a trained token")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
