"""From a config to the endpoints that are asked: providers, limits, prices, accounts.

Enters: a Plan and the endpoints' addresses and keys. Leaves: Routes and their Fleet. Knows which
room each piece comes from; sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from selfinstruct.budget import Budget
from selfinstruct.config import Config, public_url
from selfinstruct.errors import UsageError
from selfinstruct.fleet import Fleet, Member
from selfinstruct.history import History
from selfinstruct.journal import Journal
from selfinstruct.prices import (
    NAME,
    Price,
    find_price,
    load_prices,
    picodollars,
    stated_price,
)
from selfinstruct.providers.dialect import Dialect
from selfinstruct.providers.openai import OpenAIProvider
from selfinstruct.sender import Route
from selfinstruct.throttle import Throttle

# Nothing is paid for a model that runs here.
_FREE = Price(0, 0, 0, source="runs on this machine")
_CONNECTIONS = 4096


@dataclass(frozen=True)
class Endpoint:
    """Where requests go. concurrency: what it can serve at once, None when unknown."""

    base_url: str
    api_key: str
    model: str
    concurrency: int | None = None


def find_prices(config: Config) -> dict[str, Price]:
    """The price of each model of a run, as far as it is known.

    Raises UsageError when there is a --max-cost but a price is unknown.
    """
    prices = _list_prices(config)
    for model in config.models:
        if model not in prices and config.max_cost is not None:
            raise UsageError(
                f"--max-cost: the price of {model} is not known",
                hint="give --price-in and --price-out, USD per million tokens",
            )
    if config.batch_api:
        return {model: price.batched() for model, price in prices.items()}
    return prices


def _list_prices(config: Config) -> dict[str, Price]:
    """As `find_prices`, without any discount."""
    table = load_prices(resources.files("selfinstruct").joinpath(NAME).read_bytes())
    found = {model: _price(config, model, table) for model in config.models}
    return {model: price for model, price in found.items() if price is not None}


def _price(config: Config, model: str, table: Mapping[str, Price]) -> Price | None:
    if config.price_in is not None and config.price_out is not None:
        return stated_price(config.price_in, config.price_out)
    if config.embedded:
        return _FREE
    if "service_tier" in config.extra_body:
        # Priority costs more than the list price, flex less.
        return None
    return find_price(table, model)


def make_budget(config: Config, history: History) -> Budget:
    """The caps of a run, with what its processes have spent so far."""
    return Budget(
        cost=None if config.max_cost is None else picodollars(config.max_cost),
        tokens=config.max_total_tokens,
        spent=history.totals.spent,
    )


def make_routes(
    config: Config, endpoints: Sequence[Endpoint], history: History, journal: Journal
) -> tuple[list[OpenAIProvider], list[Route], Fleet]:
    """Providers (to be entered), their routes and the fleet of them, all in the same order."""
    prices = find_prices(config)
    # At the full price: how that was bought is not known of each request.
    for priced in history.learn_prices(_list_prices(config)):
        journal.append(priced)
    providers, routes, members = [], [], []
    for id, endpoint in enumerate(endpoints):
        # The embedded model's port is another one each time.
        url = "" if config.embedded else public_url(endpoint.base_url)
        number, fact = history.open_account(url, endpoint.model, prices.get(endpoint.model))
        if fact is not None:
            journal.append(fact)
        changes = history.changes.get((url, endpoint.model), ())
        provider = make_provider(config, endpoint, changes)
        providers.append(provider)
        routes.append(Route(provider, history.account(number), number))
        fixed = config.concurrency if isinstance(config.concurrency, int) else endpoint.concurrency
        throttle = Throttle(fixed=fixed, rpm=config.rpm, tpm=config.tpm)
        members.append(Member(id, endpoint.model, throttle))
    return providers, routes, Fleet(members)


def sampling(config: Config) -> dict[str, Any]:
    """The fields of a request body that are the same for every request."""
    return {
        **config.extra_body,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "max_tokens": config.max_tokens,
        **({"n": config.choices} if config.choices > 1 else {}),
    }


def make_provider(config: Config, endpoint: Endpoint, changes: Sequence[str]) -> OpenAIProvider:
    """How an endpoint is asked. changes: of dialect, as it taught them before."""
    chat = config.api == "chat" or (config.api == "auto" and config.structured)
    dialect = Dialect(api="chat" if chat else "completions")
    for change in changes:
        dialect = dialect.changed(change)
    return OpenAIProvider(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        model=endpoint.model,
        sampling=sampling(config),
        dialect=dialect,
        adapt_api=config.api == "auto",
        connections=_CONNECTIONS,
    )
