"""The model card: what the model is, with the figures of its training and the command that made it.

Enters: what was prepared and what came of it. Leaves: Markdown. States nothing that was not
measured.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from selfinstruct.records import Example, Task
from selfinstruct.train.prepare import Prepared
from selfinstruct.train.settings import Settings
from selfinstruct.train.watching import span

_LIBRARIES = ("selfinstruct", "torch", "transformers", "peft", "accelerate")


def card(prepared: Prepared, settings: Settings, figures: dict[str, Any]) -> str:
    """README.md of a trained model."""
    preset = settings.preset
    head = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if preset.method != "full" and not figures["merged"]:
        head += ["tags:", "- peft", "- lora"]
    # No name of a model nor of its author is stated: a path is all that is known of the base.
    head += ["---", "", f"# {settings.out.name}", ""]
    head += [f"Fine-tuned with selfinstruct from `{prepared.base}`.", ""]
    return "\n".join(
        [
            *head,
            "```",
            settings.command or "(not started from the command line)",
            "```",
            "",
            *_table(prepared, settings, figures),
            "",
            *_held_out(figures),
            f"## Prompt\n\nTemplate `{prepared.encoder.template.name}`, also stored as the "
            "tokenizer's chat template. A question looks like this:\n",
            "```",
            _prompt(prepared),
            "```",
            "",
            "Versions: "
            + ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
            + f", Python {platform.python_version()}.",
            "",
        ]
    )


def _table(prepared: Prepared, settings: Settings, figures: dict[str, Any]) -> list[str]:
    preset = settings.preset
    adapter = (
        ""
        if preset.method == "full"
        else f", r {preset.lora_r}, alpha {preset.lora_alpha}"
        f", dropout {preset.lora_dropout}"
        + (", embeddings and head trained" if preset.embeddings else "")
    )
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in figures["dropped"].items()) or "none"
    rows = {
        "rows": f"{figures['rows']:,} ({figures['tokens']:,} tokens, "
        f"{figures['supervised_tokens']:,} trained)",
        "dropped": f"{dropped}; {figures['cut']:,} answers cut",
        "method": preset.method + adapter + (", merged" if figures["merged"] else ""),
        "steps": f"{figures['steps']:,} of {preset.batch} rows, {preset.max_tokens} tokens a row"
        + (", packed" if prepared.pack else ", padded"),
        "learning rate": f"{preset.learning_rate:g}, cosine, warm-up {preset.warmup:g}, "
        f"weight decay {preset.weight_decay:g}",
        "mean loss over the steps": f"{figures['loss']:.4f}",
        "time": f"{span(figures['seconds'])} on {figures['devices']} × {figures['device']}",
        "preset": f"{preset.name} ({preset.source})",
        "seed": str(settings.seed),
    }
    return ["| what | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _held_out(figures: dict[str, Any]) -> list[str]:
    if not figures["held_out_before"]:
        return ["No rows were held out.", ""]
    lines = ["## Held-out loss", "", "| language | rows | before | after |", "|---|---|---|---|"]
    for lang, before in figures["held_out_before"].items():
        count, after = figures["held_out"][lang], figures["held_out_after"][lang]
        lines.append(f"| {lang} | {count:,} | {before:.4f} | {after:.4f} |")
    return [*lines, ""]


def _prompt(prepared: Prepared) -> str:
    example = Example(Task("Name a river.", "", ""))
    return prepared.encoder.tokens.decode(prepared.encoder.prompt(example))
