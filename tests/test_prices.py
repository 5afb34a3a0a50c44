"""Prices: exact from the text of the table to the sum of a run; unknown rather than guessed."""

from __future__ import annotations

import datetime
import tomllib
from decimal import Decimal
from fractions import Fraction
from importlib import resources

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from selfinstruct.errors import UsageError
from selfinstruct.prices import (
    NAME,
    Price,
    dollars,
    find_price,
    load_prices,
    picodollars,
    stated_price,
    usd,
)

PACKAGED = resources.files("selfinstruct").joinpath(NAME).read_bytes()
TABLE = load_prices(PACKAGED)
WHOLE = {
    "input": "0.15",
    "cached": "0.075",
    "output": "0.60",
    "batch": "0.5",
    "as_of": "2026-01-02",
    "source": '"https://example.org/prices"',
}


def entry(model: str = "m", **changed: str) -> bytes:
    """A table with one model, its fields as TOML text; "" leaves one out."""
    fields = {**WHOLE, **changed}
    return "\n".join(
        [f'["{model}"]', *(f"{key} = {value}" for key, value in fields.items() if value)]
    ).encode()


def test_an_entry_is_exact_to_the_picodollar() -> None:
    price = load_prices(entry(), "prices.toml")["m"]
    source = "prices.toml, 2026-01-02: https://example.org/prices"
    assert price == Price(150_000, 75_000, 600_000, 50, source)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_the_decimal_text_is_what_counts(first: int, second: int) -> None:
    """No binary fraction comes between: six decimals of USD per million are picodollars."""
    low, high = sorted((first, second))
    said = [f"{amount // 10**6}.{amount % 10**6:06d}" for amount in (high, low)]
    price = load_prices(entry(input=said[0], cached=said[1], output=said[0]))["m"]
    assert (price.input, price.cached, price.output) == (high, low, high)


def test_what_is_finer_than_a_picodollar_is_rounded_up() -> None:
    price = load_prices(entry(input="0.1500001", cached="0.0000001"))["m"]
    assert (price.input, price.cached) == (150_001, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "not TOML"),
        (b"[m\n", "not TOML"),
        (b"m = 3", "m: needs exactly as_of, batch, cached, input, output, source"),
        (entry(cached=""), "m: needs exactly"),
        (entry(audio="1.0"), "m: needs exactly"),
        (entry().replace(b'["m"]', b"[gpt-4.1]"), 'gpt-4: needs exactly .*quoted: \\["gpt-4.1"\\]'),
        (entry(input="-0.1"), "m: input: -0.1 is no price"),
        (entry(output="nan"), "m: output: NaN is no price"),
        (entry(output="inf"), "m: output: Infinity is no price"),
        (entry(output="1e999999"), "m: output: .* is no price"),
        (entry(output="1000000.000001"), "m: output: .* is no price"),
        (entry(input="true"), "m: input: True is no price"),
        (entry(input='"0.15"'), "m: input: 0.15 is no price"),
        (entry(input="[1]"), "m: input: .* is no price"),
        (entry(cached="0.16"), "m: cached: input from the cache costs no more"),
        (entry(batch="0"), "m: batch: 0 is no share"),
        (entry(batch="50"), "m: batch: 50 is no share"),
        (entry(batch="1.01"), "m: batch: 1.01 is no share"),
        (entry(batch="0.333"), "m: batch: 0.333 is no share"),
        (entry(batch="nan"), "m: batch: NaN is no share"),
        (entry(batch="true"), "m: batch: True is no share"),
        (entry(as_of='"2026-01-02"'), "m: as_of is a date"),
        (entry(as_of="2026-01-02T00:00:00Z"), "m: as_of is a date"),
        (entry(source='""'), "m: .* source a text"),
        (entry(source="7"), "m: .* source a text"),
    ],
)
def test_a_malformed_table_is_refused_with_file_and_model(content: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=f"^my.toml: {said}") as caught:
        load_prices(content, "my.toml")
    assert "\n" not in str(caught.value).removeprefix("my.toml: not TOML")


@pytest.mark.parametrize(("share", "percent"), [("0.01", 1), ("0.5", 50), ("1", 100), ("1.0", 100)])
def test_a_batch_share_is_whole_percents(share: str, percent: int) -> None:
    assert load_prices(entry(batch=share))["m"].batch_percent == percent


def test_cached_tokens_are_part_of_the_prompt() -> None:
    price = Price(input=10, cached=1, output=100)
    assert price.cost(7, 3) == 370
    assert price.cost(7, 3, cached=5) == 325
    assert price.cost(7, 3, cached=7) == 307
    assert price.cost(7, 3, cached=99) == 307, "more cached than sent: all of it was"
    assert price.cost(7, 3, cached=-1) == 370
    assert price.cost(0, 0, cached=9) == 0


amounts = st.integers(0, 10**12)
prices = st.builds(
    lambda first, second, output, percent: Price(
        max(first, second), min(first, second), output, percent, "somewhere"
    ),
    amounts,
    amounts,
    amounts,
    st.integers(1, 100),
)


@given(prices, *[st.integers(0, 10**9)] * 3)
def test_a_cache_never_makes_it_dearer(
    price: Price, prompt: int, completion: int, cached: int
) -> None:
    """So that a worst case without a cache is one."""
    assert price.cost(prompt, completion, cached) <= price.cost(prompt, completion)


@given(prices)
def test_the_batch_price_is_rounded_up_once(price: Price) -> None:
    batched = price.batched()
    for before, after in [
        (price.input, batched.input),
        (price.cached, batched.cached),
        (price.output, batched.output),
    ]:
        assert 0 <= after - Fraction(before * price.batch_percent, 100) < 1
    assert batched.source == price.source
    assert batched.batched() == batched, "half of a half would be too cheap"


@given(prices)
def test_the_journal_keeps_a_price_whole(price: Price) -> None:
    """An equal price means the same account: a resumed run must not open another one."""
    assert Price.restored(price.stored()) == price


@pytest.mark.parametrize(
    ("model", "same_as"),
    [
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4.1-2025-04-14", "gpt-4.1"),
        ("gpt-3.5-turbo-0125", "gpt-3.5-turbo"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-3.5-turbo-1106", "gpt-3.5-turbo-1106"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("davinci-002", "davinci-002"),
        # A prefix is another model.
        ("gpt-4o-audio-preview", None),
        ("gpt-4o-audio-preview-2024-12-17", None),
        ("gpt-4o-mini-tts", None),
        ("gpt-3.5-turbo-16k-0613", None),
        ("ft:gpt-4o-mini-2024-07-18:us::x", None),
        ("openai/gpt-4o-mini", None),
        ("GPT-4o-mini", None),
        # These end in no date.
        ("gpt-4o-2411", None),
        ("gpt-4o-0000", None),
        ("gpt-4o-0532", None),
        ("gpt-4o-12345", None),
        ("gpt-4o-2024-08", None),
        ("gpt-4o-2024-08-06\n", None),
        ("gpt-4o-٠٨٠٦", None),
        ("gpt-4o-0806-0806", None),
        ("-0806", None),
        ("", None),
    ],
)
def test_a_dated_snapshot_costs_what_its_model_costs(model: str, same_as: str | None) -> None:
    assert find_price(TABLE, model) == (same_as and TABLE[same_as])


def test_an_entry_of_its_own_comes_first() -> None:
    assert TABLE["gpt-4o-2024-05-13"].input == 2 * TABLE["gpt-4o"].input
    assert TABLE["gpt-3.5-turbo-1106"].input == 2 * TABLE["gpt-3.5-turbo"].input


def test_a_free_model_is_a_known_one() -> None:
    free = Price(0, 0, 0)
    assert find_price({"m": free}, "m") == free


def test_a_stated_price() -> None:
    price = stated_price(0.1, 0.6)
    assert (price.input, price.cached, price.output) == (100_000, 100_000, 600_000)
    assert price.source == "--price-in, --price-out"
    assert price.batched() == price, "it is what the user pays"
    assert stated_price(0.0, 1e-7).output == 1, "never less than was said"


@pytest.mark.parametrize("wrong", [-0.01, float("nan"), float("inf"), float("-inf"), 1e300])
def test_a_stated_price_must_be_one(wrong: float) -> None:
    with pytest.raises(UsageError, match=r"^--price-in: .* is no price: give USD per million"):
        stated_price(wrong, 1.0)
    with pytest.raises(UsageError, match=r"^--price-out: .* is no price: give USD per million"):
        stated_price(1.0, wrong)


def test_the_packaged_table() -> None:
    """Spot checks against the sources, and the shape that every entry must have."""
    mini = TABLE["gpt-4o-mini"]
    assert (mini.input, mini.cached, mini.output) == (150_000, 75_000, 600_000)
    assert TABLE["text-davinci-003"].cost(1000, 1000) == picodollars(0.04)
    assert TABLE["gpt-3.5-turbo-instruct"].batch_percent == 100, "the batch API does not take it"
    raw = tomllib.loads(PACKAGED.decode(), parse_float=Decimal)
    assert raw.keys() == TABLE.keys()
    for model, fields in raw.items():
        assert "https://" in fields["source"], model
        assert datetime.date(2022, 1, 1) <= fields["as_of"] <= datetime.date(2027, 1, 1), model
        assert TABLE[model].input <= TABLE[model].output, f"{model}: input and output swapped?"
        assert TABLE[model].input > 0, f"{model}: a paid model for nothing"
        assert TABLE[model].source == f"prices.toml, {fields['as_of']}: {fields['source']}"


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "$0.00"),
        (1, "$0.0000000000010"),
        (15, "$0.000000000015"),
        (4_230_000_000, "$0.0042"),
        (99_000_000_000, "$0.099"),
        (99_900_000_000, "$0.100"),
        (100_000_000_000, "$0.10"),
        (12_345_678_901_234, "$12.35"),
        (999_999_000_000_000, "$1,000.00"),
        (1_234_500_000_000_000, "$1,234.50"),
        (10**30, "$1,000,000,000,000,000,000.00"),
        (-4_230_000_000, "-$0.0042"),
    ],
)
def test_dollars_for_people(amount: int, said: str) -> None:
    assert dollars(amount) == said


@given(st.integers(1, 10**24))
@settings(max_examples=500)
@example(999)
@example(99_999_999_999)
def test_dollars_say_two_digits_that_are_right(amount: int) -> None:
    said = dollars(amount)
    assert "E" not in said.upper()
    number = said.removeprefix("$").replace(",", "")
    assert len(number.partition(".")[2]) >= 2
    assert len(number.replace(".", "").lstrip("0")) >= 2, "at least two significant digits"
    value = Fraction(amount, 10**12)
    assert abs(Fraction(number) - value) <= min(value / 20, Fraction(1, 200))


@given(st.integers(0, 10**9))
def test_usd_and_back(millionths: int) -> None:
    assert picodollars(usd(millionths * 10**6)) == millionths * 10**6


def test_a_cap_is_never_more_than_was_said() -> None:
    assert picodollars(0.1) == 10**11
    assert picodollars(1e-13) == 0
    assert picodollars(1.9999999999999) == 1_999_999_999_999
