"""The index for files against the pool that reads one text after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import process
from rouge_score.rouge_scorer import RougeScorer

from selfinstruct import dedup
from selfinstruct.dedup import NoveltyPool
from selfinstruct.languages import get_language
from selfinstruct.novelty import Neighbour, rouge
from selfinstruct.novelty.rouge import RougeIndex
from selfinstruct.novelty.segment import least_overlap, least_partner

# Few words: texts share many of them, repeat some, and are often near the threshold.
TEXTS = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=14).map(" ".join), max_size=40)
THRESHOLDS = st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.75, 0.9, 1.0])


def one_by_one(
    known: Sequence[str], texts: Sequence[str], threshold: float
) -> list[Neighbour | None]:
    """The pool's decisions."""
    pool = NoveltyPool(str.split, threshold)
    for number, text in enumerate(known):
        pool.add(f"known-{number}", text)
    found: list[Neighbour | None] = []
    for number, text in enumerate(texts):
        nearest = pool.nearest(text)
        if nearest is None or not pool.is_duplicate(nearest.rouge_l):
            pool.add(str(number), text)
            found.append(None)
        else:
            found.append(Neighbour(nearest.id, nearest.rouge_l))
    return found


def in_parts(
    known: Sequence[str], texts: Sequence[str], threshold: float, sizes: Sequence[int]
) -> list[Neighbour | None]:
    """The index's decisions, asked for in calls of these sizes, then the rest at once."""
    index = RougeIndex(str.split, threshold)
    index.add([f"known-{number}" for number in range(len(known))], known)
    found: list[Neighbour | None] = []
    for size in (*sizes, len(texts)):
        start = len(found)
        part = texts[start : start + size]
        found += index.decide([str(start + i) for i in range(len(part))], part)
    assert len(index) == len(known) + found.count(None)
    return found


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS, THRESHOLDS, st.lists(st.integers(0, 9), max_size=6))
def test_it_decides_as_the_pool_does_however_it_is_asked(
    known: list[str], texts: list[str], threshold: float, sizes: list[int]
) -> None:
    assert in_parts(known, texts, threshold, sizes) == one_by_one(known, texts, threshold)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(1, 20), st.integers(1, 3), st.integers(0, 9))
def test_the_sizes_of_its_parts_change_nothing(
    texts: list[str], batch: int, growth: int, many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rouge, "_BATCH", batch)
        patch.setattr(rouge, "_GROWTH", growth)
        patch.setattr(rouge, "_PAIRS", 2)
        patch.setattr(rouge, "_MANY", many)
        patch.setattr("selfinstruct.novelty.segment._POSTINGS", 3)
        small = in_parts([], texts, 0.7, [])
    assert small == in_parts([], texts, 0.7, [])


def test_rows_of_one_template_are_not_all_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each repeats the first: that much is to be found out, not which of the rest are alike."""
    verified = 0
    cpdist = process.cpdist

    def counted(lefts: Sequence[str], *others: Any, **options: Any) -> Any:
        nonlocal verified
        verified += len(lefts)
        return cpdist(lefts, *others, **options)

    monkeypatch.setattr(process, "cpdist", counted)
    count = 3 * rouge._BATCH
    texts = [f"Say why the number {n} is not a prime number at all." for n in range(count)]
    found = RougeIndex(str.split).decide([str(n) for n in range(count)], texts)
    assert {nearest and nearest.id for nearest in found[1:]} == {"0"}
    assert verified < 100 * count


def test_of_a_text_without_end_the_beginning_is_compared() -> None:
    long = "one two three four five " * (rouge.LONGEST // 24 + 1)
    texts = [long + "six " * 100_000, long + "seven " * 100_000, "six seven"]
    assert RougeIndex(str.split).decide(["0", "1", "2"], texts) == [None, Neighbour("0", 1.0), None]


def test_it_agrees_with_rouge_score() -> None:
    tokenize = get_language("en").tokenize
    texts = [
        f"{verb} the {thing} that a {who} left near the {place}"
        for verb in ("Describe", "Draw up", "Describe briefly")
        for thing in ("old clock", "clock", "red bicycle")
        for who in ("sailor", "nurse")
        for place in ("harbour gate", "gate")
    ]
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    kept: list[tuple[str, str]] = []
    expected: list[Neighbour | None] = []
    for number, text in enumerate(texts):
        scores = [scorer.score(other, text)["rougeL"].fmeasure for _, other in kept]
        if scores and max(scores) > 0.7:
            expected.append(Neighbour(kept[scores.index(max(scores))][0], max(scores)))
        else:
            expected.append(None)
            kept.append((str(number), text))
    found = RougeIndex(tokenize).decide([str(n) for n in range(len(texts))], texts)
    assert found == expected
    assert None in found
    assert found.count(None) < len(found)


@pytest.mark.parametrize(
    ("shared", "own", "others", "repeats"),
    [(7, 0, 6, True), (7, 3, 3, False), (7, 2, 4, True), (14, 6, 6, False), (14, 5, 6, True)],
)
def test_the_boundary_is_the_float_of_rouge_score(
    shared: int, own: int, others: int, repeats: bool
) -> None:
    """L = 7, m = 7, n = 13 gives 0.7000000000000001; 7 of 10 and 10 gives 0.7, which is kept."""
    first = " ".join([f"w{i}" for i in range(shared)] + [f"a{i}" for i in range(own)])
    second = " ".join([f"w{i}" for i in range(shared)] + [f"b{i}" for i in range(others)])
    found = RougeIndex(str.split).decide(["0", "1"], [first, second])
    assert (found[1] is not None) == repeats
    assert found == one_by_one([], [first, second], 0.7)


def test_texts_without_tokens_repeat_nothing() -> None:
    assert RougeIndex(str.split).decide(["0", "1", "2"], ["", "a b c d", ""]) == [None, None, None]


def test_more_tokens_than_unicode_has_code_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "_LAST_CODE_POINT", 10)
    texts = ["a b c d e f g h i j k l m n", "a b c d e f g h i j k l m o", "a b c", "a b c"]
    found = in_parts([], texts, 0.7, [1])
    assert [neighbour and neighbour.id for neighbour in found] == [None, "0", None, "2"]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_none(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        RougeIndex(str.split, threshold)


@given(st.floats(0.01, 0.99), st.integers(1, 300), st.integers(1, 300))
def test_no_pair_above_the_threshold_is_out_of_bounds(threshold: float, m: int, n: int) -> None:
    for lcs in range(1, min(m, n) + 1):
        p, r = lcs / n, lcs / m
        if 2 * p * r / (p + r) > threshold:
            assert lcs >= least_overlap(threshold, np.array([m + n]))[0]
            assert n >= least_partner(threshold, np.array([m]))[0]
            break
