"""What a journal already holds: the run's header, and which requests are paid for or settled.

Enters: journal facts in order. Leaves: where each request's reply lies, the changes of dialect and
the totals of what was bought. Reads nothing but what it is given; knows no network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfinstruct.accounts import Account, Most, Totals
from selfinstruct.errors import JournalDamaged, Malformed, UsageError
from selfinstruct.journal import NAME, VERSION, Fact, body_of, read_facts
from selfinstruct.manifest import is_imported
from selfinstruct.prices import Price
from selfinstruct.providers.answers import read_body
from selfinstruct.records import Reply, Ticket

# A provider's batch may hold a token limit against us with this code.
TOKEN_LIMIT = "token_limit_exceeded"
# What a run may cost, as its last command said; the first one's words are in the header.
TERMS = ("max_cost", "max_total_tokens", "price_in", "price_out")
# Failures of a request in a batch that are its own; that its batch ended is not.
_COUNTED = ("rate", "server", "transport", Malformed.kind)


@dataclass
class OpenBatch:
    """A batch that was begun and has not ended: docs/design/batch.md.

    requests: how many it is to have; tickets: those whose intents are in the journal; held: those
    of them that have no answer yet, with the most that each can take. endpoint: an account's
    number. id, input_file: the provider's names for it, "" before they are known. status, counts:
    as last seen. replies: readable ones. failed: request → class, where its own attempt failed.
    """

    number: int
    endpoint: int
    requests: int
    token: str
    dialect: dict[str, Any]
    id: str = ""
    input_file: str = ""
    status: str = "not submitted"
    counts: dict[str, int] = field(default_factory=dict)
    tickets: set[Ticket] = field(default_factory=set)
    held: dict[Ticket, Most] = field(default_factory=dict)
    replies: int = 0
    failed: dict[Ticket, str] = field(default_factory=dict)


@dataclass
class History:
    """The index of a journal.

    settled: request → offset of the fact that settles it. prompts: request → prompt_digest as
    sent. changes: of dialect, in order, by (URL, model). target: the rows last asked for.
    accounts: what each endpoint took, by its number. seconds: spent generating, by all processes.
    batches: those that are open, by number; begun: how many there ever were. failures: classes of a
    request's own failures in batches. batch_limit: requests that a batch may have, once a provider
    said that one was too large; 0 for no such limit.
    """

    header: Fact = field(default_factory=dict)
    changes: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    settled: dict[Ticket, int] = field(default_factory=dict)
    prompts: dict[Ticket, str] = field(default_factory=dict)
    target: int | None = 0
    accounts: dict[int, Account] = field(default_factory=dict)
    seconds: float = 0.0
    batches: dict[int, OpenBatch] = field(default_factory=dict)
    begun: int = 0
    failures: dict[Ticket, list[str]] = field(default_factory=dict)
    batch_limit: int = 0
    _terms: dict[str, Any] = field(default_factory=dict)
    _outcomes: set[Ticket] = field(default_factory=set)
    _open: dict[tuple[Ticket, int], tuple[int, Most]] = field(default_factory=dict)

    @property
    def totals(self) -> Totals:
        return Totals.of(self.accounts.values())

    @property
    def terms(self) -> dict[str, Any]:
        """The caps and prices that the last command gave, None for those that it did not."""
        return self._terms or {name: self.header.get("config", {}).get(name) for name in TERMS}

    @classmethod
    def of(cls, facts: Iterable[tuple[int, Fact]]) -> History:
        """Raises JournalDamaged when the first fact is not a header of a version that we read."""
        history = cls()
        for offset, fact in facts:
            if not history.header:
                if fact.get("type") != "run" or fact.get("version") != VERSION:
                    raise JournalDamaged(
                        "the journal does not begin with a header that this version reads",
                        hint="was it made by a newer selfinstruct?",
                    )
                history.header = fact
            else:
                history.add(offset, fact)
        # A process that was killed left these without an answer: they may have been billed.
        for endpoint, most in history._open.values():
            history.account(endpoint).doubt(most)
        history._open.clear()
        return history

    @classmethod
    def load(cls, directory: Path) -> History:
        """The history of a run directory, without locking it. Raises UsageError for no run."""
        if not (directory / NAME).exists() and is_imported(directory):
            raise UsageError(
                f"{directory} holds imported rows, not a run: it has no journal to go by",
                hint="`show`, `stats` and `export` work on it",
            )
        history = cls.of(read_facts(directory / NAME))
        if not history.header:
            raise UsageError(f"{directory}: no run here yet: its journal is empty")
        return history

    def account(self, endpoint: int) -> Account:
        """The account of an endpoint. Journals of before there were numbers speak of one alone,
        that of their header: it is number -1."""
        if endpoint not in self.accounts:
            config = self.header.get("config", {})
            url, model = config.get("base_url"), config.get("model")
            known = isinstance(url, str) and isinstance(model, str)
            self.accounts[endpoint] = Account(url, model) if known else Account()
        return self.accounts[endpoint]

    def open_account(self, url: str, model: str, price: Price | None) -> tuple[int, Fact | None]:
        """(the number of an endpoint at its present price, the fact to append if it is a new one).

        A changed price opens another account: what was spent stays what it was.
        """
        for number, account in self.accounts.items():
            if (account.url, account.model, account.price) == (url, model, price):
                return number, None
        number = max(self.accounts, default=-1) + 1
        self.accounts[number] = Account(url, model, price)
        return number, _endpoint_fact(number, self.accounts[number])

    def learn_prices(self, prices: Mapping[str, Price]) -> list[Fact]:
        """The facts to append, now that models have prices that had none when they were asked.

        A cap is for the whole run: what they took then must count, too.
        """
        facts = []
        for number, account in self.accounts.items():
            if account.price is None and (price := prices.get(account.model)):
                account.learn_price(price)
                facts.append(_endpoint_fact(number, account))
        return facts

    def add(self, offset: int, fact: Fact) -> None:
        """Take in the next fact. A body in it must be text, as a journal gives it back."""
        kind = fact.get("type")
        if kind == "intent":
            self._add_intent(fact)
        elif kind == "reply":
            self._add_reply(offset, fact)
        elif kind == "outcome":
            # A readable reply, bought before or after, counts for more.
            if ticket(fact) not in self.settled:
                self.settled[ticket(fact)] = offset
                self._outcomes.add(ticket(fact))
        elif kind == "failure":
            self._add_failure(fact)
        elif kind == "target":
            self.target = fact["n"]
        elif kind == "terms":
            self._terms = {name: fact.get(name) for name in TERMS}
        elif kind == "endpoint":
            price = Price.restored(fact["price"]) if fact["price"] else None
            known = self.accounts.setdefault(fact["id"], Account(fact["url"], fact["model"], price))
            if price and known.price is None:
                known.learn_price(price)
        elif kind == "adapt":
            account = self.account(fact.get("to", -1))
            self.changes.setdefault((account.url, account.model), []).append(fact["change"])
        elif kind == "session":
            self.seconds += fact["seconds"]
        elif kind is not None and kind.startswith("batch"):
            self._add_batch(kind, fact)

    def _add_batch(self, kind: str, fact: Fact) -> None:
        number = fact["b"]
        if kind == "batch":
            self.begun = max(self.begun, number + 1)
            self.batches[number] = OpenBatch(
                number, fact["to"], fact["requests"], fact["token"], fact["dialect"]
            )
        elif kind == "batch_uploaded":
            self.batches[number].input_file = fact["input_file_id"]
        elif kind == "batch_submitted":
            self.batches[number].id = fact["batch_id"]
            self.batches[number].status = "submitted"
        elif kind == "batch_seen":
            self.batches[number].status = fact["status"]
            self.batches[number].counts = fact["counts"]
        elif kind == "batch_ended":
            self._end_batch(self.batches.pop(number), fact)

    def _end_batch(self, batch: OpenBatch, fact: Fact) -> None:
        if fact.get("code") == TOKEN_LIMIT:
            self.batch_limit = max(1, batch.requests // 2)
        # While nothing at all was ever answered it is the endpoint that fails, not the request.
        if self.totals.paid:
            for request, kind in batch.failed.items():
                self.failures.setdefault(request, []).append(kind)

    def _add_intent(self, fact: Fact) -> None:
        endpoint, most = fact.get("to", -1), Most(*fact.get("most", (0, 0)))
        self.account(endpoint).sent += 1
        self.prompts[ticket(fact)] = fact["prompt"]
        if batch := self.batches.get(fact.get("batch", -1)):
            # Until the batch ends it is neither spent nor doubtful: its answer is still to come.
            batch.tickets.add(ticket(fact))
            batch.held[ticket(fact)] = most
            return
        key = ticket(fact), fact["attempt"]
        if left := self._open.pop(key, None):
            # Each process counts attempts from 1: an earlier one was killed here.
            self.account(left[0]).doubt(left[1])
        self._open[key] = endpoint, most

    def _close(self, fact: Fact) -> tuple[Account, Most]:
        """The account and the reservation of the attempt that `fact` ends."""
        if batch := self.batches.get(fact.get("batch", -1)):
            return self.account(batch.endpoint), batch.held.pop(ticket(fact), Most(0, 0))
        key = ticket(fact), fact["attempt"]
        endpoint, most = self._open.pop(key, (fact.get("to", -1), Most(0, 0)))
        return self.account(endpoint), most

    def _add_failure(self, fact: Fact) -> None:
        batch = self.batches.get(fact.get("batch", -1))
        if batch and fact["class"] in _COUNTED:
            batch.failed[ticket(fact)] = fact["class"]
        if fact["class"] == Malformed.kind:
            # Its reply fact came before and charged it.
            self.account(fact.get("to", -1)).failed += 1
            return
        account, most = self._close(fact)
        account.failed += 1
        if fact.get("billed"):
            account.doubt(most)

    def _add_reply(self, offset: int, fact: Fact) -> None:
        request = ticket(fact)
        account, most = self._close(fact)
        try:
            reply = settle(fact)
        except Malformed:
            account.paid += 1
            account.doubt(most)
            return
        account.count(reply, most)
        if batch := self.batches.get(fact.get("batch", -1)):
            batch.replies += 1
        if request not in self.settled or request in self._outcomes:
            self.settled[request] = offset
            self._outcomes.discard(request)


def _endpoint_fact(number: int, account: Account) -> Fact:
    stated = account.price.stored() if account.price else None
    return {
        "type": "endpoint",
        "id": number,
        "url": account.url,
        "model": account.model,
        "price": stated,
    }


def ticket(fact: Fact) -> Ticket:
    """The request that a fact speaks of."""
    return Ticket(fact["k"], fact["lang"])


def settle(fact: Fact) -> Reply:
    """The Reply in a `reply` or `outcome` fact. Raises Malformed for a reply that is not one."""
    if fact["type"] == "outcome":
        k, lang = ticket(fact)
        return Reply(request=k, lang=lang, text="", outcome=fact["reason"])
    return read_body(ticket(fact), fact["api"], body_of(fact))


def header_fact(
    *,
    fingerprint: dict[str, Any],
    config: dict[str, Any],
    seeds: dict[str, str],
    templates: dict[str, str],
    at: float,
) -> Fact:
    """The first fact of a journal. Seeds and templates, by language, are kept whole, so that a run
    directory needs nothing else to be resumed or verified. `at` is Unix time in seconds."""
    return {
        "type": "run",
        "version": VERSION,
        "at": at,
        "fingerprint": fingerprint,
        "config": config,
        "seeds": seeds,
        "templates": templates,
    }
