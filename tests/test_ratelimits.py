"""What endpoints say of their limits: headers and sentences in, numbers out, never an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.ratelimits import UNSAID, RateLimits, read_limits, too_large

RPM_429 = (
    "Rate limit reached for m in organization org-x on requests per min (RPM): "
    "Limit 600, Used 600, Requested 1. Please try again in 100ms."
)
TPM_429 = (
    "Rate limit reached for m in organization org-x on tokens per min (TPM): "
    "Limit 40,000, Used 39,000, Requested 4,000. Please try again in 4.5s."
)


def header(name: str, value: str) -> RateLimits:
    return read_limits({"x-ratelimit-limit-requests": "600", f"x-ratelimit-{name}": value})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("12ms", 0.012),
        ("8.64s", 8.64),
        ("500µs", 0.0005),
        ("500us", 0.0005),
        ("0s", 0.0),
        ("17", 17.0),
        (" 1s ", 1.0),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("1m s", None),
        ("nan", None),
        ("9" * 400 + "h", None),
    ],
)
def test_resets_are_go_durations(text: str, seconds: float | None) -> None:
    assert header("reset-requests", text).reset_requests == pytest.approx(seconds)


@pytest.mark.parametrize(
    "limit",
    ["0", "-1", "", "none", "NaN", "inf", "6_0", "1e-300", "0.5", "600, 600;w=60", "9" * 99],
)
def test_a_limit_that_is_none(limit: str) -> None:
    headers = {
        "x-ratelimit-limit-requests": limit,
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
    }
    assert read_limits(headers) is UNSAID


def test_remaining() -> None:
    assert header("remaining-requests", "0").remaining_requests == 0
    assert header("remaining-requests", "-1").remaining_requests is None


def test_tokens_and_requests_are_told_apart() -> None:
    headers = {"x-ratelimit-limit-tokens": "40000", "x-ratelimit-reset-tokens": "3s"}
    assert read_limits(headers) == RateLimits(limit_tokens=40000.0, reset_tokens=3.0)


def test_sentences() -> None:
    assert read_limits({}, TPM_429) == RateLimits(limit_tokens=40000.0)
    assert read_limits({}, TPM_429.replace("per min (TPM)", "per day (TPD)")) is UNSAID
    said = read_limits({"x-ratelimit-limit-tokens": "700"}, TPM_429)
    assert said.limit_tokens == 700


def test_a_limit_of_requests_that_only_refusals_tell_is_left_to_be_found() -> None:
    assert read_limits({}, RPM_429) is UNSAID


def test_a_request_that_is_larger_than_the_limit() -> None:
    text = "Request too large for m on tokens per min (TPM): Limit 10000, Requested 12000."
    assert too_large(text)
    assert not too_large(RPM_429)
    assert not too_large(TPM_429)


def test_the_old_sentence() -> None:
    text = "Rate limit reached for m in organization o on tokens per min. Limit: 3 / min."
    assert read_limits({}, text) == RateLimits(limit_tokens=3.0)


@pytest.mark.parametrize(
    ("text", "large"),
    [
        # An endpoint that says "too large" is never asked again: words alone are not enough.
        ("Limit 40000, Used 39000, Requested 4000 tokens. See how to raise your limit.", False),
        ("Request too large for m: Limit 40,000, Requested 39,999.", False),
        ("Rate limit reached: Limit 40000, Requested 40,001.", True),
        ("Request too large.", True),
        ("Requested 4000 tokens, above the limit of now.", False),
    ],
)
def test_numbers_count_more_than_words(text: str, large: bool) -> None:
    assert too_large(text) is large


@given(
    st.dictionaries(
        st.sampled_from(
            [
                f"x-ratelimit-{a}-{b}"
                for a in ("limit", "remaining", "reset")
                for b in ("requests", "tokens")
            ]
        ),
        st.text() | st.from_regex(r"[0-9.]{1,9}(h|m|s|ms){0,3}"),
    ),
    st.text(),
)
def test_it_never_raises(headers: dict[str, str], message: str) -> None:
    found = read_limits(headers, message)
    too_large(message)
    for name in RateLimits.__dataclass_fields__:
        value = getattr(found, name)
        assert value is None or 0 <= value < 1e16
