"""Where the files of an export go, and where they may not.

Enters: a format, what is exported and `--out`. Leaves: a path for each language and split. Looks at
the disk, changes nothing on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from selfinstruct.errors import UsageError
from selfinstruct.exporting.choice import Choice
from selfinstruct.exporting.exporter import Exporter
from selfinstruct.exports import RECORDS
from selfinstruct.journal import NAME as JOURNAL

FOLDER = "export"
Part = tuple[str, str]  # language, split


def destinations(
    directory: Path,
    exporter: Exporter,
    out: Path | None,
    langs: Sequence[str],
    choice: Choice,
    stamp: str,
) -> tuple[Path, dict[Part, Path]]:
    """(the folder, the file of each language and split in it). Raises UsageError."""
    parts = [(lang, split) for lang in langs for split in choice.splits]
    if out is not None and len(parts) == 1 and not exporter.is_folder and not out.is_dir():
        folder, paths = out.parent, {parts[0]: out}
    else:
        folder = _folder(directory, exporter, out, langs, choice)
        paths = {part: folder / exporter.file_name(*part, choice, stamp) for part in parts}
    for path in paths.values():
        _refuse(path, folder)
    if exporter.is_folder:
        _refuse_foreign_folder(folder, exporter)
    return folder, paths


def _folder(
    directory: Path, exporter: Exporter, out: Path | None, langs: Sequence[str], choice: Choice
) -> Path:
    folder = directory / FOLDER if out is None else out
    if out is None and exporter.is_folder:
        folder /= exporter.name
    if folder.exists() and not folder.is_dir():
        several = exporter.name if exporter.is_folder else ", ".join(langs)
        if len(langs) == 1 and choice.validation:
            several = " and ".join(choice.splits)
        raise UsageError(
            f"{folder} is a file; {several} need a folder",
            hint="name a folder, or one language with --lang",
        )
    return folder


def _refuse(path: Path, folder: Path) -> None:
    # A mistyped --out must not cost a journal, nor the rows that the manifest vouches for.
    if any(
        (place / name).exists() for place in {path.parent, folder} for name in (JOURNAL, RECORDS)
    ):
        raise UsageError(f"{path} is among the files of a run; choose another place")
    # /dev/stdout and its like would be renamed over.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is not a plain file")


def _refuse_foreign_folder(folder: Path, exporter: Exporter) -> None:
    """A folder that has files but not ours might be anything: a checkout, a data folder."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    companion = folder / exporter.companion
    try:
        ours = exporter.mark.encode() in companion.read_bytes()
    except OSError:
        ours = False
    if not ours:
        raise UsageError(
            f"{folder} holds other files than a {exporter.name} export", hint="name a new folder"
        )
