"""The novelty pool against rouge-score itself, through its public door.

Enters: small made-up texts. Leaves: nothing. Knows no real data and none of the pool's insides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import tokenize as rouge_tokenize
from rouge_score.rouge_scorer import RougeScorer

from selfinstruct.dedup import NoveltyPool
from selfinstruct.records import Neighbour

Tokenize = Callable[[str], Sequence[str]]


def english(text: str) -> list[str]:
    """rouge-score's default tokens."""
    tokens: list[str] = rouge_tokenize.tokenize(text, None)
    return tokens


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer in the shape that RougeScorer takes."""

    tokenize: Tokenize


def brute_force(texts: Sequence[str], text: str, tokenize: Tokenize = english) -> Neighbour:
    """The earliest best of `texts` by rouge-score alone, ids "0", "1", …"""
    scorer = RougeScorer(["rougeL"], use_stemmer=False, tokenizer=Tokenizer(tokenize))
    scores = [scorer.score(target, text)["rougeL"].fmeasure for target in texts]
    best = max(scores)
    return Neighbour(str(scores.index(best)), best)


def pool_of(texts: Sequence[str], tokenize: Tokenize = english) -> NoveltyPool:
    pool = NoveltyPool(tokenize)
    for i, text in enumerate(texts):
        pool.add(str(i), text)
    return pool


def numbered(numbers: Sequence[int]) -> str:
    return " ".join(f"t{i}" for i in numbers)


words = st.sampled_from(
    ["list", "three", "tips", "for", "a", "better", "7", "Tips", "!", "?…", "你好"]
)
texts = st.lists(words, max_size=14).map(" ".join)
# Above 128 distinct tokens every signature bit is shared by several tokens.
long_texts = st.lists(st.integers(0, 400), min_size=129, max_size=180, unique=True).map(numbered)
# 5 and 5 + 128 k share a bit while codes are handed out in order, and repeats cancel out.
colliding = st.lists(st.sampled_from([5, 133, 261, 389, 6, 134]), max_size=30).map(numbered)

# A shuffle of the query looks perfect to the signatures and may score low; a part of it among new
# words looks exactly as good as it is. Ties between the two tell a ceiling that is too low.
QUERY = list(range(10))
shuffled = st.permutations(QUERY).map(numbered)
padded = st.tuples(st.integers(0, 9), st.integers(1, 10), st.integers(0, 50)).map(
    lambda t: numbered([*QUERY[t[0] : t[0] + t[1]], *range(10, 10 + t[2])])
)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=25), texts)
def test_nearest_is_rouge_scores_earliest_best(pool: list[str], text: str) -> None:
    assert pool_of(pool).nearest(text) == brute_force(pool, text)


@settings(max_examples=20, deadline=None)
@given(st.lists(long_texts, min_size=1, max_size=3), long_texts)
def test_texts_longer_than_the_signature(pool: list[str], text: str) -> None:
    assert pool_of(pool).nearest(text) == brute_force(pool, text)


@settings(deadline=None)
@given(st.lists(colliding, min_size=1, max_size=12), colliding)
def test_tokens_that_share_a_signature_bit(pool: list[str], text: str) -> None:
    pool = [numbered(range(400)), *pool]
    assert pool_of(pool).nearest(text) == brute_force(pool, text)


@settings(deadline=None)
@given(st.lists(padded, max_size=8), st.lists(shuffled, min_size=1, max_size=3))
def test_a_tight_ceiling_is_not_passed_over(tight: list[str], loose: list[str]) -> None:
    pool = [*tight, *loose]
    assert pool_of(pool).nearest(numbered(QUERY)) == brute_force(pool, numbered(QUERY))


def test_a_tie_with_a_text_whose_ceiling_is_just_its_score() -> None:
    half_of_it_in_order = numbered([3, 2, 1, 0, 4, 5, 6, 9, 8, 7])
    pool = pool_of([numbered(range(30)), half_of_it_in_order])
    assert pool.nearest(numbered(QUERY)) == Neighbour("0", 0.5)
    assert pool_of([half_of_it_in_order]).nearest(numbered(QUERY)) == Neighbour("0", 0.5)


@settings(deadline=None)
@given(st.lists(texts, max_size=20))
def test_a_stream_keeps_what_a_greedy_pass_with_rouge_score_keeps(stream: list[str]) -> None:
    pool, kept = NoveltyPool(english), list[str]()
    for text in stream:
        found = pool.nearest(text)
        expected = brute_force(kept, text) if kept else None
        assert found == expected
        if found is None or not pool.is_duplicate(found.rouge_l):
            pool.add(str(len(kept)), text)
            kept.append(text)
    assert len(pool) == len(kept)


def test_seven_of_seven_in_thirteen_is_just_a_duplicate() -> None:
    seven, thirteen = "a b c d e f g", "a b c d e f g h i j k l m"
    for kept, new in [(seven, thirteen), (thirteen, seven)]:
        pool = pool_of([kept])
        found = pool.nearest(new)
        assert found == Neighbour("0", 0.7000000000000001)
        assert pool.is_duplicate(found.rouge_l)


def test_the_threshold_itself_is_not_a_duplicate() -> None:
    pool = NoveltyPool(english, threshold=0.5)
    pool.add("half", "a b")
    found = pool.nearest("a c")
    assert found == Neighbour("half", 0.5)
    assert not pool.is_duplicate(0.5)
    assert pool.is_duplicate(math.nextafter(0.5, 1))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_that_is_no_score_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        NoveltyPool(english, threshold=threshold)


def test_an_empty_pool_has_no_nearest() -> None:
    pool = NoveltyPool(english)
    assert len(pool) == 0
    assert pool.nearest("anything") is None


@pytest.mark.parametrize("kept", ["", "?!", "a b c"])
@pytest.mark.parametrize("new", ["", "...", "x y z"])
def test_nothing_in_common_scores_zero_with_the_first_kept(kept: str, new: str) -> None:
    assert pool_of([kept, "other words"]).nearest(new) == Neighbour("0", 0.0)


def test_an_empty_kept_text_is_never_nearer_than_a_shared_word() -> None:
    assert pool_of(["", "?", "one word here"]).nearest("word") == Neighbour("2", 0.5)


def test_the_earliest_of_equals_wins() -> None:
    pool = pool_of(["x y", "a b c d", "b a c d", "a b c d"])
    assert pool.nearest("a b c d") == Neighbour("1", 1.0)


def test_order_matters_even_with_the_same_words() -> None:
    assert pool_of(["a b c d"]).nearest("d c b a") == Neighbour("0", 0.25)


def test_looking_up_leaves_the_pool_as_it_was() -> None:
    pool, untouched = pool_of(["a b c"]), pool_of(["a b c"])
    pool.nearest("d e f g h")
    for each in (pool, untouched):
        each.add("1", "h g f")
    assert len(pool) == 2
    assert pool.nearest("h g x") == untouched.nearest("h g x") == Neighbour("1", 2 / 3)


def test_a_pool_that_outgrew_its_first_arrays() -> None:
    kept = [numbered(range(i, i + 5)) for i in range(2500)]
    pool = pool_of(kept)
    assert len(pool) == 2500
    for i in (0, 1023, 1024, 2047, 2048, 2499):
        assert pool.nearest(kept[i]) == Neighbour(str(i), 1.0)
    assert pool.nearest("t1500 t1501 t1502") == brute_force(kept, "t1500 t1501 t1502")


def test_a_vocabulary_that_passes_the_surrogates() -> None:
    beyond = 0xD800 + 40
    kept = [numbered(range(beyond)), numbered(range(beyond - 60, beyond, 2)), "t1 t2"]
    for text in [numbered(range(beyond - 50, beyond, 3)), "t2 t1 t55296", "t57344", "t0 t55295"]:
        assert pool_of(kept, str.split).nearest(text) == brute_force(kept, text, str.split)


def test_a_vocabulary_larger_than_unicode() -> None:
    last = 0x110000  # the number of code points; token t{last} has none
    pool = pool_of([numbered(range(last + 2)), "t1 t2 t3"], str.split)
    pool.add("late", f"t5 t{last} t{last + 1} t6")
    assert pool.nearest("t1 t2") == Neighbour("1", 0.8)
    assert pool.nearest(f"t{last} t{last + 1}") == Neighbour("late", 2 / 3)
    assert pool.nearest(f"t5 t{last - 1} t6 new") == Neighbour("late", 0.5)
