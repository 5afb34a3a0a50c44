"""What tokens cost: a table of models, or what the user states.

Enters: the text of `prices.toml`, a model's name, counts of tokens. Leaves: whole picodollars
(10⁻¹² USD), so that sums are exact. Pure. Knows no endpoint and no budget.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Any

from selfinstruct.errors import UsageError

NAME = "prices.toml"
# USD per million tokens = 10⁻⁶ USD per token = 10⁶ picodollars per token.
_SCALE = 6
_PICO = 10**12
# One USD per token: whatever is above it is a slip of the pen.
_MOST = 10**6
# "gpt-4o-mini-2024-07-18", "gpt-3.5-turbo-0125": snapshots that cost what their model costs. Four
# digits are a month and a day: "mistral-large-2411" is a model of its own.
_SNAPSHOT = re.compile(
    r"-(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))\Z"
)
_AMOUNTS = ("input", "cached", "output")
_FIELDS = {*_AMOUNTS, "batch", "as_of", "source"}


@dataclass(frozen=True, slots=True)
class Price:
    """Picodollars per token. batch_percent: what the batch API costs of it. source: whose word."""

    input: int
    cached: int
    output: int
    batch_percent: int = 100
    source: str = ""

    def cost(self, prompt: int, completion: int, cached: int = 0) -> int:
        """Picodollars for so many tokens; `cached` of the prompt's came from the cache."""
        cached = max(0, min(cached, prompt))
        fresh = prompt - cached
        return fresh * self.input + cached * self.cached + completion * self.output

    def batched(self) -> Price:
        """The price in the batch API, rounded up."""
        share = self.batch_percent
        scaled = (-(-amount * share // 100) for amount in (self.input, self.cached, self.output))
        first, second, third = scaled
        return replace(self, input=first, cached=second, output=third, batch_percent=100)

    def stored(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return asdict(self)

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> Price:
        """What `stored` gave."""
        return cls(**stored)


def load_prices(content: bytes, name: str = NAME) -> dict[str, Price]:
    """The table, by model. Raises UsageError naming file and model for a malformed entry."""
    try:
        table = tomllib.loads(content.decode("utf-8"), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{name}: not TOML: {error}") from None
    return {model: _read_entry(entry, name, f"{name}: {model}") for model, entry in table.items()}


def _read_entry(entry: object, name: str, where: str) -> Price:
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise UsageError(
            f"{where}: needs exactly {', '.join(sorted(_FIELDS))}",
            hint='a model with a dot in its name is quoted: ["gpt-4.1"]',
        )
    first, second, third = (_per_token(entry[field], f"{where}: {field}") for field in _AMOUNTS)
    if second > first:
        raise UsageError(f"{where}: cached: input from the cache costs no more than other input")
    batch, as_of, source = entry["batch"], entry["as_of"], entry["source"]
    percent = batch * 100 if type(batch) in (int, Decimal) else Decimal(0)
    if percent not in range(1, 101):
        raise UsageError(f"{where}: batch: {batch} is no share: write 0.01 to 1.00")
    # A datetime is a date to isinstance.
    if type(as_of) is not date or not isinstance(source, str) or not source:
        raise UsageError(f"{where}: as_of is a date such as 2026-01-31, source a text")
    said = f"{name}, {as_of}: {source}"
    return Price(first, second, third, batch_percent=int(percent), source=said)


def find_price(table: Mapping[str, Price], model: str) -> Price | None:
    """The price of a model or of the model that it is a dated snapshot of, None when unknown."""
    return table.get(model) or table.get(_SNAPSHOT.sub("", model))


def stated_price(input_usd: float, output_usd: float) -> Price:
    """From --price-in and --price-out: USD per million tokens. Cached input costs the same.

    Raises UsageError for what is no price.
    """
    first = _per_token(Decimal(str(input_usd)), "--price-in")
    second = _per_token(Decimal(str(output_usd)), "--price-out")
    return Price(first, first, second, source="--price-in, --price-out")


def _per_token(amount: object, where: str) -> int:
    """USD per million tokens as picodollars per token, rounded up. Raises UsageError."""
    if isinstance(amount, int | Decimal) and not isinstance(amount, bool):
        number = Decimal(amount)
        if number.is_finite() and 0 <= number <= _MOST:
            return int(number.scaleb(_SCALE).to_integral_value(ROUND_CEILING))
    raise UsageError(
        f"{where}: {amount} is no price: give USD per million tokens, from 0 to {_MOST:,}"
    )


def picodollars(amount: float) -> int:
    """USD, finite, as whole picodollars, rounded down: a cap is never more than was said."""
    return int(Decimal(str(amount)) * _PICO)


def usd(amount: int) -> float:
    """Picodollars as USD, to the millionth."""
    return round(amount / _PICO, 6)


def dollars(amount: int) -> str:
    """Picodollars for people: cents, or two significant digits below ten cents.

    >>> dollars(4_230_000_000), dollars(12_345_678_901_234), dollars(1_234_500_000_000_000)
    ('$0.0042', '$12.35', '$1,234.50')
    """
    value = Decimal(abs(amount)) / _PICO
    digits = max(2, 1 - value.adjusted())
    return f"{'-' if amount < 0 else ''}${value:,.{digits}f}"
