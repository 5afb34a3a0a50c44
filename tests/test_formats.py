"""Row layouts, both ways: recognised by their fields, read, written, and told what is wrong."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import selfinstruct.formats as formats
from selfinstruct.formats import FORMATS, Format, alpaca_row, question, recognise
from selfinstruct.records import Example, Task

RIVER = Task("Name a river.", "", "The Nile.")
ADD = Task("Add.", "1 + 1", "2")
SOURCE = Example(Task("And its source?", "", "Lake Victoria."), (("Name a river.", "The Nile."),))
BRIEF = Example(RIVER, (), "Be brief.")

MODULES = sorted(module.name for module in pkgutil.iter_modules(formats.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_every_layout_shows_an_input_and_an_output(name: str) -> None:
    done = doctest.testmod(
        importlib.import_module(f"selfinstruct.formats.{name}"),
        optionflags=doctest.NORMALIZE_WHITESPACE,
    )
    assert done.attempted
    assert not done.failed


def test_the_doors_are_shown_too() -> None:
    assert doctest.testmod(formats).failed == 0


# ── recognising ──────────────────────────────────────────────────────────────────────────────


def human(*says: str) -> list[dict[str, str]]:
    """Turns as ShareGPT has them, the human's first."""
    return [{"from": ("human", "gpt")[k % 2], "value": text} for k, text in enumerate(says)]


ROWS: list[tuple[str, dict[str, Any], Example]] = [
    ("alpaca", {"instruction": "Add.", "input": "1 + 1", "output": "2"}, Example(ADD)),
    ("alpaca", {"instruction": "Name a river.", "output": "The Nile."}, Example(RIVER)),
    (
        "alpaca",
        {"instruction": "Name a river.", "input": None, "output": "The Nile.", "text": "…"},
        Example(RIVER),
    ),
    (
        "alpaca",
        {
            "instruction": "And its source?",
            "input": "",
            "output": "Lake Victoria.",
            "history": [["Name a river.", "The Nile."]],
        },
        SOURCE,
    ),
    (
        "alpaca",
        {**alpaca_row(RIVER), "history": None, "system": "Be brief."},
        BRIEF,
    ),
    # A task about labels is not a conversation.
    (
        "alpaca",
        {"instruction": "Human: what does this label mean?", "input": "", "output": "You."},
        Example(Task("Human: what does this label mean?", "", "You.")),
    ),
    ("belle-0.5m", {"input": "Name a river.", "target": "The Nile."}, Example(RIVER)),
    (
        "belle-multiturn",
        {
            "instruction": "Human:Name a river.\nAssistant:The Nile.\n"
            "Human:And its source?\nAssistant:",
            "input": "",
            "output": "Lake Victoria.",
        },
        SOURCE,
    ),
    (
        "belle-conversations",
        {
            "id": "7",
            "conversations": [
                {"from": "human", "value": "Name a river."},
                {"from": "assistant", "value": "The Nile."},
            ],
        },
        Example(RIVER),
    ),
    (
        "sharegpt",
        {"conversations": human("Name a river.", "The Nile.", "And its source?", "Lake Victoria.")},
        SOURCE,
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "user", "value": "Name a river."},
                {"from": "assistant", "value": "The Nile."},
            ]
        },
        BRIEF,
    ),
    (
        "messages",
        {
            "prompt": "Name a river.",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Name a river."},
                {"role": "assistant", "content": "The Nile."},
            ],
        },
        BRIEF,
    ),
    (
        "trl",
        {
            "prompt": [
                {"role": "user", "content": "Name a river."},
                {"role": "assistant", "content": "The Nile."},
                {"role": "user", "content": "And its source?"},
            ],
            "completion": [{"role": "assistant", "content": "Lake Victoria."}],
        },
        SOURCE,
    ),
    ("trl", {"prompt": "Name a river.", "completion": "The Nile."}, Example(RIVER)),
    (
        "ziya",
        {
            "task": "chat",
            "prompt": ["Name a river.", "And its source?"],
            "output": ["The Nile.", "Lake Victoria."],
        },
        SOURCE,
    ),
    ("chatllama", {"user_input": "Name a river.", "completion": "The Nile."}, Example(RIVER)),
]


@pytest.mark.parametrize(("name", "fields", "example"), ROWS)
def test_a_row_is_recognised_and_read(name: str, fields: dict[str, Any], example: Example) -> None:
    layout = recognise(fields)
    assert layout is FORMATS[name]
    assert layout.read(fields) == example


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": "The Nile."},
        {"instruction": "Name a river."},
        {"prompt": "Name a river.", "chosen": "The Nile.", "rejected": "Kenya."},
        {"prompt": "Name a river.", "output": "The Nile."},
        # It would lose its instruction.
        {"instruction": "Add.", "input": "1 + 1", "target": "2"},
    ],
)
def test_other_rows_are_not_taken_for_ours(fields: dict[str, Any]) -> None:
    assert recognise(fields) is None


# ── what is wrong ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "fields", "problem"),
    [
        ("alpaca", {"instruction": "Add."}, "no 'output'"),
        ("alpaca", {"instruction": 7, "output": "2"}, "'instruction' is not text but a number"),
        ("alpaca", {"instruction": "A", "output": None}, "'output' is not text but null"),
        ("alpaca", {"instruction": "A", "input": [], "output": "B"}, "'input' is not text but a"),
        ("alpaca", {**alpaca_row(ADD), "history": "x"}, "'history' is not a list but text"),
        ("alpaca", {**alpaca_row(ADD), "history": [["a"]]}, "exchange 1 of 'history' is not a pai"),
        ("alpaca", {**alpaca_row(ADD), "history": [["a", 1]]}, "exchange 1 of 'history' is not a"),
        ("alpaca", {**alpaca_row(ADD), "history": ["ab"]}, "exchange 1 of 'history' is not a pair"),
        ("belle-0.5m", {"input": "A"}, "no 'target'"),
        ("chatllama", {"user_input": "A", "completion": {}}, "'completion' is not text but an obj"),
        ("belle-multiturn", {"instruction": "A", "output": "B"}, "does not begin with 'Human:'"),
        (
            "belle-multiturn",
            {"instruction": "Human:A\nAssistant:B", "output": "C"},
            "does not end with 'Assistant:'",
        ),
        (
            "belle-multiturn",
            {"instruction": "Human:A\nHuman:B\nAssistant:", "output": "C"},
            "two user turns in a row",
        ),
        (
            "belle-multiturn",
            {"instruction": "Human:A\nAssistant:", "input": "B", "output": "C"},
            "'input' is not empty",
        ),
        ("sharegpt", {}, "no 'conversations'"),
        ("sharegpt", {"conversations": None}, "'conversations' is not a list but null"),
        ("sharegpt", {"conversations": []}, "no turns"),
        ("sharegpt", {"conversations": ["A"]}, "turn 1 is not an object but text"),
        ("sharegpt", {"conversations": [{"value": "A"}]}, "turn 1 has no 'from'"),
        ("sharegpt", {"conversations": [{"from": "human"}]}, "turn 1 has no 'value'"),
        (
            "sharegpt",
            {"conversations": [*human("A"), {"from": "gpt", "value": 1}]},
            "'value' of turn 2 is not text but a number",
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "tool", "value": "A"}]},
            "turn 1 is said by 'tool', not by one of system, ",
        ),
        ("sharegpt", {"conversations": human("A")}, "no answer: the last turn is the user's"),
        ("sharegpt", {"conversations": human("A", "B", "C")}, "no answer: the last turn is the"),
        ("sharegpt", {"conversations": human("A", "B")[1:]}, "an answer comes before any question"),
        ("sharegpt", {"conversations": human("A")[:1] * 2}, "two user turns in a row"),
        (
            "sharegpt",
            {"conversations": human("A", "B") + human("", "C")[1:]},
            "two assistant turns in a row",
        ),
        (
            "sharegpt",
            {"conversations": [*human("A", "B"), {"from": "system", "value": "C"}]},
            "a system turn that is not the first",
        ),
        ("messages", {"messages": [{"role": "user"}]}, "turn 1 has no 'content'"),
        ("messages", {"messages": [{"role": "user", "content": [1]}]}, "'content' of turn 1 is no"),
        ("messages", {"messages": [{"role": ["user"], "content": "A"}]}, "'role' of turn 1 is not"),
        ("trl", {"prompt": "A", "completion": []}, "'completion' is not text but a list"),
        ("trl", {"prompt": []}, "no 'completion'"),
        ("trl", {"prompt": [], "completion": []}, "no turns"),
        ("ziya", {"prompt": ["A"], "output": []}, "1 turns in 'prompt' but 0 in 'output'"),
        ("ziya", {"prompt": [], "output": []}, "no turns"),
        ("ziya", {"prompt": ["A"], "output": [0]}, "a turn of the assistant is not text but a n"),
    ],
)
def test_what_is_wrong_is_said(name: str, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError) as raised:
        FORMATS[name].read(fields)
    assert problem in str(raised.value)


@pytest.mark.parametrize("name", ["belle-1m", "belle-0.5m", "chatllama"])
def test_one_exchange_has_no_place_for_several(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no place for earlier turns"):
        FORMATS[name].row("id", SOURCE)


@pytest.mark.parametrize(
    "name", ["belle-1m", "belle-0.5m", "belle-multiturn", "belle-conversations", "ziya"]
)
def test_a_system_message_is_not_lost(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no place for a system message"):
        FORMATS[name].row("id", BRIEF)


@pytest.mark.parametrize("asked", ["What is\nAssistant: here?", "Human:", "A\nHuman:B"])
def test_a_line_that_looks_like_a_turn_is_not_written_as_one(asked: str) -> None:
    with pytest.raises(ValueError, match="a line that begins with its labels"):
        FORMATS["belle-multiturn"].row("id", Example(Task(asked, "", "B")))
    with_label = Example(Task("A", "", "Human:\nAssistant:B"))
    assert FORMATS["belle-multiturn"].row("id", with_label)["output"] == "Human:\nAssistant:B"


# ── both ways ────────────────────────────────────────────────────────────────────────────────

TEXT = st.text(st.characters() | st.sampled_from("\n:\u2028\ud800HumanAssistant"), max_size=20)
HELD: dict[str, tuple[bool, bool]] = {  # several turns, a system message
    "alpaca": (True, True),
    "belle-1m": (False, False),
    "belle-0.5m": (False, False),
    "belle-multiturn": (True, False),
    "belle-conversations": (True, False),
    "sharegpt": (True, True),
    "messages": (True, True),
    "trl": (True, True),
    "ziya": (True, False),
    "chatllama": (False, False),
}


@st.composite
def held(draw: st.DrawFn) -> tuple[Format, Example]:
    """A layout and an example that it has a place for."""
    layout = FORMATS[draw(st.sampled_from(sorted(HELD)))]
    turns, system = HELD[layout.name]
    history = draw(st.lists(st.tuples(TEXT, TEXT), max_size=3)) if turns else []
    task = draw(st.builds(Task, TEXT, TEXT, TEXT))
    return layout, Example(task, tuple(history), draw(TEXT) if system else "")


def flat(example: Example, layout: Format) -> Example:
    """What is left of an example where the question is one text."""
    if layout.name in ("alpaca", "belle-1m"):
        return example
    task = Task(question(example.task), "", example.task.output)
    return Example(task, example.history, example.system)


def test_every_layout_is_in_the_tests_of_both_ways() -> None:
    assert HELD.keys() == FORMATS.keys()


@given(held())
def test_what_is_written_is_read_back(pair: tuple[Format, Example]) -> None:
    layout, example = pair
    try:
        row = layout.row("id-7", example)
    except ValueError:
        assert layout.name == "belle-multiturn"
        return
    again = layout.read(row)
    assert again == flat(example, layout)
    assert layout.row("id-7", again) == row
    known = recognise(row)
    assert known is not None
    assert known.read(row) == again, "a recognised row is read as if its layout had been named"
