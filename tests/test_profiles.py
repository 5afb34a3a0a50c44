"""Profiles: what a TOML text turns on, what it says when it is wrong, and what a row is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.assets import asset_path
from selfinstruct.errors import UsageError
from selfinstruct.filters import CLEANING
from selfinstruct.languages import LANGUAGES, get_language, judging_language
from selfinstruct.profiles import (
    KNOWN,
    PROFILES,
    Profile,
    default_profile,
    load_profile,
    profile_path,
)
from selfinstruct.records import Task

EN, ZH, UND = get_language("en"), get_language("zh"), judging_language("")
GOOD = Task("Tell me where the tides come from.", "", "From the moon, and a little from the sun.")


def profile(text: str) -> Profile:
    return load_profile(text.encode(), "mine.toml")


def shipped(name: str) -> Profile:
    return load_profile(profile_path(name).read_bytes(), name)


# ── what ships ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", PROFILES)
def test_a_shipped_profile_loads_and_keeps_a_good_row(name: str) -> None:
    found = shipped(name)
    assert found.objection(GOOD, EN) is None
    assert found.objection(Task("潮汐从哪里来？", "", "主要来自月球。"), ZH) is None
    assert found.objection(Task("D'où viennent les marées ?", "", "De la lune."), UND) is None


def test_every_toml_file_is_a_profile() -> None:
    assert {path.stem for path in asset_path("profiles").glob("*.toml")} == set(PROFILES)


def test_strict_is_everything() -> None:
    assert set(shipped("strict").filters) == set(KNOWN)
    assert set(KNOWN) == {*CLEANING, *(name for one in LANGUAGES.values() for name in one.checks)}


def test_the_defaults_are_all_but_policy_and_what_is_often_wrong() -> None:
    off = {"opening", "blocked_word", "mentions_gpt", "url_input", "echo"}
    for name in ("alpaca", "belle"):
        assert set(shipped(name).filters) == set(KNOWN) - off - (
            set() if name == "belle" else {"mixed_script", "punctuation"}
        )


def test_the_default_for_a_language() -> None:
    assert {code: default_profile(code) for code in ("en", "zh", "zh-hant", "fr", "")} == {
        "en": "alpaca",
        "zh": "belle",
        "zh-hant": "belle",
        "fr": "alpaca",
        "": "alpaca",
    }


# ── what a profile decides ───────────────────────────────────────────────────────────────────


def test_only_what_is_on_objects() -> None:
    both = Task("Tell me where the tides come from.", "", "Tell me where the tides come from.")
    echo = profile('filters = ["echo"]').objection(both, EN)
    assert echo is not None
    assert echo.reason == "echo"
    assert profile('filters = ["refusal"]').objection(both, EN) is None
    assert profile("filters = []").objection(Task("", "", ""), EN) is None


def test_the_order_is_that_of_the_filters_not_of_the_file() -> None:
    blank = Task("Draw a boat for me, please.", "", "")
    verdict = profile('filters = ["empty_output", "blocked_word"]').objection(blank, EN)
    assert verdict is not None
    assert verdict.reason == "blocked_word"


def test_a_languages_own_check_is_a_filter() -> None:
    mixed = Task("三原色是什么？", "", "紅、黄、藍。")
    verdict = profile('filters = ["mixed_script"]').objection(mixed, ZH)
    assert verdict is not None
    assert verdict.reason == "mixed_script"
    assert profile('filters = ["mixed_script"]').objection(mixed, EN) is None


def test_a_name_that_is_both_is_both() -> None:
    one = profile('filters = ["wrong_language"]')
    foreign = "The tides come from the moon, and a little of them from the sun, twice a day."
    verdict = one.objection(Task("潮汐从哪里来？", "", foreign), ZH)
    assert verdict is not None
    assert verdict.reason == "wrong_language"
    french = "La marée vient de la lune, qui attire la mer deux fois par jour."
    assert one.objection(Task("Where do tides come from?", "", french), EN) is not None


def test_lengths_of_the_profile_or_of_the_language() -> None:
    short, long = Task("Tides?", "", "The moon."), Task("Why " * 400, "", "The moon.")
    own = profile('filters = ["instruction_length"]')
    assert own.objection(short, EN) is not None
    assert own.objection(long, EN) is not None
    wide = profile('filters = ["instruction_length"]\n[instruction_length]\nleast = 1')
    assert wide.objection(short, EN) is None
    assert wide.objection(long, EN) is None
    empty = wide.objection(Task(" ", "", "x"), EN)
    assert empty is not None
    assert empty.evidence == "0 words, allowed 1–"
    capped = profile('filters = ["instruction_length"]\n[instruction_length]\nmost = 399')
    verdict = capped.objection(long, EN)
    assert verdict is not None
    assert verdict.evidence == "400 words, allowed 1–399"


def test_thresholds_reach_the_filter() -> None:
    loop = Task("Describe the sea.", "", "It is blue. " + "It is very deep indeed. " * 4)
    text = 'filters = ["repetition"]\n[repetition]\ntimes = {}'
    assert profile(text.format(4)).objection(loop, EN) is not None
    assert profile(text.format(5)).objection(loop, EN) is None


def test_findings_are_of_all_filters_on_or_off() -> None:
    row = Task("Draw me the tides.", "[attached file]", "The moon&nbsp;pulls.")
    found = profile('filters = ["echo"]').findings(row, EN)
    assert [name for name, _ in found] == list(CLEANING)
    assert {name for name, verdict in found if verdict} == {
        "blocked_word",
        "attachment",
        "markup_debris",
        "placeholder",
    }
    assert {name for name, _ in profile("filters = []").findings(row, ZH)} == set(KNOWN)


TEXTS = st.text(st.characters(), max_size=40)


@given(st.builds(Task, TEXTS, TEXTS, TEXTS), st.sampled_from(PROFILES))
@settings(max_examples=100, deadline=None)
def test_the_objection_is_the_first_finding_that_is_on(task: Task, name: str) -> None:
    for language in (EN, ZH, UND):
        found = shipped(name)
        on = [
            verdict
            for finding, verdict in found.findings(task, language)
            if verdict and finding in found.filters
        ]
        assert found.objection(task, language) == (on[0] if on else None)


def test_of_a_huge_field_the_ends_are_judged() -> None:
    strict = shipped("strict")
    middle = "The sea is wide. "
    debris = "One more&nbsp;thing. "
    for part, reason in ((debris, "markup_debris"), (middle, None)):
        start = Task("Tell me about the tides.", "", part + "".join(map(str, range(200_000))))
        verdict = strict.objection(start, EN)
        assert (verdict and verdict.reason) == reason
    hidden = "".join(map(str, range(20_000)))
    assert strict.objection(Task("Tell me about it.", "", hidden + debris + hidden), EN) is None


# ── what a wrong file is told ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("filters = [", ("not TOML",)),
        ("", ("filters", "required")),
        ('filters = ["ecko"]', ("filters", "'ecko'", "known: ", "echo", "mixed_script")),
        ('filters = "echo"', ("filters",)),
        ('filters = ["echo"]\nrouge = 1', ("rouge", "unknown key", "rouge_l", "repetition")),
        ('filters = ["echo"]\nrouge_l = 1.5', ("rouge_l", "less than or equal to 1")),
        ('filters = ["echo"]\nrouge_l = "much"', ("rouge_l", "number")),
        ("filters = []\n[repetition]\ntime = 3", ("repetition.time", "unknown key", "times")),
        ("filters = []\n[repetition]\ntimes = 1", ("repetition.times", "2")),
        ("filters = []\n[instruction_length]\nleast = -1", ("instruction_length.least", "0")),
        ("filters = []\n[instruction_length]\nmax = 9", ("instruction_length.max", "most")),
    ],
)
def test_a_wrong_profile_names_file_key_and_what_is_known(
    text: str, parts: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as caught:
        profile(text)
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(UsageError, match=r"mine\.toml: not TOML"):
        load_profile(b"\xff", "mine.toml")


def test_a_profile_is_a_name_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('filters = ["echo"]')
    assert profile_path(str(path)) == path
    with pytest.raises(UsageError, match=r"no profile 'nobody' \(alpaca, belle, strict or"):
        profile_path("nobody")
