"""Whole trainings of tiny models: what they learn, what they leave, how they go on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch

from selfinstruct.errors import DiskError, TrainingFailed, UsageError
from selfinstruct.records import Example, Task
from selfinstruct.train.bases import load_model, load_tokenizer
from selfinstruct.train.batches import Collator, keeps_packed_rows_apart
from selfinstruct.train.checks import make_encoder
from selfinstruct.train.encode import EncodedRow, Row
from selfinstruct.train.loading import load
from selfinstruct.train.prepare import PACKING
from selfinstruct.train.presets import get_preset
from selfinstruct.train.running import train
from selfinstruct.train.settings import Settings
from selfinstruct.train.sources import read_source
from tests.cli import environment, run
from tests.scripted_server import ROOT
from tests.tiny_models import CHATML, llama_config, make_base, tokenizer

torch.set_num_threads(1)
# Two libraries warn of what the one below them deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"), bos=True)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 questions with answers of different lengths, in two languages."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    return write_rows(
        path,
        [
            {
                "id": f"r{n}",
                "instruction": f"Add {n} to one.",
                "input": "",
                "output": f"{n + 1}. " * (n % 7 + 1),
            }
            for n in range(40)
        ]
        + [{"instruction": f"{n}加一等于几？", "output": f"等于{n + 1}。"} for n in range(20)],
    )


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(rows: Path, base: Path, out: Path, /, **changed: Any) -> Settings:
    """A short full training, with changes to the preset or else to the settings."""
    names = {"method", "template", "batch", "learning_rate", "lora_r", "max_tokens", "embeddings"}
    preset = get_preset("default").changed(
        **{"method": "full", "template": "ziya", "batch": 16, "max_tokens": 96}
        | {name: value for name, value in changed.items() if name in names}
    )
    others = {name: value for name, value in changed.items() if name not in names}
    given = {"steps": 6, "validation": 0.1, **others}
    return Settings(str(rows), str(base), out, preset, **given)


def trained(made: Settings) -> tuple[dict[str, Any], list[float]]:
    """(figures, the loss of each step)."""
    figures = train(made, lambda _line: None, lambda _prepared: None)
    return figures, losses(made.out)


def losses(out: Path) -> list[float]:
    lines = (out / "loss.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["step"] for entry in entries] == list(range(1, len(entries) + 1))
    return [entry["loss"] for entry in entries]


# ── learning ─────────────────────────────────────────────────────────────────────────────────


def test_fifty_rows_can_be_learnt_by_heart(base: Path, tmp_path: Path) -> None:
    rows = [{"instruction": f"Number {n}?", "output": f"It is {n * 37 % 100}."} for n in range(50)]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    made = settings(
        path, base, tmp_path / "out", batch=50, learning_rate=2e-2, steps=200, validation=0
    )
    _figures, found = trained(made)
    assert found[0] > 5
    assert found[-1] < 0.05
    model, made_tokenizer, template = load(str(tmp_path / "out"))
    encoder, _notices = make_encoder(made_tokenizer, template, 96)
    prompt = encoder.prompt(Example(Task("Number 7?", "", "")))
    answer = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0]
    said = answer[len(prompt) :].tolist()
    assert encoder.tokens.decode(said) == "It is 59.</s>", "it answers, and stops by itself"


@pytest.fixture(scope="module")
def padded(base: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of a training without packing, one row at a time."""
    out = tmp_path_factory.mktemp("padded") / "out"
    return trained(settings(rows, base, out, pack=False, device_batch=1))[1]


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("device_batch", [3, 16])
def test_packing_and_batching_change_nothing_but_the_speed(
    base: Path, rows: Path, tmp_path: Path, padded: list[float], pack: bool, device_batch: int
) -> None:
    made = settings(rows, base, tmp_path / "out", pack=pack, device_batch=device_batch)
    figures, found = trained(made)
    assert found == pytest.approx(padded, abs=2e-5)
    assert figures["items"] < 6 * 16 if pack else figures["items"] > 80


@pytest.mark.parametrize("architecture", sorted(PACKING))
@pytest.mark.parametrize("flat", [True, False])
def test_packed_rows_have_the_logits_that_they_have_alone(architecture: str, flat: bool) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    made = tokenizer()
    size = llama_config(len(made)).to_dict()
    for name in ("model_type", "architectures", "transformers_version", "head_dim"):
        size.pop(name, None)
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **size)
    model = AutoModelForCausalLM.from_config(config).eval()
    encoder, _notices = make_encoder(made, "ziya", 96)
    texts = ["The Nile.", "Lake Victoria and others.", "长江"]
    examples = [Example(Task(text, "", text[::-1])) for text in texts]
    found = encoder.encode([Row(str(n), "", "f", e) for n, e in enumerate(examples)]).rows
    collator = Collator(encoder.tokens.pad, packed=True, flat=flat, multiple=8)
    batch = collator([[found[0], found[1]], [found[2]]])
    del batch["labels"]
    with torch.no_grad():
        together = model(**batch, use_cache=False).logits
        for row, (line, start) in zip(found, places(found, flat=flat), strict=True):
            alone = model(input_ids=torch.tensor([row.ids.tolist()])).logits[0]
            same = together[line, start : start + len(row)]
            torch.testing.assert_close(same, alone, atol=1e-5, rtol=1e-4)
    assert keeps_packed_rows_apart(model, found, collator)


def places(found: list[EncodedRow], *, flat: bool) -> Iterator[tuple[int, int]]:
    """Where the rows of two items, of two and one, lie in a batch: (line, start)."""
    first, second = len(found[0]), len(found[0]) + len(found[1])
    yield from [(0, 0), (0, first), (0, second) if flat else (1, 0)]


def test_bloom_is_padded_and_adapts_its_one_projection(rows: Path, tmp_path: Path) -> None:
    base = make_base(tmp_path / "bloom", architecture="bloom")
    made = settings(rows, base, tmp_path / "out", method="lora", learning_rate=5e-3)
    figures, found = trained(made)
    assert not figures["packed"]
    assert found[-1] < found[0]
    adapter = json.loads((tmp_path / "out" / "adapter_config.json").read_bytes())
    assert adapter["target_modules"] == ["query_key_value"]
    with pytest.raises(UsageError, match=r"bloom: packed rows would see each other .*--no-pack"):
        trained(settings(rows, base, tmp_path / "other", method="lora", pack=True))


# ── what is left ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("merge", [True, False])
def test_the_folder_loads_with_plain_transformers(
    base: Path, rows: Path, tmp_path: Path, merge: bool
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "out"
    made = settings(
        rows, base, out, method="lora", learning_rate=3e-2, steps=12, merge=merge, command="typed"
    )
    figures, _losses = trained(made)
    assert (out / "adapter_config.json").exists() is not merge
    plain = AutoModelForCausalLM.from_pretrained(out).eval()
    stored = AutoTokenizer.from_pretrained(out)
    model, _tokenizer, template = load(str(out))
    assert template == "ziya"
    text = stored.apply_chat_template(
        [{"role": "user", "content": "Hi."}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<human>:Hi.\n<bot>:"
    ids = torch.tensor([stored(text, add_special_tokens=False).input_ids])
    with torch.no_grad():
        before = load_model(str(base)).eval()(ids).logits
        torch.testing.assert_close(plain(ids).logits, model(ids).logits)
        assert not torch.allclose(before, model(ids).logits, atol=1e-2), "it has learnt something"
    assert plain.generation_config.eos_token_id == 2 or not merge
    card = (out / "README.md").read_text()
    assert "typed" in card
    assert f"| zh | {figures['held_out']['zh']} |" in card
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    held = figures["held_out_before"]
    assert set(held) == {"en", "zh"}
    assert all(figures["held_out_after"][lang] < held[lang] for lang in held)
    left = {path.name for path in out.iterdir()}
    assert not {name for name in left if name.startswith(".")}, "nothing half-written is left"
    assert "checkpoints" not in left


def test_embeddings_are_trained_when_the_preset_says_so(
    base: Path, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = settings(rows, base, out, method="lora", embeddings=True, learning_rate=1e-2, merge=True)
    trained(made)
    before, after = (load_model(str(path)).get_input_embeddings().weight for path in (base, out))
    assert not torch.equal(before, after)


def test_a_chat_template_of_the_bases_own_is_kept(rows: Path, tmp_path: Path) -> None:
    base = make_base(tmp_path / "chat", chat=CHATML)
    trained(settings(rows, base, tmp_path / "out", template=""))
    model, made, template = load(str(tmp_path / "out"))
    assert (template, made.chat_template) == ("chat", CHATML)
    ends = made.convert_tokens_to_ids(["</s>", "<|im_end|>"])
    assert model.generation_config.eos_token_id == ends


@pytest.mark.local
@pytest.mark.skipif("SELFINSTRUCT_SLOW" not in os.environ, reason="SELFINSTRUCT_SLOW=1: a minute")
def test_the_embedded_model_can_be_trained(rows: Path, tmp_path: Path) -> None:
    from selfinstruct.providers.local import find_model

    try:
        gguf = find_model()
    except UsageError:
        pytest.skip("the embedded model is not installed")
    out = tmp_path / "out"
    changed: dict[str, Any] = {"method": "lora", "template": "", "steps": 1, "batch": 2}
    figures, found = trained(settings(rows, gguf, out, **changed, validation=0))
    assert found[0] < 8
    assert figures["merged"]
    model, made, template = load(str(out))
    assert (template, model.config.model_type) == ("chat", "llama")
    assert model.get_input_embeddings().num_embeddings == len(made)


# ── going on ─────────────────────────────────────────────────────────────────────────────────

KILLED = """
import os, signal
from selfinstruct.train import folder
complete = folder.Folder.complete
def killed(self, step):
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    complete(self, step)
folder.Folder.complete = killed
from selfinstruct.__main__ import main
main()
"""


def options(made: Settings) -> list[str]:
    """The same training for the command line."""
    preset = made.preset
    given = {
        "--base": made.base, "--out": made.out, "--method": preset.method,
        "--template": preset.template, "--batch": preset.batch, "--max-tokens": preset.max_tokens,
        "--learning-rate": preset.learning_rate, "--steps": made.steps,
        "--validation": made.validation, "--device-batch": made.device_batch,
        "--save-every": made.save_every or 100,
    }  # fmt: skip
    return ["train", made.source, *(str(part) for pair in given.items() for part in pair)]


def test_a_killed_training_goes_on_as_if_nothing_had_been(
    base: Path, rows: Path, tmp_path: Path
) -> None:
    changed: dict[str, Any] = {"method": "lora", "learning_rate": 1e-2, "save_every": 2}
    _figures, undisturbed = trained(settings(rows, base, tmp_path / "whole", **changed))
    made = settings(rows, base, tmp_path / "out", **changed)
    child = subprocess.run(
        [sys.executable, "-c", KILLED, *options(made)],
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1"),
        capture_output=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    # Killed in the checkpoint of step 4: that of step 2 is the last that is whole.
    assert losses(made.out) == undisturbed[:4]
    with pytest.raises(UsageError, match=r"holds a training already .*--resume"):
        trained(made)
    lines: list[str] = []
    resumed = settings(rows, base, tmp_path / "out", **changed, resume=True)
    train(resumed, lines.append, lambda _prepared: None)
    assert "going on from checkpoint-2" in lines
    assert losses(made.out) == undisturbed
    assert train(resumed, lines.append, lambda _prepared: None)["steps"] == 6
    assert "nothing to go on with" in lines[-1]


def test_a_stopped_training_says_how_to_go_on(base: Path, rows: Path, tmp_path: Path) -> None:
    code = KILLED.replace("SIGKILL", "SIGTERM").replace("step == 4", "step == 2")
    made = settings(rows, base, tmp_path / "out", save_every=1)
    child = subprocess.run(
        [sys.executable, "-c", code, *options(made)],
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 143, child.stderr
    assert "interrupted; --resume goes on from checkpoint-1" in child.stderr


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")]
)
def test_a_full_disk_is_said_as_such(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_arguments: Any, **_more: Any) -> None:
        raise error

    made = settings(rows, base, tmp_path / "out", steps=2, save_every=1)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(DiskError, match=r"cannot write .*out: .*--resume"):
            trained(made)
    trained(replace(made, resume=True))


def test_another_training_is_not_gone_on_with(base: Path, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    trained(settings(rows, base, out, steps=1))
    with pytest.raises(UsageError, match=r"batch, steps differ \(batch: 16 there, 8 here\)"):
        trained(settings(rows, base, out, batch=8, steps=2, resume=True))


def test_a_folder_with_something_else_in_it_is_left_alone(
    base: Path, rows: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        trained(settings(rows, base, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_two_processes_have_the_losses_of_one(
    base: Path, rows: Path, tmp_path: Path, padded: list[float]
) -> None:
    made = settings(rows, base, tmp_path / "out", pack=False, device_batch=3, save_every=3)
    # What `accelerate launch` starts for GPUs; of CPUs it starts several only by MPI.
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launch += ["-m", "selfinstruct.train", *options(made)[1:], "--no-pack"]
    done = subprocess.run(
        [sys.executable, *launch],
        cwd=ROOT,
        env=environment(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert losses(made.out) == pytest.approx(padded, abs=2e-5)
    assert "2 devices × 3 × 3" in done.stderr, done.stderr
    for line in ("step 6/6", "mean loss"):
        assert done.stderr.count(line) == 1, "the main process speaks alone"
    figures = json.loads((made.out / "training.json").read_bytes())["figures"]
    assert (figures["devices"], figures["steps"]) == (2, 6)


# ── going wrong ──────────────────────────────────────────────────────────────────────────────


def test_a_loss_that_is_no_number_stops_with_the_step(
    base: Path, rows: Path, tmp_path: Path
) -> None:
    made = settings(rows, base, tmp_path / "out", learning_rate=1e20, steps=10)
    with pytest.raises(TrainingFailed, match=r"step \d: the (loss|gradient) is (nan|inf)"):
        trained(made)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_too_little_memory_names_the_setting_to_change(tmp_path: Path) -> None:
    import resource

    base = make_base(tmp_path / "wide", width=1 << 16)
    long = [{"instruction": f"Go on from {n}.", "output": "word " * 99} for n in range(32)]
    rows = write_rows(tmp_path / "rows.jsonl", long)
    changed: dict[str, Any] = {"batch": 32, "device_batch": 32, "validation": 0, "pack": False}
    made = settings(rows, base, tmp_path / "out", **changed)

    def restrict() -> None:
        limit = 3 << 30
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    done = run(*options(made), "--no-pack", env=environment(OMP_NUM_THREADS="1"), before=restrict)
    assert done.code == 2
    assert "out of memory: try --device-batch 16 (a step keeps its 32 rows)" in done.complaint


# ── the command ──────────────────────────────────────────────────────────────────────────────


def test_the_command_shows_what_it_would_train_on(base: Path, rows: Path, tmp_path: Path) -> None:
    made = settings(rows, base, tmp_path / "out")
    done = run(*options(made), "--dry-run", "--show", "1", env=environment(OMP_NUM_THREADS="1"))
    assert done.code == 0, done.err
    assert "<human>:Add 0 to one." in done.out
    assert "<bot>:⟦1. </s>⟧" in done.out
    assert "rows held out" in done.err
    assert "6 steps of 16 rows" in done.err
    assert not made.out.exists()


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; sys.argv[0] = 'selfinstruct'\n"
    code += "from selfinstruct.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "x", "--base", "y", "--out", str(tmp_path / "z")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "training needs torch (type: pip install 'selfinstruct[train]')" in done.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            '{"instruction": "a", "output": "b"}\n{"instruction": 7, "output": "b"}\n',
            ":2: 'instruc",
        ),
        ('{"text": "a"}\n', ":1: no known layout has the fields 'text'"),
        ('{"instruction": "a", "output": ""}\n', ":1: the answer is empty"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(
    base: Path, tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(UsageError, match=f"rows.jsonl{complaint}"):
        trained(settings(path, base, tmp_path / "out", validation=0))


def test_any_language_can_be_trained(tmp_path: Path) -> None:
    text = "Der Fluss fließt langsam durch die Stadt und mündet schließlich in das Meer."
    path = write_rows(tmp_path / "a.jsonl", [{"instruction": text, "output": text}])
    assert [row.lang for row in read_source(str(path))] == ["de"]
    stated = write_rows(tmp_path / "b.jsonl", [{"lang": "fr", "instruction": "a", "output": "b"}])
    assert [row.lang for row in read_source(str(stated), ["fr"])] == ["fr"]


@pytest.mark.parametrize(
    "flag", ["--epochs inf", "--learning-rate inf", "--seed -1", "--seed 4294967296"]
)
def test_figures_that_are_none_are_refused(flag: str, tmp_path: Path) -> None:
    name, value = flag.split()
    done = run("train", "x", "--base", "y", "--out", tmp_path / "z", name, value)
    assert done.code == 2
    assert name in done.complaint


def test_a_base_that_is_none_is_refused(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no model folder"):
        trained(settings(rows, tmp_path, tmp_path / "out"))
    with pytest.raises(UsageError, match="is no file"):
        trained(settings(rows, tmp_path / "a.gguf", tmp_path / "out"))
    base = make_base(tmp_path / "base")
    with pytest.raises(UsageError, match="--max-tokens 600: the base's positions end at 512"):
        trained(settings(rows, base, tmp_path / "out", max_tokens=600))
    tokenizer(chat=CHATML).save_pretrained(base)
    with pytest.raises(UsageError, match="they do not belong together"):
        trained(settings(rows, base, tmp_path / "out"))


def test_a_run_directory_is_read_language_by_language(
    base: Path, rows: Path, tmp_path: Path
) -> None:
    done = run("import", rows, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    figures, _losses = trained(
        settings(tmp_path / "run", base, tmp_path / "out", langs=("zh",), validation=0, steps=1)
    )
    assert figures["rows"] == 20
    with pytest.raises(UsageError, match=r"no rows in fr \(languages: en, zh\)"):
        trained(settings(tmp_path / "run", base, tmp_path / "other", langs=("fr",)))


def test_what_help_names_is_what_there_is() -> None:
    from selfinstruct.cli.training import PRESET_NAMES, TEMPLATE_NAMES
    from selfinstruct.train.presets import PRESETS
    from selfinstruct.train.templates import NAMES

    assert ", ".join(PRESETS) == PRESET_NAMES
    assert ", ".join(NAMES) == TEMPLATE_NAMES


def test_the_launchers_configs_are_such() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    folder = ROOT / "selfinstruct" / "train" / "configs"
    found = {path.stem: load_config_from_file(str(path)) for path in folder.glob("*.yaml")}
    kinds = {name: config.distributed_type.value for name, config in found.items()}
    assert kinds == {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}
    assert found["fsdp"].fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT"


def test_an_unreadable_tokenizer_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="no tokenizer could be read"):
        load_tokenizer(str(tmp_path))
