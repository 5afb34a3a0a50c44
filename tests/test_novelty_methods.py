"""The near-duplicate methods against their definitions, through `get_method`.

Enters: small made-up texts. Leaves: nothing. Knows none of the methods' insides.
"""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from selfinstruct.errors import UsageError
from selfinstruct.languages import get_language
from selfinstruct.novelty import METHODS, Index, Means, Neighbour, get_method

EN, ZH = get_language("en").tokenize, get_language("zh").tokenize
Score = Callable[[str, str], float]


def greedy(method: Index, texts: Sequence[str], chunk: int) -> list[Neighbour | None]:
    """What a pass in chunks says of each text, ids being places; the novel ones are kept."""
    found: list[Neighbour | None] = []
    for start in range(0, len(texts), chunk):
        part = texts[start : start + chunk]
        found += method.decide([str(start + i) for i in range(len(part))], part)
    return found


def asked(method: Index, text: str) -> Neighbour | None:
    """What is said of one more text."""
    return method.decide(["asked"], [text])[0]


def by_definition(score: Score, texts: Sequence[str], threshold: float) -> list[Neighbour | None]:
    """The same pass by comparing with every kept text: the highest, the earliest of equals."""
    found: list[Neighbour | None] = []
    kept: list[int] = []
    for i, text in enumerate(texts):
        best = max(((score(text, texts[k]), -k) for k in kept), default=(0.0, 0))
        found.append(Neighbour(str(-best[1]), best[0]) if best[0] > threshold else None)
        if found[-1] is None:
            kept.append(i)
    return found


# ── exact ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("one", "other", "tokenize"),
    [
        ("Name three rivers.", "name  three RIVERS", EN),
        ("List: a, b; c?", "list a b c", EN),
        ("Ｎａｍｅ three rivers", "Name three rivers", EN),
        ("写一首诗，题目是春天。", "写一首诗 题目是春天", ZH),
        ("用Ｐｙｔｈｏｎ排序", "用python排序", ZH),
    ],
)
def test_case_blanks_and_sentence_marks_make_no_difference(
    one: str, other: str, tokenize: Callable[[str], Sequence[str]]
) -> None:
    method = get_method("exact", Means(tokenize))
    method.add(["first"], [one])
    method.add(["second"], [other])
    assert asked(method, other) == Neighbour("first", 1.0)


@pytest.mark.parametrize(
    ("one", "other", "tokenize"),
    [
        ("Sort a list in C.", "Sort a list in C++.", EN),
        ("Compute 7 - 2", "Compute 7 + 2", EN),
        ("Compute 5!", "Compute 5.", EN),
        ("Translate: 你好", "Translate: 再见", EN),
        ("Compute (1+2)*3", "Compute 1+2*3", EN),
        ("new york", "newyork", EN),
        ("1 5", "15", EN),
        ("翻译：Привет", "翻译：Пока", ZH),
        ("你好", "再见", EN),
        ("+", "-", EN),
    ],
)
def test_what_the_tokenizer_does_not_see_is_compared_too(
    one: str, other: str, tokenize: Callable[[str], Sequence[str]]
) -> None:
    method = get_method("exact", Means(tokenize))
    method.add(["first"], [one])
    assert asked(method, other) is None
    assert asked(method, one) is not None


@pytest.mark.parametrize("text", ["", " \n", "\u3000"])
def test_a_blank_text_is_no_duplicate(text: str) -> None:
    method = get_method("exact", Means(EN))
    method.add(["first"], [text])
    assert asked(method, text) is None


@given(st.lists(st.text("aAb+é .\ud800", max_size=6), max_size=12), st.integers(1, 4))
def test_exact_is_equality_of_what_is_left(texts: list[str], chunk: int) -> None:
    def left(text: str) -> tuple[list[str], str]:
        folded = unicodedata.normalize("NFKC", text).casefold()
        words = "".join(c if c in "ab" else " " for c in folded).split()
        return words, "".join(c for c in folded if c not in "ab .")

    def same(a: str, b: str) -> float:
        return float(bool(a.strip()) and left(a) == left(b))

    found = greedy(get_method("exact", Means(EN)), texts, chunk)
    assert found == by_definition(same, texts, 0.5)


# ── MinHash ──────────────────────────────────────────────────────────────────────────────────

numbered = st.lists(st.integers(0, 5), max_size=25).map(lambda ns: " ".join(f"w{n}" for n in ns))


def jaccard(a: str, b: str) -> float:
    """Of the runs of five words, straight from its definition."""
    runs = [
        {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}
        for words in (a.split(), b.split())
    ]
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1]) if a and b else 0.0


@settings(deadline=None)
@given(st.lists(numbered, max_size=12), st.integers(1, 5))
def test_minhash_reports_nothing_but_true_duplicates(texts: list[str], chunk: int) -> None:
    kept: list[int] = []
    for i, found in enumerate(greedy(get_method("minhash", Means(EN, 0.6)), texts, chunk)):
        if found is None:
            # Of those above the threshold it may miss one in a thousand, of equal texts none.
            assert texts[i] not in [texts[k] for k in kept if texts[k]]
            kept.append(i)
        else:
            assert int(found.id) in kept
            assert found.score == jaccard(texts[i], texts[int(found.id)]) > 0.6


def test_minhash_finds_what_a_full_comparison_finds() -> None:
    # 400 texts of 60 words, each second one the text before with some words changed.
    rng = np.random.default_rng(7)
    texts: list[str] = []
    for i in range(400):
        words = [f"w{n}" for n in rng.integers(0, 500, 60)]
        if i % 2:
            words = texts[-1].split()
            for place in rng.integers(0, 60, int(rng.integers(0, 4))):
                words[place] = "changed"
        texts.append(" ".join(words))
    found = greedy(get_method("minhash", Means(EN, 0.7)), texts, 400)
    expected = by_definition(jaccard, texts, 0.7)
    assert sum(one is not None for one in expected) > 100
    assert found == expected


def test_minhash_on_chinese_counts_characters() -> None:
    method = get_method("minhash", Means(ZH))
    method.add(["a"], ["请写出世界上最长的三条河流以及它们各自的长度"])
    found = asked(method, "请写出世界上最长的三条河流以及它们各自的深度")
    # 18 runs of five characters; the last but one character is in the last two.
    assert found == Neighbour("a", 16 / 20)


@pytest.mark.parametrize("text", ["", "?!", "你好"])
def test_minhash_sees_no_text_without_tokens(text: str) -> None:
    method = get_method("minhash", Means(EN))
    method.add(["a"], [text])
    assert asked(method, text) is None


def test_the_threshold_itself_is_no_duplicate() -> None:
    method = get_method("minhash", Means(EN, 0.5))
    method.add(["a"], ["a b c d e f g"])
    # Three runs each, two in common, four in all.
    assert asked(method, "b c d e f g h") is None
    assert asked(get_method("minhash", Means(EN, 1.0)), "a") is None


def test_minhash_answers_the_same_in_every_process() -> None:
    program = (
        "from tests.test_novelty_methods import *\n"
        "texts = [' '.join(f'w{(i * j) % 7}' for j in range(8 + i % 5)) for i in range(200)]\n"
        "print(greedy(get_method('minhash', Means(EN, 0.3)), texts, 50))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
    assert "score=" in answers.pop()


# ── semantic ─────────────────────────────────────────────────────────────────────────────────


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """How often each of five letters is in a text: a vector that needs no model."""
    return np.array([[text.count(c) for c in "abcde"] for text in texts], np.float32)


def cosine(a: str, b: str) -> float:
    one, other = (letters([text])[0].astype(np.float64) for text in (a, b))
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return round(float(one @ other / lengths), 6) if lengths else 0.0


@settings(deadline=None)
@given(st.lists(st.text("abcde ", max_size=9), max_size=30), st.integers(1, 9))
def test_semantic_is_the_highest_cosine_however_it_is_cut(texts: list[str], chunk: int) -> None:
    found = greedy(get_method("semantic", Means(EN, 0.85, letters)), texts, chunk)
    expected = by_definition(cosine, texts, 0.85)
    assert [one is None for one in found] == [one is None for one in expected]
    for text, one, other in zip(texts, found, expected, strict=True):
        if one is not None and other is not None:
            assert one.score == pytest.approx(other.score, abs=2e-6)
            assert one.score == pytest.approx(cosine(text, texts[int(one.id)]), abs=2e-6)


def test_semantic_over_several_blocks_and_growths() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((9000, 16)).astype(np.float32)
    vectors[8999] = vectors[8500] * 3
    texts = [str(i) for i in range(9000)]
    means = Means(EN, 0.999, lambda asked: vectors[[int(text) for text in asked]])
    found = greedy(get_method("semantic", means), texts, 3000)
    assert found[8999] == Neighbour("8500", 1.0)
    assert sum(one is not None for one in found) == 1


def test_semantic_embeds_a_chunk_once_and_a_text_that_was_not_prepared() -> None:
    calls = []

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        calls.append(list(texts))
        return letters(texts)

    method = get_method("semantic", Means(EN, 0.9, embed))
    greedy(method, ["a", "b", "a", " "], 4)
    assert calls == [["a", "b"]]
    assert asked(method, "aa") == Neighbour("0", 1.0)
    assert calls == [["a", "b"], ["aa"]]


@pytest.mark.parametrize(
    "vectors",
    [[[1.0, float("nan")]], [[1.0], [2.0]], [1.0, 2.0], [[float("inf"), 0.0]]],
    ids=["nan", "two", "flat", "inf"],
)
def test_what_is_no_vector_for_each_text_is_refused(vectors: list[object]) -> None:
    method = get_method("semantic", Means(EN, 0.9, lambda texts: np.array(vectors, np.float32)))
    with pytest.raises(UsageError, match=r"embedd"):
        asked(method, "one")


def test_vectors_of_another_length_are_refused() -> None:
    means = Means(EN, 0.9, lambda texts: np.ones((len(texts), len(texts[0])), np.float32))
    method = get_method("semantic", means)
    method.add(["a"], ["one"])
    with pytest.raises(UsageError, match="4 numbers after one of 3"):
        asked(method, "four")


# ── choosing one ─────────────────────────────────────────────────────────────────────────────


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'simhash'.*rouge, exact, minhash, semantic"):
        get_method("simhash", Means(EN))


def test_what_a_method_cannot_use_is_refused() -> None:
    with pytest.raises(UsageError, match="takes none"):
        get_method("exact", Means(EN, 0.7))
    with pytest.raises(UsageError, match="--embed"):
        get_method("semantic", Means(EN))
    for name in ("rouge", "minhash", "semantic"):
        with pytest.raises(ValueError, match="between 0 and 1"):
            get_method(name, Means(EN, 1.5, letters))


def test_without_rensa_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(UsageError, match=r"pip install 'selfinstruct\[minhash\]'"):
        get_method("minhash", Means(EN))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_what_is_novel_and_no_more(name: str) -> None:
    method = get_method(name, Means(EN, None, letters))
    text = "a cab in a bad bed, a bead"
    assert greedy(method, [text, text, text], 2) == [None, *[Neighbour("0", 1.0)] * 2]


@pytest.mark.parametrize("name", ["", ".exact", ".method", ".minhash", ".semantic"])
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"selfinstruct.novelty{name}"))
    assert result.attempted > 0
    assert result.failed == 0
