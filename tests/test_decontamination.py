"""Evaluation texts in rows, against a search token by token.

Enters: made-up texts. Leaves: nothing. Knows no benchmark's rows.
"""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct import decontamination
from selfinstruct.decontamination import RUNS, Contamination, Decontamination, texts_of
from selfinstruct.languages import get_language

EN, ZH = get_language("en"), get_language("zh")


def of(texts: Sequence[str], n: int = 13, least: int = 8) -> Decontamination:
    tests = Decontamination(EN.tokenize, n, least)
    for i, text in enumerate(texts):
        tests.add(str(i), text)
    return tests


def by_definition(
    texts: Sequence[str], text: str, n: int, least: int
) -> tuple[str, list[str]] | None:
    """The longest run first, then the first place in the text, then the first evaluation text."""
    words = text.split()
    for length in range(n, least - 1, -1):
        for at in range(len(words) - length + 1):
            run = words[at : at + length]
            for i, other in enumerate(texts):
                theirs = other.split()
                places = range(len(theirs) - length + 1) if length == n else range(1)
                fits = length == n or len(theirs) == length
                if fits and any(theirs[j : j + length] == run for j in places):
                    return str(i), run
    return None


words = st.lists(st.sampled_from("abc"), max_size=14).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=6), words, st.integers(1, 5), st.integers(0, 3))
def test_find_is_the_search_of_every_run(
    texts: list[str], text: str, least: int, more: int
) -> None:
    found = of(texts, least + more, least).find(text)
    expected = by_definition(texts, text, least + more, least)
    assert (found and (found.id, found.shared.split())) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(words, max_size=5), words)
def test_hashes_that_all_collide_make_no_false_hit(texts: list[str], text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decontamination, "_BASE", 0)
        patch.setattr(decontamination, "_MIX", np.uint64(0))
        found = of(texts, 5, 3).find(text)
    assert (found and (found.id, found.shared.split())) == by_definition(texts, text, 5, 3)


QUESTION = (
    "A train leaves the station at noon and travels sixty miles an hour. When does it arrive?"
)


def test_thirteen_words_in_a_row_are_found_whatever_is_around_them() -> None:
    tests = of([QUESTION])
    run = "train leaves the station at noon and travels sixty miles an hour when"
    assert tests.find(f"Solve this: the {run.upper()}?! Now.") == Contamination("0", run)
    assert tests.find(run.replace("noon", "night")) is None
    assert tests.find(run.removesuffix(" when")) is None


def test_a_short_text_is_found_whole_or_not_at_all() -> None:
    tests = of(["Which planet is the largest one of all?", "What is the capital of France?"])
    assert len(tests) == 1, "six words are too few to mean anything"
    assert tests.find("which planet is the largest one of all") is not None
    assert tests.find("Say which planet is the largest one of all, in a word.") is not None
    assert tests.find("which planet is the largest one of") is None
    assert tests.find("What is the capital of France?") is None


def test_a_full_run_is_reported_before_a_short_text() -> None:
    short = "one two three four five six seven eight"
    tests = of([short, QUESTION])
    found = tests.find(f"{short} {QUESTION}")
    assert found is not None
    assert found.id == "1"


def test_texts_may_be_added_after_a_search() -> None:
    tests = of([])
    assert tests.find(QUESTION) is None
    tests.add("late", QUESTION)
    assert tests.find(QUESTION) is not None
    tests.add("later", QUESTION + " Again.")
    found = tests.find(QUESTION)
    assert found is not None
    assert found.id == "late"


def test_chinese_counts_characters() -> None:
    n, least = RUNS[ZH.unit]
    tests = Decontamination(ZH.tokenize, n, least)
    tests.add("c", "一列火车中午从车站出发，每小时行驶六十公里，问它什么时候到达终点？")
    found = tests.find("解题：一列火车中午从车站出发每小时行驶六十公里。")
    assert found == Contamination("c", "一列火车中午从车站出发每小时行驶六十公里")
    assert tests.find("一列火车中午从车站出发，每小时行驶六十") is None


@pytest.mark.parametrize(("n", "least"), [(13, 14), (13, 0), (0, 0)])
def test_lengths_that_make_no_sense_are_refused(n: int, least: int) -> None:
    with pytest.raises(ValueError, match="least"):
        Decontamination(EN.tokenize, n, least)


def test_every_language_has_its_lengths() -> None:
    assert {EN.unit, ZH.unit} <= RUNS.keys()
    assert all(1 <= least <= n for n, least in RUNS.values())


# ── rows of any layout ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "row",
    [
        {"question": "the question", "answer": "the answer", "id": "not this one"},
        {"Question": "the question", "Best Answer": "the answer", "category": "not this one"},
        {"instruction": "the question", "input": "", "output": "the answer", "source": "not this"},
        {"question": "the question", "choices": ["the answer", "no"], "subject": "not this one"},
        {
            "question": {"stem": "the question", "choices": [{"text": "the answer", "label": "A"}]},
            "split": "not this one",
        },
        {
            "messages": [
                {"role": "developer", "content": "the question"},
                {"role": "assistant", "content": [{"type": "not this one", "text": "the answer"}]},
            ]
        },
        {
            "conversations": [
                {"from": "assistant", "value": "the question"},
                {"value": "the answer"},
            ]
        },
        {"ctx": "the question", "endings": ("the answer", "b"), "ind": 24},
        {"question": "the question", "A": "the answer", "B": None, "C": 3, "D": 0.5},
        {"prompt": "the question", "canonical-solution": "the answer", "test": "not this one"},
        {
            "question": "the question",
            "answers": {"text": ["the answer", "the answer"], "start": [1]},
        },
    ],
)
def test_question_and_answer_are_taken_from_any_layout(row: dict[str, Any]) -> None:
    assert texts_of(row) == ["the question", "the answer"]


def test_a_row_nested_more_deeply_than_calls_may_be() -> None:
    row: Any = "the question"
    for _ in range(100_000):
        row = [row]
    assert texts_of({"question": row}) == ["the question"]
    # Taken apart by hand: Python frees deep lists, but hypothesis and pytest print them.
    while isinstance(row, list):
        row = row.pop()


def test_docstring_examples() -> None:
    result = doctest.testmod(decontamination)
    assert result.attempted > 0
    assert result.failed == 0
