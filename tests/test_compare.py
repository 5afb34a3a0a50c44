"""Before and after: which rows are asked, what is measured, a page that nothing breaks out of."""

from __future__ import annotations

import io
import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from selfinstruct.errors import UsageError
from selfinstruct.records import Example, Task
from selfinstruct.train.compare import About, about, compare, held_out, html, terminal
from selfinstruct.train.comparison import Comparison, Loss, Pair, Side, losses_of, printable
from selfinstruct.train.encode import Row
from selfinstruct.train.sources import read_source, split
from selfinstruct.train.speaker import get_speaker
from tests.cli import run
from tests.tuned_models import ENV, Tuned, make_tuned, write_rows

torch.set_num_threads(1)
# Two libraries warn of what the one below them deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

ROWS = (
    [
        {
            "id": f"en-{n}",
            "instruction": f"Name river {n}.",
            "input": "",
            "output": "The <b>Nile</b>.",
        }
        for n in range(24)
    ]
    + [
        {"id": f"zh-{n}", "instruction": f"说出第{n}条河的名字。", "input": "", "output": "长江。"}
        for n in range(24)
    ]
    + [
        # Longer than a row may be: the answer is cut.
        {"id": f"long-{n}", "instruction": f"Tell of river {n}.", "output": "It flows on. " * 60}
        for n in range(8)
    ]
)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """An adapter of one step, and rows in two languages."""
    folder = tmp_path_factory.mktemp("rivers")
    return make_tuned(folder, ROWS, steps=4, template="alpaca", learning_rate=0.02)


# ── which rows ───────────────────────────────────────────────────────────────────────────────


def ids(rows: list[Row]) -> set[str]:
    return {row.id for row in rows}


def test_the_rows_of_the_training_that_it_held_out(tuned: Tuned) -> None:
    trained = about(str(tuned.model))
    rows = held_out(trained)
    assert ids(rows) == ids(split(read_source(str(tuned.rows)), 0.25)[1])
    assert 0 < len(rows) < len(ROWS)
    assert {row.lang for row in rows} == {"en", "zh"}


def test_another_file_loses_what_was_trained_on(tuned: Tuned, tmp_path: Path) -> None:
    trained = about(str(tuned.model))
    own = ids(held_out(trained))
    new = [{"instruction": f"Name lake {n}.", "input": "", "output": "Baikal."} for n in range(9)]
    other = str(write_rows(tmp_path / "other.jsonl", [*reversed(ROWS), *new]))
    found = held_out(trained, other)
    # A row without a name is called by its place.
    assert ids(found) == own | {f"{other}:{len(ROWS) + n}" for n in range(1, 10)}
    # The same rows elsewhere are the same rows, also where the training's file is gone.
    copy = str(write_rows(tmp_path / "copy.jsonl", ROWS))
    gone = trained._replace(source=str(tmp_path / "gone.jsonl"))
    assert ids(held_out(gone, copy)) == own
    said: list[str] = []
    assert len(held_out(gone, other, said.append)) == len(ROWS) + 9
    assert said == [f"note: nobody knows whether the rows of {other} were trained on"]


def test_no_rows_is_said_in_a_line(tuned: Tuned, tmp_path: Path) -> None:
    trained = about(str(tuned.model))
    learned = [row for row in ROWS if row["id"] not in ids(held_out(trained))]
    cases = [
        (About(), "", "no training says which rows it held out"),
        (trained._replace(source=str(tmp_path / "gone")), "", "is no longer there"),
        (trained._replace(validation=0.0), "", "every row was trained on"),
        (trained, str(write_rows(tmp_path / "l.jsonl", learned)), "every row was trained on"),
    ]
    for case, data, expected in cases:
        with pytest.raises(UsageError, match=rf"{expected}.*--data names"):
            held_out(case, data)
    assert about(str(tuned.base)) == About()


# ── what is measured ─────────────────────────────────────────────────────────────────────────


def test_its_losses_over_all_rows_are_those_of_the_training(tuned: Tuned) -> None:
    trained = about(str(tuned.model))
    found = compare(str(tuned.base), str(tuned.model), held_out(trained), n=99)
    assert (found.template, found.langs) == ("alpaca", ["en", "zh"])
    for mine, theirs in zip(losses_of(found.pairs), trained.losses, strict=True):
        assert mine[:2] == theirs[:2]
        assert mine[2:] == pytest.approx(theirs[2:], rel=1e-4)
        assert mine.after < mine.before
    assert any(pair.row.id.startswith("long") for pair in found.pairs)
    assert [pair.before.text for pair in found.pairs] != [pair.after.text for pair in found.pairs]


def test_every_language_has_its_share(tuned: Tuned) -> None:
    rows = held_out(about(str(tuned.model)))
    empty = Row("empty", "en", "f:1", Example(Task("Say nothing.", "", " ")))
    long = Row("long", "en", "f:2", Example(Task("river " * 400, "", "No.")))
    found = compare(str(tuned.base), str(tuned.model), [empty, long, *rows], n=6)
    counts = Counter(pair.row.lang for pair in found.pairs)
    assert sum(counts.values()) == 6
    for lang, all_of_it in Counter(row.lang for row in rows).items():
        assert abs(counts[lang] - 6 * all_of_it / len(rows)) < 1
    with pytest.raises(UsageError, match="no row can be asked: 1 empty_answer, 1 prompt_too_long"):
        compare(str(tuned.base), str(tuned.model), [empty, long])


def test_an_adapter_finds_its_base_where_it_has_moved(tuned: Tuned, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    tuned.base.rename(moved)
    try:
        with pytest.raises(UsageError, match=r"is no longer there \(--base says where it is\)"):
            get_speaker(str(tuned.model))
        assert get_speaker(str(tuned.model), base=str(moved)).template == "alpaca"
        with pytest.raises(UsageError, match=r"the base .* is not there \(--base says"):
            compare(str(tuned.base), str(tuned.model), [])
    finally:
        moved.rename(tuned.base)


# ── what is shown ────────────────────────────────────────────────────────────────────────────


class Page(HTMLParser):
    """What a browser would make of a page: its elements, attributes and visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self._open = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(name for name, _value in attrs)
        self._open = "text" in (dict(attrs).get("class") or "").split()
        if self._open:
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[-1] += data


def comparison(said: str, name: str = "models/x") -> Comparison:
    """A comparison in which everything that anybody says is `said`."""
    row = Row(said, said, said, Example(Task(said, said, said), ((said, said),), said))
    pair = Pair(row, Side(said, 3, False, 2.5, 4), Side(said, 3, True, 1.5, 4))
    other = pair._replace(row=Row("r2", "zh", "f:2", Example(Task("问？", "", "答。"))))
    losses = [Loss(said, 1, 2.5, 1.5)]
    return Comparison(name, name, "alpaca", "greedy", [pair, other], losses)


PLAIN = Page(html(comparison("x")))
HOSTILE = [
    "</div>",
    "<script>",
    "'",
    '"',
    "&amp;",
    "</style>",
    "<!--",
    "-->",
    "]]>",
    "{",
    "$x",
    "\0",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), min_size=1).map("".join))
def test_whatever_is_said_stays_text(said: str) -> None:
    said = f"x{said}".replace("\r", "")
    page = Page(html(comparison(said, name=said)).encode("utf-8", "replace").decode())
    assert page.elements == PLAIN.elements
    assert page.attributes == PLAIN.attributes
    shown = printable(said).encode("utf-8", "replace").decode()
    assert page.texts.count(shown) == PLAIN.texts.count("x") == 10


def test_the_page_needs_nothing_else() -> None:
    assert not PLAIN.elements & {"script", "link", "img", "iframe", "form", "base", "object"}
    assert not PLAIN.attributes & {"src", "href", "action", "style", "srcset"}
    page = html(comparison("x"))
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "@import" not in page


def test_a_terminal_is_not_driven_by_what_is_said() -> None:
    console = Console(width=100, file=io.StringIO())
    console.print(terminal(comparison("[red]\x1b[31m\x07x[/red]")))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]�[31m�x[/red]" in shown
    assert "cut at 3 tokens" in shown


# ── the command ──────────────────────────────────────────────────────────────────────────────


def test_a_trained_folder_is_enough(tuned: Tuned) -> None:
    done = run("compare", tuned.model, "--n", "4", "--max-tokens", "6", "--json", env=ENV)
    assert done.code == 0, done.err
    found = done.json
    assert {row["lang"] for row in found["rows"]} == {"en", "zh"}
    assert {row["id"] for row in found["rows"]} <= ids(held_out(about(str(tuned.model))))
    figures = json.loads((tuned.model / "training.json").read_bytes())["figures"]
    assert {loss["lang"]: loss["after"] for loss in found["losses"]} == figures["held_out_after"]
    assert (
        found["losses_over"]
        == f"the {sum(figures['held_out'].values())} rows that the training held out"
    )
    page = Path(found["page"])
    assert page == tuned.model / "before_after.html"
    assert "The &lt;b&gt;Nile&lt;/b&gt;." in page.read_text("utf-8")


def test_a_model_that_was_not_trained_here_asks_for_its_base(tuned: Tuned) -> None:
    done = run("compare", tuned.base, "--data", tuned.rows, "--json", env=ENV)
    assert done.code == 2
    assert "does not say what it was trained from (--base names that model)" in done.complaint
    assert done.json["exit_code"] == 2
    assert not (tuned.base / "before_after.html").exists()
