"""What each endpoint took: requests, tokens, money. Pure sums; knows no file and no clock.

A reply with the provider's own counts is charged exactly. An attempt that may have been billed but
whose count never came (a broken connection, a deadline, an unreadable 200, a killed process) is
`doubtful`: it counts with the most that it can have taken. Money is in picodollars (10⁻¹² USD).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from selfinstruct.budget import Bill
from selfinstruct.prices import Price, usd
from selfinstruct.records import Reply


class Most(NamedTuple):
    """The most tokens that one request can take."""

    prompt: int
    completion: int

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass
class Account:
    """One endpoint with one model at one price. sent: attempts. paid: 200s received.
    doubtful_completion: those of the doubtful tokens that an answer may have had."""

    url: str = ""
    model: str = ""
    price: Price | None = None
    sent: int = 0
    paid: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: int = 0
    doubtful: int = 0
    doubtful_tokens: int = 0
    doubtful_completion: int = 0
    doubtful_cost: int = 0

    def learn_price(self, price: Price) -> None:
        """Charge at `price` what was bought before anybody said one."""
        self.price = price
        self.cost = price.cost(self.prompt_tokens, self.completion_tokens, self.cached_tokens)
        most = self.doubtful_tokens - self.doubtful_completion, self.doubtful_completion
        self.doubtful_cost = price.cost(*most)

    def worst(self, most: Most) -> int:
        """Picodollars that a request can cost at the most; 0 where no price is known."""
        return self.price.cost(most.prompt, most.completion) if self.price else 0

    def count(self, reply: Reply, most: Most) -> Bill:
        """Charge a reply that was read."""
        self.paid += 1
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            self.prompt_tokens += reply.prompt_tokens or 0
            self.completion_tokens += reply.completion_tokens or 0
            return self.doubt(most)
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.cached_tokens += reply.cached_tokens or 0
        used = reply.prompt_tokens, reply.completion_tokens
        cost = self.price.cost(*used, reply.cached_tokens or 0) if self.price else 0
        self.cost += cost
        return Bill(cost, sum(used))

    def doubt(self, most: Most) -> Bill:
        """Charge the most, for what may have been billed."""
        bill = Bill(self.worst(most), most.total)
        self.doubtful += 1
        self.doubtful_tokens += bill.tokens
        self.doubtful_completion += most.completion
        self.doubtful_cost += bill.cost
        return bill


class Totals(NamedTuple):
    """The sums over all accounts of a run; costs in picodollars."""

    sent: int
    paid: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost: int
    doubtful: int
    doubtful_tokens: int
    doubtful_cost: int
    priced: bool

    @classmethod
    def of(cls, accounts: Iterable[Account]) -> Totals:
        """priced: the price of everything that was sent is known."""
        used = [account for account in accounts if account.sent]
        priced = bool(used) and all(account.price for account in used)
        sums: dict[str, Any] = {
            name: sum(getattr(account, name) for account in used) for name in cls._fields[:-1]
        }
        return cls(**sums, priced=priced)

    @property
    def spent(self) -> Bill:
        """Everything, the doubtful at its most."""
        tokens = self.prompt_tokens + self.completion_tokens + self.doubtful_tokens
        return Bill(self.cost + self.doubtful_cost, tokens)

    def requests(self) -> dict[str, int]:
        """The attempts as manifest and status show them."""
        return {"paid": self.paid, "sent": self.sent, "failed": self.failed}

    def tokens(self) -> dict[str, int]:
        """The provider's own counts, as manifest and status show them."""
        return {
            "prompt": self.prompt_tokens,
            "cached": self.cached_tokens,
            "completion": self.completion_tokens,
            "doubtful": self.doubtful_tokens,
        }

    def tokens_per_row(self, kept: int) -> float | None:
        """Prompt and completion tokens for each kept row, None without one."""
        counted = self.prompt_tokens + self.completion_tokens
        return round(counted / kept, 1) if kept else None

    def money(self, kept: int) -> dict[str, Any] | None:
        """USD as manifest and status show them, None while a price is unknown.

        doubtful_usd: the most that attempts without an answer may have cost on top. kept: rows.
        """
        if not self.priced:
            return None
        return {
            "usd": usd(self.cost),
            "doubtful_usd": usd(self.doubtful_cost),
            "usd_per_kept_row": usd(self.cost) / kept if kept else None,
        }


def by_endpoint(accounts: Mapping[int, Account]) -> list[dict[str, Any]]:
    """One row for each endpoint and model, whatever its prices were, in order of first use."""
    groups: dict[tuple[str, str], list[Account]] = {}
    for account in accounts.values():
        groups.setdefault((account.url, account.model), []).append(account)
    rows = []
    for (url, model), group in groups.items():
        totals = Totals.of(group)
        money = totals.money(0)
        rows.append(
            {
                "url": url,
                "model": model,
                **totals.requests(),
                "doubtful": totals.doubtful,
                "tokens": totals.tokens(),
                "usd": money["usd"] if money else None,
            }
        )
    return rows
