"""What the trainers themselves make of our exports: row counts, and the token ids and labels of
whole rows against what the layout says.

Runs in `.consumers/`, where they are installed: `python check.py FOLDER datasets trl` reads what
benchmarks/consumers.py exported. A line for each check; exits 1 at the first that fails.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import io
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IGNORED = -100
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")  # One token each, so no text joins them.
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def tokenizer_at(folder: Path) -> Any:
    """A byte-level tokenizer and a LLaMA of a few thousand weights, made on the spot."""
    import tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = tokenizers.Tokenizer(tokenizers.models.BPE())
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=alphabet, special_tokens=["<pad>", "<s>", "</s>", *ROLES]
    )
    core.train_from_iterator(["Name a river. 说出一条河。"], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    made.chat_template = CHAT
    made.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(made),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=made.eos_token_id,
        bos_token_id=made.bos_token_id,
        pad_token_id=made.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return made


# ── datasets ─────────────────────────────────────────────────────────────────────────────────


def check_datasets(folder: Path, stated: dict[str, Any], _tokenizer: Any) -> Iterator[str]:
    """load_dataset on JSON Lines, on an array, on Parquet, and on the folder for the Hub."""
    import datasets
    from datasets import load_dataset

    yield f"datasets {datasets.__version__}"
    for builder, name in (
        ("json", "alpaca.en.jsonl"),
        ("json", "alpaca-json.en.json"),
        ("parquet", "parquet.en.parquet"),
        ("json", "messages.en.jsonl"),
    ):
        table = load_dataset(builder, data_files=str(folder / "plain" / name), split="train")
        assert len(table) == stated["plain"]["en"], (name, len(table))
        yield f"load_dataset({builder!r}, {name}): {len(table)} rows"
    first = rows_of(folder / "plain" / "alpaca.en.jsonl")[0]
    table = load_dataset("parquet", data_files=str(folder / "plain" / "parquet.en.parquet"))
    assert {name: table["train"][0][name] for name in first} == first
    for run in ("plain", "turns"):
        for config in ("default", "en", "zh"):
            args = [str(folder / run / "hf")] + ([config] if config != "default" else [])
            loaded = load_dataset(*args)
            found = {split: len(rows) for split, rows in loaded.items()}
            assert found == stated["hf"][run][config], (run, config, found)
            yield f"load_dataset({run}/hf, {config}): {found}"
    turns = load_dataset(str(folder / "turns" / "hf"), "en", split="train")
    assert any(turn["history"] for turn in turns)
    yield "history comes as pairs of texts"


# ── TRL ──────────────────────────────────────────────────────────────────────────────────────


def trl_trainer(tokenizer: Any, model: Path, rows: Path, work: Path, **config: Any) -> Any:
    from datasets import load_dataset
    from transformers import LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=LlamaForCausalLM.from_pretrained(model),
        args=SFTConfig(
            output_dir=str(work),
            report_to="none",
            use_cpu=True,
            bf16=False,
            max_length=512,
            **config,
        ),
        train_dataset=load_dataset("json", data_files=str(rows), split="train"),
        processing_class=tokenizer,
    )


def check_trl(folder: Path, stated: dict[str, Any], tokenizer: Any) -> Iterator[str]:
    """SFTTrainer's own tokens and labels, against the chat template applied by hand."""
    model, work = folder / "model", folder / "work"
    for run in ("plain", "turns"):
        path = folder / run / "messages.en.jsonl"
        made = trl_trainer(tokenizer, model, path, work, assistant_only_loss=True)
        assert len(made.train_dataset) == stated[run]["en"]
        for index, row in enumerate(rows_of(path)):
            ids, labels = chat(tokenizer, row["messages"], every_answer=True)
            compare(made, index, ids, labels)
        yield f"TRL, {run}/messages: {index + 1} rows, token ids and labels as expected"
        path = folder / run / "trl.en.jsonl"
        made = trl_trainer(tokenizer, model, path, work)
        for index, row in enumerate(rows_of(path)):
            messages = row["prompt"] + row["completion"]
            ids, labels = chat(tokenizer, messages, every_answer=False)
            compare(made, index, ids, labels)
        yield f"TRL, {run}/trl (prompt, completion): {index + 1} rows, the same"
    made = trl_trainer(
        tokenizer, model, path, work, max_steps=2, per_device_train_batch_size=2, save_strategy="no"
    )
    loss = made.train().training_loss
    assert loss > 0
    yield f"TRL trains on it: 2 steps, loss {loss:.2f}"


def chat(tokenizer: Any, messages: Any, *, every_answer: bool) -> tuple[list[int], list[int]]:
    """Ids and labels of the template above; the loss on every answer, or on the last alone."""
    ids: list[int] = []
    labels: list[int] = []
    for number, message in enumerate(messages, start=1):
        head = tokenizer.encode(f"<|{message['role']}|>", add_special_tokens=False)
        said = tokenizer.encode(message["content"], add_special_tokens=False)
        answer = message["role"] == "assistant"
        if answer:
            said.append(tokenizer.eos_token_id)
        learned = answer and (every_answer or number == len(messages))
        ids += head + said
        labels += [IGNORED] * len(head) + (said if learned else [IGNORED] * len(said))
    return ids, labels


def compare(made: Any, index: int, ids: list[int], labels: list[int]) -> None:
    row = made.train_dataset[index]
    assert row["input_ids"] == ids, (row["input_ids"], ids)
    found = made.data_collator([row])["labels"][0].tolist()
    assert found == labels, (found, labels)


# ── LLaMA-Factory ────────────────────────────────────────────────────────────────────────────

# Its template "alpaca", written down again: what a row must come out as.
SYSTEM = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
)


def stub_torchaudio() -> None:
    """LLaMA-Factory imports it for sound alone; its wheels do not fit a torch without CUDA."""
    module = types.ModuleType("torchaudio")
    module.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = module


def check_llama_factory(folder: Path, stated: dict[str, Any], tokenizer: Any) -> Iterator[str]:
    """Its own loader on the exported folder, validation files as eval_dataset."""
    stub_torchaudio()
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    for run in ("plain", "turns"):
        for lang in ("en", "zh"):
            data = folder / run / "llama-factory"
            model_args, data_args, training_args, _, _ = get_train_args(
                {
                    "model_name_or_path": str(folder / "model"),
                    "dataset_dir": str(data),
                    "dataset": f"selfinstruct_{lang}",
                    "eval_dataset": f"selfinstruct_{lang}_validation",
                    "template": "alpaca",
                    "stage": "sft",
                    "do_train": True,
                    "cutoff_len": 4096,
                    "output_dir": str(folder / "work"),
                    "report_to": "none",
                    "use_cpu": True,
                    "overwrite_cache": True,
                }
            )
            module = load_tokenizer(model_args)
            template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
            with contextlib.redirect_stdout(io.StringIO()):  # It shows a row of each.
                loaded = get_dataset(
                    template, model_args, data_args, training_args, "sft", **module
                )
            for split, kind in (("train", "train_dataset"), ("validation", "eval_dataset")):
                found = loaded[kind]
                assert len(found) == stated["llama-factory"][run][lang][split], (run, lang, split)
                ending = "" if split == "train" else "_validation"
                for row, ours in zip(
                    found, rows_of(data / f"selfinstruct_{lang}{ending}.jsonl"), strict=True
                ):
                    ids, labels = alpaca(tokenizer, ours)
                    assert row["input_ids"] == ids
                    assert row["labels"] == labels
            counts = stated["llama-factory"][run][lang]
            yield f"LLaMA-Factory, {run} {lang}: {counts}, token ids and labels as expected"


def alpaca(tokenizer: Any, row: dict[str, Any]) -> tuple[list[int], list[int]]:
    """A row of either formatting through the template "alpaca": loss on every answer."""
    if "conversations" in row:
        turns = [(turn["from"], turn["value"]) for turn in row["conversations"]]
        system = turns.pop(0)[1] if turns[0][0] == "system" else ""
        texts = [text for _role, text in turns]
    else:
        asked = "\n".join(filter(None, (row["instruction"], row["input"])))
        system, texts = "", [asked, row["output"]]
    ids: list[int] = []
    labels: list[int] = []
    before = system or SYSTEM
    for asked, answered in zip(texts[::2], texts[1::2], strict=True):
        prompt = f"{before}### Instruction:\n{asked}\n\n### Response:\n"
        source = tokenizer.encode(prompt, add_special_tokens=False)
        answer = tokenizer.encode(answered, add_special_tokens=False)
        target = [*answer, tokenizer.eos_token_id]
        target += tokenizer.encode("\n\n", add_special_tokens=False)
        ids += source + target
        labels += [IGNORED] * len(source) + target
        before = ""
    return ids, labels


# ── Axolotl ──────────────────────────────────────────────────────────────────────────────────

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
)


def check_axolotl(folder: Path, _stated: dict[str, Any], tokenizer: Any) -> Iterator[str]:
    """The entries of data.yaml by its own schema, and each row by the strategy that they name."""
    import yaml
    from axolotl.prompt_strategies import load
    from axolotl.prompt_tokenizers import AlpacaPromptTokenizingStrategy
    from axolotl.prompters import AlpacaPrompter
    from axolotl.utils.dict import DictDefault
    from axolotl.utils.schemas.datasets import SFTDataset

    config = DictDefault({"train_on_inputs": False, "sequence_len": 4096})
    for run, layout in (("plain", "alpaca"), ("turns", "chat_template")):
        home, count = folder / run / "axolotl", 0
        stated = yaml.safe_load((home / "data.yaml").read_text())
        for entry in stated["datasets"] + stated["test_datasets"]:
            assert SFTDataset.model_validate(entry).type == layout
            if layout == "alpaca":
                prompter = AlpacaPrompter(None)
                strategy = AlpacaPromptTokenizingStrategy(prompter, tokenizer, False, 4096)
            else:
                strategy = load(layout, tokenizer, config, DictDefault(entry))
            for row in rows_of(home / entry["path"]):
                made = strategy.tokenize_prompt(row)
                if layout == "alpaca":
                    ids, labels = axolotl_alpaca(tokenizer, row)
                else:
                    ids, labels = chat(tokenizer, row["messages"], every_answer=True)
                assert (made["input_ids"], made["labels"]) == (ids, labels), (made, ids, labels)
                count += 1
        yield f"Axolotl, {run} ({layout}): {count} rows, token ids and labels as expected"


def axolotl_alpaca(tokenizer: Any, row: dict[str, str]) -> tuple[list[int], list[int]]:
    """Alpaca's prompt as the paper has it: a row with an input says so."""
    input = f"### Input:\n{row['input']}\n\n" if row["input"] else ""
    prompt = f"### Instruction:\n{row['instruction']}\n\n{input}### Response:\n"
    prompt = (WITH_INPUT if row["input"] else SYSTEM) + prompt
    source = tokenizer.encode(prompt, add_special_tokens=False)
    target = [*tokenizer.encode(row["output"], add_special_tokens=False), tokenizer.eos_token_id]
    return source + target, [IGNORED] * len(source) + target


CHECKS = {
    "datasets": check_datasets,
    "trl": check_trl,
    "llama-factory": check_llama_factory,
    "axolotl": check_axolotl,
}


def main() -> None:
    folder = Path(sys.argv[1])
    stated = json.loads((folder / "stated.json").read_bytes())
    tokenizer = tokenizer_at(folder / "model")
    for name in sys.argv[2:]:
        for line in CHECKS[name](folder, stated, tokenizer):
            print(f"ok  {line}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
