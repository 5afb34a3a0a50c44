"""What a model's training says of itself, and which rows it has not seen.

Enters: a trained folder, and perhaps a file of rows. Leaves: rows to ask the model. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from selfinstruct.errors import UsageError
from selfinstruct.exporting.choice import fraction
from selfinstruct.train.comparison import Loss
from selfinstruct.train.encode import Row
from selfinstruct.train.folder import Folder
from selfinstruct.train.sources import digest, read_source, split

Say = Callable[[str], None]


def silence(_line: str) -> None:
    """Nobody listens."""


class About(NamedTuple):
    """What a model's training says of itself; "" and nothing for a model that was not trained here.

    base, source: absolute paths. rows: the digest of the source. losses: of all held-out rows.
    """

    base: str = ""
    source: str = ""
    langs: Sequence[str] = ()
    validation: float = 0.0
    rows: str = ""
    losses: Sequence[Loss] = ()


def about(model_dir: str) -> About:
    """Raises UsageError when it cannot be read."""
    stored = Folder(Path(model_dir)).stored()
    if not stored.get("complete"):
        return About()
    trained, figures = stored["fingerprint"], stored["figures"]
    before, after = figures["held_out_before"], figures["held_out_after"]
    return About(
        base=stored["base"],
        source=stored.get("source", ""),
        langs=tuple(stored.get("langs", ())),
        validation=trained["validation"],
        rows=trained["rows"],
        losses=[
            Loss(lang, figures["held_out"][lang], loss, after[lang])
            for lang, loss in before.items()
        ],
    )


def held_out(trained: About, data: str = "", say: Say = silence) -> list[Row]:
    """The rows of `data` (the training's own source where it names none) that were not trained on.

    Another file than the training's loses the questions that were; when the training's own is gone,
    nobody can tell, and that is said. Raises UsageError for none.
    """
    source = data or trained.source
    if not source:
        raise UsageError("no training says which rows it held out", hint="--data names rows")
    if not data and not Path(source).exists():
        raise UsageError(f"{source}, trained on, is no longer there", hint="--data names rows")
    rows = read_source(source, trained.langs)
    if digest(rows) == trained.rows or source == trained.source:
        rows = split(rows, trained.validation)[1]
    elif trained.source and Path(trained.source).exists():
        learned = split(read_source(trained.source, trained.langs), trained.validation)[0]
        known = {fraction(row.example) for row in learned}
        rows = [row for row in rows if fraction(row.example) not in known]
    else:
        say(f"note: nobody knows whether the rows of {source} were trained on")
    if not rows:
        raise UsageError(f"{source}: every row was trained on", hint="--data names other rows")
    return rows
