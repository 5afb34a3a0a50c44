"""The folder that a training writes: what is in it, and how it gets there whole.

Enters: bytes, figures, checkpoints. Leaves: files that are there or not, never half. Knows no
torch.

    training.json   what the training is, and at its end its figures
    loss.jsonl      a line a step
    dropped.jsonl   the rows that were not trained on, with reasons
    checkpoints/    each with a file COMPLETE once all of it is on disk
    and at the end the model, its tokenizer, README.md, loss.png
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from selfinstruct.errors import DiskError, UsageError
from selfinstruct.train.encode import Dropped
from selfinstruct.train.settings import differences

TRAINING = "training.json"
LOSSES = "loss.jsonl"
DROPPED = "dropped.jsonl"
CHECKPOINTS = "checkpoints"
_COMPLETE = "COMPLETE"
_FINAL = ".final"


class Folder:
    """The output folder of one training."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    @property
    def final(self) -> Path:
        """Where the finished model is put together before it is published."""
        return self.path / _FINAL

    def stored(self) -> dict[str, Any]:
        """training.json, {} when there is none. Raises UsageError when it cannot be read."""
        path = self.path / TRAINING
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from None
        return found if isinstance(found, dict) else {}

    def check(self, fingerprint: Mapping[str, Any], *, resume: bool) -> None:
        """Whether a training may write here. Raises UsageError."""
        stored = self.stored()
        if not stored:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise UsageError(
                    f"--out: {self.path} holds something else", hint="name another folder"
                )
            return
        if not resume:
            raise UsageError(
                f"--out: {self.path} holds a training already",
                hint="--resume goes on with it; else name another folder",
            )
        other = differences(stored["fingerprint"], fingerprint)
        if other:
            name = other[0]
            raise UsageError(
                f"--resume: {self.path} holds another training: {', '.join(other)} differ "
                f"({name}: {stored['fingerprint'].get(name)} there, {fingerprint[name]} here)"
            )

    def begin(self, fingerprint: Mapping[str, Any], dropped: Iterable[Dropped]) -> None:
        """Write what is known before the first step. Raises DiskError."""
        self.write_json(TRAINING, {**self.stored(), "fingerprint": dict(fingerprint)})
        lines = [json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in dropped]
        self.write(DROPPED, "".join(lines).encode("utf-8", "backslashreplace"))

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
        self.write(name, text.encode("utf-8", "backslashreplace"))

    def write(self, name: str, content: bytes) -> None:
        """A file whole: temporary name, fsync, rename. Raises DiskError."""
        path = self.path / name
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise disk_error(path, error) from error

    def last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint; those that a kill left half-written are removed."""
        if not self.checkpoints.is_dir():
            return None
        found = {}
        for path in self.checkpoints.glob("checkpoint-*"):
            if (path / _COMPLETE).exists():
                found[int(path.name.rpartition("-")[2])] = path
            else:
                shutil.rmtree(path, ignore_errors=True)
        return found[max(found)] if found else None

    def complete(self, step: int) -> None:
        """Every file of a checkpoint is written: it may be gone on from."""
        path = self.checkpoints / f"checkpoint-{step}"
        for file in path.rglob("*"):
            if file.is_file():
                _sync(file)
        self.write(f"{CHECKPOINTS}/{path.name}/{_COMPLETE}", b"")

    def publish(self) -> None:
        """Put the files of the finished model into their places. Raises DiskError."""
        try:
            for file in sorted(self.final.iterdir()):
                _sync(file)
            for file in sorted(self.final.iterdir()):
                file.replace(self.path / file.name)
            self.final.rmdir()
            _sync(self.path)
        except OSError as error:
            raise disk_error(self.path, error) from error

    def remove_checkpoints(self) -> None:
        """A finished training is not gone on with, and optimizers are large."""
        for path in self.checkpoints.glob("checkpoint-*"):
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.checkpoints.rmdir()


def disk_error(path: Path, error: OSError) -> DiskError:
    """A write that failed; what to do next is the same everywhere."""
    return DiskError(
        f"cannot write {path}: {error.strerror}",
        hint="free some space, then run the same command with --resume",
    )


def _sync(path: Path) -> None:
    """What is in a file or a folder survives a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
