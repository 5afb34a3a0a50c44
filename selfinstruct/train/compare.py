"""Before and after: the same held-out questions, asked of a base and of what was trained from it.

rows = held_out(about("models/alpaca-7b"))
comparison = compare("models/base", "models/alpaca-7b", rows)
page = html(comparison)

Enters: two models and rows. Leaves: a Comparison, as a page or for the terminal. Both models are
asked with the trained template, as the training measured them; one is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from selfinstruct.errors import UsageError
from selfinstruct.formats.format import question
from selfinstruct.records import Example
from selfinstruct.train.answers import GREEDY, Answer, Sampling, answers, row_losses
from selfinstruct.train.comparison import Comparison, Pair, Side, losses_of, printable
from selfinstruct.train.encode import Row
from selfinstruct.train.held_out import About, Say, about, held_out, silence
from selfinstruct.train.page import html
from selfinstruct.train.speaker import ADAPTER, Speaker, get_speaker

__all__ = ["About", "Comparison", "about", "compare", "held_out", "html", "terminal"]


def compare(
    base: str,
    tuned: str,
    examples: Iterable[Row],
    *,
    n: int = 20,
    template: str = "",
    sampling: Sampling = GREEDY,
    say: Say = silence,
) -> Comparison:
    """Ask both models `n` of the examples, spread over all languages. template: "" for the one that
    `tuned` was trained with. Raises UsageError."""
    if not Path(base).exists():
        raise UsageError(f"the base {base} is not there", hint="--base says where it is")
    adapter = (Path(tuned) / ADAPTER).is_file()
    speaker = get_speaker(tuned, base=base if adapter else "", template=template)
    name, limit = speaker.template, speaker.encoder.max_tokens
    rows = _chosen(speaker, list(examples), n)
    say(f"asking {tuned}: {len(rows)} questions")
    after = _sides(speaker, rows, sampling)
    # Its memory is needed for the other one.
    del speaker
    say(f"asking {base}: {len(rows)} questions")
    before = _sides(get_speaker(base, template=name, max_tokens=limit), rows, sampling)
    pairs = [Pair(*each) for each in zip(rows, before, after, strict=True)]
    drawn = f"temperature {sampling.temperature:g}, top-p {sampling.top_p:g}"
    how = f"{drawn if sampling.temperature else 'greedy'}, {sampling.max_tokens} tokens at most"
    return Comparison(base, tuned, name, how, pairs, losses_of(pairs))


def with_losses(comparison: Comparison, trained: About) -> Comparison:
    """The same with the losses that the training measured, over all the rows that it held out."""
    if not trained.losses:
        return comparison
    count = sum(loss.rows for loss in trained.losses)
    over = f"the {count:,} rows that the training held out"
    return replace(comparison, losses=trained.losses, over=over)


def terminal(comparison: Comparison) -> RenderableType:
    """The comparison for a terminal: losses, then a panel for each question."""
    table = Table(title=Text(f"Loss of an answer's token, over {comparison.over}"))
    for name in ("language", "rows", "before", "after"):
        table.add_column(name, justify="left" if name == "language" else "right")
    for loss in comparison.losses:
        table.add_row(
            Text(printable(loss.lang)), f"{loss.rows:,}", f"{loss.before:.4f}", f"{loss.after:.4f}"
        )
    return Group(table, *map(_panel, comparison.pairs))


def _panel(pair: Pair) -> Panel:
    said = [Text(printable(text), style="dim") for text in _earlier(pair.row.example)]
    asked = Text(printable(question(pair.row.example.task)), style="bold")
    sides = Table.grid(expand=True, padding=(0, 2))
    for style in ("", "green"):
        sides.add_column(ratio=1, style=style)
    sides.add_row(*(_titled(name, side) for name, side in zip(
        ("before", "after"), (pair.before, pair.after), strict=True)))  # fmt: skip
    sides.add_row(*(Text(printable(side.text)) for side in (pair.before, pair.after)))
    title = Text(printable(f"{pair.row.id} {pair.row.lang}".strip()))
    return Panel(Group(*said, asked, Text(), sides), title=title, title_align="left")


def _titled(name: str, side: Side) -> Text:
    cut = "" if side.ended else f", cut at {side.tokens} tokens"
    return Text(f"{name} (loss {side.loss:.2f}{cut})", style="dim")


def _earlier(example: Example) -> list[str]:
    """What was said before the question."""
    system = [example.system] if example.system else []
    return system + [text for turn in example.history for text in turn]


def _chosen(speaker: Speaker, rows: Sequence[Row], n: int) -> list[Row]:
    """`n` rows at even distances, ordered by language: each language has its share. Rows that could
    not have been trained on (no answer, no room for one) are passed over."""
    encoded = speaker.encoder.encode(rows, skip_empty=True)
    dropped = {row.place for row in encoded.dropped}
    able = sorted((row for row in rows if row.place not in dropped), key=lambda row: row.lang)
    if not able:
        reasons = ", ".join(f"{count} {reason}" for reason, count in encoded.reasons.items())
        raise UsageError(f"no row can be asked: {reasons}")
    count = min(n, len(able))
    return [able[number * len(able) // count] for number in range(count)]


def _sides(speaker: Speaker, rows: Sequence[Row], sampling: Sampling) -> list[Side]:
    said = answers(speaker, [row.example for row in rows], sampling)
    encoded = speaker.encoder.encode(rows, skip_empty=True).rows
    if len(encoded) < len(rows):
        raise UsageError(f"{speaker.path}: a question leaves no room for an answer")
    losses = row_losses(speaker, encoded)
    return [_side(*each) for each in zip(said, losses, strict=True)]


def _side(answer: Answer, loss: tuple[float, int]) -> Side:
    return Side(answer.text, answer.tokens, answer.ended, loss[0] / loss[1], own_tokens=loss[1])
