"""Rows as the model will see them, for a person to check: what is trained stands out.

Enters: encoded rows. Leaves: rich text. On a terminal the trained tokens are green; elsewhere they
stand in ⟦⟧.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from selfinstruct.train.encode import EncodedRow
from selfinstruct.train.tokens import Tokens


def print_rows(console: Console, rows: Sequence[EncodedRow], tokens: Tokens, count: int) -> None:
    """A few rows, spread over all."""
    every = max(1, len(rows) // count)
    for row in rows[::every][:count]:
        text = Text()
        for part, trained in parts(row, tokens):
            if trained and not console.is_terminal:
                part = f"⟦{part}⟧"
            text.append(part, style="bold green" if trained else "")
        learned = int(row.trained.sum())
        title = f"{row.id}: {len(row)} tokens, {learned} trained{', cut' if row.cut else ''}"
        console.print(Panel(text, title=Text(title), title_align="left"))


def parts(row: EncodedRow, tokens: Tokens) -> list[tuple[str, bool]]:
    """A row's text in stretches that are trained or not; every token is in one of them."""
    pairs = zip(row.ids.tolist(), row.trained.tolist(), strict=True)
    return [
        (tokens.decode([id for id, _trained in group]), trained)
        for trained, group in groupby(pairs, key=lambda pair: pair[1])
    ]
