"""The model to start from: a folder of transformers, or a GGUF file.

Enters: a path. Leaves: a model and its tokenizer, ready to be trained by one of the methods.
Nothing is ever downloaded, and no code of the folder is run.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from selfinstruct.errors import UsageError
from selfinstruct.train.presets import Preset, adapted_modules

_GGUF = ".gguf"


def is_gguf(base: str) -> bool:
    return base.endswith(_GGUF)


def base_path(base: str) -> str:
    """The absolute path of a base. Raises UsageError when it is none."""
    path = Path(base)
    if is_gguf(base):
        if not path.is_file():
            raise UsageError(f"--base: {base} is no file")
    elif not (path / "config.json").is_file():
        raise UsageError(
            f"--base: {base} is no model folder (no config.json in it)",
            hint="name a folder as transformers saves it, or a .gguf file",
        )
    return str(path.resolve())


def load_tokenizer(base: str) -> Any:
    """The tokenizer of a base. Raises UsageError."""
    try:
        return AutoTokenizer.from_pretrained(*_where(base), local_files_only=True, **_gguf(base))
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"--base: no tokenizer could be read in {base}: {_line(error)}") from None


def load_model(base: str, *, dtype: Any = None, attention: str | None = None, **more: Any) -> Any:
    """The model of a base. dtype: None for the one that it was saved in. attention: transformers'
    name of an implementation. Raises UsageError."""
    arguments = {**more, **_gguf(base)}
    if attention:
        arguments["attn_implementation"] = attention
    try:
        model = AutoModelForCausalLM.from_pretrained(
            *_where(base), local_files_only=True, dtype=dtype or "auto", **arguments
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UsageError(f"--base: no model could be read in {base}: {_line(error)}") from None
    if is_gguf(base):
        # The weights are plain numbers now; what says otherwise would keep them from being saved.
        model.hf_quantizer = None
        for holder in (model, model.config):
            if hasattr(holder, "quantization_config"):
                del holder.quantization_config
            if hasattr(holder, "is_quantized"):
                holder.is_quantized = False
    return model


def load_for_training(
    base: str, preset: Preset, *, sharded: bool = False, attention: str | None = None
) -> Any:
    """The model with what the preset trains of it.

    On a GPU a frozen base lies in bfloat16; what is trained is float32 (autocast computes in
    bfloat16). sharded: by FSDP or ZeRO-3, which want one dtype. Raises UsageError.
    """
    gpu = torch.cuda.is_available() and not sharded
    frozen = preset.method != "full"
    more: dict[str, Any] = {}
    if preset.method == "qlora":
        more["quantization_config"] = _four_bits(base)
    dtype = torch.bfloat16 if gpu and frozen else torch.float32
    model = load_model(base, dtype=dtype, attention=attention, **more)
    return _adapted(model, preset) if frozen else model


def _adapted(model: Any, preset: Preset) -> Any:
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if preset.method == "qlora":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    names = {name.rpartition(".")[2] for name, _module in model.named_modules()}
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=preset.lora_r,
        lora_alpha=preset.lora_alpha,
        lora_dropout=preset.lora_dropout,
        target_modules=adapted_modules(model.config.model_type, names),
        modules_to_save=_embeddings(model) if preset.embeddings else None,
        ensure_weight_tying=preset.embeddings and bool(model.config.tie_word_embeddings),
    )
    return get_peft_model(model, config)


def _embeddings(model: Any) -> list[str]:
    """The names of the modules of embeddings and head; one where they share their weights."""
    wanted = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:
        wanted.append(model.get_output_embeddings())
    return [
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if any(module is one for one in wanted)
    ]


def _four_bits(base: str) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError("--method qlora needs bitsandbytes", hint="type: pip install bitsandbytes")
    if is_gguf(base):
        raise UsageError("--method qlora takes a model folder, not a GGUF file")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def check_vocabulary(model: Any, tokenizer: Any) -> None:
    """Raises UsageError when the tokenizer makes ids that the model has no embedding for."""
    embeddings = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embeddings:
        raise UsageError(
            f"the base's tokenizer has {len(tokenizer):,} tokens, its model {embeddings:,}",
            hint="they do not belong together",
        )


def check_length(base: str, max_tokens: int) -> None:
    """Raises UsageError when rows may be longer than the base's positions reach."""
    if is_gguf(base):
        return
    config = AutoConfig.from_pretrained(base, local_files_only=True)
    reach = getattr(config.get_text_config(), "max_position_embeddings", None)
    if reach and max_tokens > reach:
        raise UsageError(f"--max-tokens {max_tokens}: the base's positions end at {reach}")


def _where(base: str) -> tuple[str]:
    return (str(Path(base).parent),) if is_gguf(base) else (base,)


def _gguf(base: str) -> dict[str, str]:
    return {"gguf_file": Path(base).name} if is_gguf(base) else {}


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]
