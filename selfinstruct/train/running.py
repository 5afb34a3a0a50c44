"""One training from start to end: transformers' Trainer over our rows, and what is left of it.

Enters: Settings. Leaves: a folder that plain transformers loads, and the figures of the training.
Every process of a distributed training runs this; the main one writes and speaks.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import PrinterCallback, Trainer, TrainingArguments

from selfinstruct.errors import Interrupted, UsageError
from selfinstruct.train.bases import check_vocabulary, load_for_training
from selfinstruct.train.batches import Collator, Items, keeps_packed_rows_apart, token_loss
from selfinstruct.train.checks import stored_chat_template
from selfinstruct.train.finish import finish
from selfinstruct.train.folder import Folder, disk_error
from selfinstruct.train.prepare import Prepared, opening_lines, prepare
from selfinstruct.train.schedule import spread
from selfinstruct.train.settings import Settings
from selfinstruct.train.watching import Say, Watcher

# Checkpoints of a training, unless the user says how often.
_CHECKPOINTS = 10


def train(settings: Settings, say: Say, show: Callable[[Prepared], None]) -> dict[str, Any]:
    """Train, and return the figures: those of `Prepared.figures`, then what came of it.

    say: a line for people. show: prints rows with what is trained of them. Raises UsageError,
    TrainingFailed, DiskError.
    """
    _quieten()
    if settings.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs tensorboard", hint="type: pip install tensorboard")
    main = int(os.environ.get("RANK", "0")) == 0
    say = say if main else _silence
    prepared = prepare(settings, devices=int(os.environ.get("WORLD_SIZE", "1")))
    folder = Folder(settings.out)
    folder.check(prepared.fingerprint, resume=settings.resume)
    stored = folder.stored()
    if stored.get("complete"):
        say(f"{settings.out} is complete: nothing to go on with")
        return dict(stored["figures"])
    for line in opening_lines(prepared, settings):
        say(line)
    if main and settings.show:
        show(prepared)
    if settings.dry_run:
        return prepared.figures()
    arguments = _arguments(prepared, settings, folder)
    # No process writes before all have looked: they would find what another has written.
    _wait(arguments)
    if main:
        folder.begin(prepared.fingerprint, prepared.dropped)
    try:
        with _terminable():
            return _run(prepared, settings, folder, arguments, say)
    except (torch.OutOfMemoryError, RuntimeError, MemoryError, OSError, SafetensorError) as error:
        if _is_of_the_disk(error):
            reason = OSError(0, getattr(error, "strerror", "") or str(error).partition("\n")[0])
            raise disk_error(folder.path, reason) from error
        if not _is_out_of_memory(error):
            raise
        raise UsageError(f"out of memory: {_smaller(prepared, settings)}") from None
    except KeyboardInterrupt as error:
        last = folder.last_checkpoint()
        raise Interrupted(
            f"interrupted; --resume goes on from {last.name if last else 'the start'}",
            signal_number=signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT,
        ) from None


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """In the block SIGTERM, by which schedulers take a machine back, ends as Ctrl-C does."""

    def terminate(_number: int, _frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(
    prepared: Prepared, settings: Settings, folder: Folder, arguments: Any, say: Say
) -> dict[str, Any]:
    begun = time.monotonic()
    collator = _collator(prepared)
    attention = "flash_attention_2" if collator.flat else None
    # The adapters' first values are random, too.
    transformers.set_seed(settings.seed)
    model = load_for_training(
        prepared.base, settings.preset, sharded=_sharded(arguments), attention=attention
    )
    _check_model(model, prepared, collator, arguments)
    _align(model, prepared)
    watcher = Watcher(
        folder, say, prepared.step_tokens, prepared.held_out, collator, settings.device_batch
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=collator,
        train_dataset=Items(prepared.rows.rows, spread(prepared.steps, prepared.layout.slots)),
        compute_loss_func=token_loss,
        callbacks=[watcher],
    )
    trainer.remove_callback(PrinterCallback)
    watcher.trainer = trainer
    last = folder.last_checkpoint() if settings.resume else None
    if settings.resume:
        say(f"going on from {last.name}" if last else "no checkpoint yet: from the start")
    result = trainer.train(resume_from_checkpoint=str(last) if last else None)
    figures = {
        **prepared.figures(),
        "loss": result.training_loss,
        "held_out_before": watcher.before,
        "held_out_after": watcher.after,
        "seconds": round(time.monotonic() - begun, 1),
        "device": _device(),
        "devices": prepared.layout.devices,
    }
    finish(trainer, prepared, settings, folder, figures)
    return figures


def _arguments(prepared: Prepared, settings: Settings, folder: Folder) -> Any:
    preset, layout = settings.preset, prepared.layout
    gpu = torch.cuda.is_available()
    every = settings.save_every or max(1, -(-len(prepared.steps) // _CHECKPOINTS))
    arguments = TrainingArguments(
        output_dir=str(folder.checkpoints),
        per_device_train_batch_size=layout.device_batch,
        gradient_accumulation_steps=layout.accumulation,
        max_steps=len(prepared.steps),
        learning_rate=preset.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=preset.warmup,
        weight_decay=preset.weight_decay,
        bf16=gpu,
        use_cpu=not gpu,
        activation_checkpointing=settings.recompute,
        train_sampling_strategy="sequential",
        use_cache=False,  # With a cache packed rows would see each other.
        remove_unused_columns=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=every,
        # The one before the last too: a kill may come while the last is written.
        save_total_limit=2,
        report_to=["tensorboard"] if settings.tensorboard else [],
        disable_tqdm=True,
        log_level="error",
        seed=settings.seed,
        dataloader_pin_memory=gpu,
        ddp_find_unused_parameters=False,
    )
    # Several GPUs without a launcher: one is used, not torch's old DataParallel.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _collator(prepared: Prepared) -> Collator:
    from transformers.utils import is_flash_attn_2_available

    gpu = torch.cuda.is_available()
    flat = prepared.pack and gpu and is_flash_attn_2_available()
    pad = prepared.encoder.tokens.pad
    return Collator(pad, packed=prepared.pack, flat=flat, multiple=8 if gpu else 1)


def _check_model(model: Any, prepared: Prepared, collator: Collator, arguments: Any) -> None:
    """Raises UsageError for a model that does not fit its tokenizer, or cannot be packed for."""
    check_vocabulary(model, prepared.encoder.tokens.tokenizer)
    # A sharded model has no weights of its own to try it with.
    if not prepared.pack or _sharded(arguments) or collator.flat:
        return
    if not keeps_packed_rows_apart(model, prepared.rows.rows, collator):
        raise UsageError(
            f"{model.config.model_type}: packed rows would see each other", hint="use --no-pack"
        )


def _align(model: Any, prepared: Prepared) -> None:
    """What is stored with the model: how it is asked, and where it stops."""
    tokens = prepared.encoder.tokens
    tokens.tokenizer.chat_template = stored_chat_template(prepared.encoder)
    stops = sorted(tokens.stops)
    model.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]
    model.generation_config.pad_token_id = tokens.pad


def _sharded(arguments: Any) -> bool:
    """Whether the processes share one model between them, by FSDP or DeepSpeed."""
    return bool(arguments.fsdp or arguments.deepspeed_plugin) or any(
        os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("true", "1")
        for name in ("FSDP", "DEEPSPEED")
    )


def _wait(arguments: Any) -> None:
    if arguments.world_size > 1:
        arguments.distributed_state.wait_for_everyone()


def _device() -> str:
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"CPU, {torch.get_num_threads()} threads"


def _is_of_the_disk(error: BaseException) -> bool:
    """Whether a write failed: torch's writer and that of safetensors have errors of their own."""
    if isinstance(error, OSError | SafetensorError):
        return True
    return any(phrase in str(error) for phrase in ("PytorchStreamWriter", "unexpected pos"))


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(phrase in str(error) for phrase in ("out of memory", "can't allocate memory"))


def _smaller(prepared: Prepared, settings: Settings) -> str:
    """The one setting to change next; the rows of a step stay the same."""
    taken = prepared.layout.device_batch
    if taken > 1:
        return f"try --device-batch {taken // 2} (a step keeps its {settings.preset.batch} rows)"
    if not settings.recompute:
        return "try --recompute (activations are computed twice instead of being kept)"
    if settings.preset.method == "full":
        return "try --method lora, or several GPUs with configs/fsdp.yaml"
    return f"try --max-tokens {settings.preset.max_tokens // 2}"


def _silence(_line: str) -> None:
    """The other processes say nothing."""


def _quieten() -> None:
    """The libraries' own bars and warnings are for their developers; failures still raise."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(torch|transformers|peft|accelerate)\b")
