"""The manifest: what a run directory holds, how it was made, and what it took.

Enters: a run's counts. Leaves: `manifest.json`, checked so that candidates = kept + Σ rejected.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from selfinstruct.errors import UsageError
from selfinstruct.exports import MANIFEST


class Manifest(BaseModel):
    """`manifest.json`. Derived: delete it and the same command writes it again.

    requests: decided (judged), paid (200s received), sent and failed (attempts). tokens: the
    provider's own counts over every paid reply, cached ones being part of the prompt's; doubtful:
    the most that attempts without an answer may have taken on top; and all of it for each kept row.
    cost: USD, None while a price is unknown. endpoints: what each one took. seconds: time spent
    generating, all processes. languages: kept, candidates and requests of each. files: rows and
    SHA-256 by name. journal_bytes: size of the journal when this was written. imported: the files
    that the rows were read from, where they were not generated; there is no journal then.
    """

    model_config = ConfigDict(frozen=True)

    manifest_version: int = 1
    complete: bool
    n: int | None
    kept: int
    candidates: int
    rejected: dict[str, int]
    unusable_replies: dict[str, int]
    languages: dict[str, dict[str, int]]
    requests: dict[str, int]
    tokens: dict[str, int]
    tokens_per_kept_row: float | None = None
    cost: dict[str, Any] | None = None
    endpoints: list[dict[str, Any]] = []
    seconds: float
    started_at: str
    files: dict[str, dict[str, Any]]
    journal_bytes: int
    fingerprint: dict[str, Any]
    config: dict[str, Any]
    versions: dict[str, str]
    imported: list[dict[str, Any]] = []

    @field_validator("tokens", mode="before")
    @classmethod
    def _of_before(cls, value: object) -> object:
        """Manifests of before these were counted say nothing of them."""
        return {"cached": 0, "doubtful": 0, **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _adds_up(self) -> Manifest:
        if self.candidates != self.kept + sum(self.rejected.values()):
            raise ValueError("candidates must equal kept + rejected")
        return self


def read_manifest(directory: Path) -> Manifest | None:
    """The directory's manifest, None when there is none. Raises UsageError when it is broken."""
    path = directory / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError:
        raise UsageError(
            f"{path} is not a manifest that this version reads",
            hint="it is derived: delete it and run the same command again",
        ) from None


def is_imported(directory: Path) -> bool:
    """Whether the rows of a directory were read from files. Raises UsageError."""
    manifest = read_manifest(directory)
    return manifest is not None and bool(manifest.imported)
