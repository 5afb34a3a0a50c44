"""Numbers in two languages: what says the same, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.recipes.numbers import mentions, unmatched, written

SAME = [
    ("It costs 3 dollars", "它要三美元"), ("12 and 120", "十二和一百二十"), ("2 cats", "两只猫"),
    ("20,000 people", "2万人"), ("20000", "2 万"), ("1.5 billion", "15亿"),
    ("1.2 trillion", "1.2万亿"), ("120 million", "1亿2000万"), ("12,345,678", "1234.5678万"),
    ("25,000", "两万五"), ("1000000", "100多万"), ("10,005", "一万零五"), ("$5k", "5000美元"),
    ("two hundred and fifty thousand", "25万"), ("twenty-one", "21"), ("a dozen eggs", "12个鸡蛋"),
    ("50% of it", "百分之五十"), ("5.6%", "百分之五点六"), ("5 percent", "5％"),
    ("20% off", "八折"), ("15% off", "85折"),
    ("50-60%", "50%到60%"), ("2-3 million", "200万至300万"),
    ("2/3", "三分之二"), ("1/2", "一半"), ("½ cup", "半杯"), ("three quarters", "3/4"),
    ("March 5, 2021", "2021年3月5日"), ("March 5, 2021", "二〇二一年三月五日"),
    ("May 2020", "2020年5月"), ("2021-03-05", "2021年3月5日"), ("nineteen ninety", "1990"),
    ("the 1990s", "20世纪90年代"), ("the 1990s", "上世纪九十年代"), ("1st place", "第一名"),
    ("at 3 p.m.", "15:00"), ("3 pm", "下午3点"), ("7:30 pm", "19:30"), ("7:30", "七点半"),
    ("half past 7", "7:30"), ("5 kg", "5千克"), ("m²", "平方米"), ("H2O", "水"), ("10²", "10^2"),
    ("3.50", "3.5"), ("3.5", "三点五"), ("１，０００", "1000"), ("World War II", "第2次世界大战"),
    ("v3.11.2", "v3.11.2"), ("1. a\n2. b", "1、甲\n2、乙"), ("none", "没有"), ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_numbers_match_both_ways(one: str, other: str) -> None:
    assert unmatched(one, other) == []
    assert unmatched(other, one) == []


@pytest.mark.parametrize(
    ("one", "other", "missing"),
    [
        ("3", "4", ["3", "4"]),
        ("3.5, 12", "3.5", ["12"]),
        ("1,000", "100", ["1000", "100"]),
        ("50%", "50", ["50%", "50"]),
        ("2", "2万", ["2", "2万"]),
        ("12", "一百二十", ["12"]),
        ("5 million", "500万亿", ["5 million", "500万亿"]),
        ("10:30", "10:13", ["30", "13"]),
        ("in 2021", "2012年", ["2021", "2012"]),
        ("三分之二", "3/5", ["5"]),
        ("no year", "2020年", ["2020"]),
        ("the 90s", "80年代", ["90s", "80年代"]),
    ],
)
def test_other_numbers_are_named(one: str, other: str, missing: list[str]) -> None:
    assert unmatched(one, other) == missing


def test_list_marks_may_be_added_but_not_lost() -> None:
    assert unmatched("- tea\n- rice", "1. 茶\n2. 米") == []
    assert unmatched("1. tea\n2. rice", "- 茶\n- 米") == ["1", "2"]


def test_what_is_written_is_shown_as_it_is() -> None:
    assert written("3.5, then 12% and 三, GPT-4, 3.5") == ["3.5", "12%"]


@given(
    st.text(st.sampled_from("0123456789.,%/-: \n一二十百千万亿点分之半两年月日kMaApm多折成²½①１"))
)
def test_a_text_matches_itself(text: str) -> None:
    assert unmatched(text, text) == []


@given(st.text(), st.text())
def test_any_text_is_read(one: str, other: str) -> None:
    unmatched(one, other)


@pytest.mark.parametrize("piece", ["9", "1,", "万", "2万5", "one ", "1-", "1/", "二分之", "半 "])
def test_long_runs_are_read(piece: str) -> None:
    assert mentions(piece * 20_000)
