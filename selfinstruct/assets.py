"""The texts that ship with the package: seeds and prompts.

Enters: a name. Leaves: a path: in a wheel below `selfinstruct/_data`, in a checkout at the top.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def asset_path(*parts: str, folder: Path | None = None) -> Path:
    """Path of a shipped file such as asset_path("seeds", "en.jsonl"); it may not exist.

    folder: where another package keeps its own.
    """
    shipped = _PACKAGE / "_data"
    root = folder or (shipped if shipped.is_dir() else _PACKAGE.parent)
    return root.joinpath(*parts)
