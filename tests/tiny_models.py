"""Models and tokenizers small enough for a test, made here from the project's own seeds.

Nothing is downloaded. Leaves: tokenizers of the three families that matter for labels, and folders
of random models of two layers that transformers loads.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.scripted_server import ROOT

SPECIAL = ["<unk>", "<s>", "</s>"]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = 600


@cache
def texts() -> tuple[str, ...]:
    """Every text of the seeds, English and Chinese."""
    found: list[str] = []
    for name in ("en", "zh"):
        for line in (ROOT / "seeds" / f"{name}.jsonl").read_bytes().splitlines():
            row = json.loads(line)
            found.append(row["instruction"])
            found += [text for instance in row["instances"] for text in instance.values()]
    return tuple(found)


@cache
def _byte_level() -> str:
    """GPT-2's kind (also BLOOM's, LLaMA 3's, SmolLM's): bytes, no mark at the beginning."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=LLAMA,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts(), trainer)
    return made.to_str()


@cache
def _llama(scheme: str) -> str:
    """LLaMA's kind: "▁" for a space and, by `scheme`, before every piece of text or the first."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    spaces = decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()
    made.decoder = decoders.Sequence([*spaces, decoders.Strip(" ", 1)])
    trainer = trainers.BpeTrainer(
        vocab_size=256 + LLAMA,
        special_tokens=[*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=100,
        max_token_length=8,
        show_progress=False,
    )
    # Trained on words: merges across spaces would make a vocabulary of whole sentences.
    words = [f"▁{word}" for text in texts() for word in text.split(" ")]
    made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    made.train_from_iterator(words, trainer)
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    # The bytes are pieces of the vocabulary, not control tokens.
    state = json.loads(made.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < 3]
    return json.dumps(state)


@cache
def _unigram() -> str:
    """SentencePiece's other kind, whose vocabulary has "</s>" among its pieces of text."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=LLAMA, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator([text for text in texts() if text.isascii()], trainer)
    return made.to_str()


def _source(kind: str) -> str:
    if kind.startswith("llama"):
        return _llama("first" if kind == "llama-first" else "always")
    return _unigram() if kind == "unigram" else _byte_level()


def tokenizer(kind: str = "byte-level", *, bos: bool = False, chat: str = "", **more: Any) -> Any:
    """A fresh tokenizer: "byte-level", "llama" (marks every piece), "llama-first", "unigram".

    bos: whether it begins every text with <s>. chat: a chat template; ChatML's marks are added for
    one that has them.
    """
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(_source(kind))
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
        )
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **more}
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, **{key: value for key, value in names.items() if value}
    )
    if "<|im_start|>" in chat:
        made.add_tokens([AddedToken(mark, special=True) for mark in ("<|im_start|>", "<|im_end|>")])
    if chat:
        made.chat_template = chat
    return made


def llama_config(tokens: int, **more: Any) -> Any:
    """LLaMA's architecture at toy size."""
    from transformers import LlamaConfig

    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return LlamaConfig(vocab_size=tokens, **{**size, **more})


def make_base(folder: Path, *, architecture: str = "llama", width: int = 64, **more: Any) -> Path:
    """A folder with a random model of two layers and its tokenizer; `more` is for `tokenizer`.

    width: of LLaMA's feed-forward layers.
    """
    import torch
    from transformers import AutoModelForCausalLM, BloomConfig

    made = tokenizer(**more)
    torch.manual_seed(0)
    config = (
        BloomConfig(vocab_size=len(made), hidden_size=32, n_layer=2, n_head=4)
        if architecture == "bloom"
        else llama_config(len(made), intermediate_size=width)
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
