"""The error tree: what can go wrong, whether trying again helps, and how the command ends.

Every class carries `retryable` (the generator's only question), `exit_code` (the CLI's) and a
`hint`: one sentence that says what to do. Knows nothing of HTTP, files or the terminal.

    SelfInstructError
    ├── UsageError              2   bad flag, bad config, bad input file (with FILE:LINE)
    │   ├── RunMismatch         2   this directory holds a different run
    │   └── RunLocked           2   another process is writing this directory
    ├── JournalDamaged          2   damage before the tail of the journal
    ├── ProviderRefused         3   401, 403, unknown model, quota: final for every request
    ├── DiskError               4   a write or an fsync failed
    ├── GaveUp                  5   endpoint unreachable, or it kept failing
    ├── TrainingFailed          5   a loss that is no number
    ├── BudgetReached           6   one more request could pass --max-cost or --max-total-tokens
    ├── Interrupted       130/143   SIGINT / SIGTERM
    └── RequestFailed           -   one attempt failed; never reaches the CLI by itself
        ├── RateLimited             429: wait, does not use up an attempt
        ├── ServerFailed            408, 5xx
        ├── TransportFailed         connect, reset, short body, deadline
        ├── Malformed               200, but not the answer the API promises
        ├── EndpointLost            one of several endpoints refuses for good: ask another
        ├── Adaptable               400 naming a parameter that we can change and resend
        └── Outcome                 final for this request alone: context too long, content filter
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class SelfInstructError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    hint: str = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message


class UsageError(SelfInstructError):
    """The user's flags, files or configuration cannot be used as they are."""

    exit_code = 2


class RunMismatch(UsageError):
    """The run directory was made with a different generation fingerprint."""


class RunLocked(UsageError):
    """Another process holds the run directory."""


class JournalDamaged(SelfInstructError):
    """A journal record before the last one cannot be trusted."""

    exit_code = 2


class ProviderRefused(SelfInstructError):
    """The provider says no to this account, key or model: no later request can succeed."""

    exit_code = 3


class DiskError(SelfInstructError):
    """A write or fsync failed; nothing more may be bought."""

    exit_code = 4


class GaveUp(SelfInstructError):
    """The endpoint could not be reached or kept failing."""

    exit_code = 5


class TrainingFailed(SelfInstructError):
    """A training went astray: more of it would not help."""

    exit_code = 5


class BudgetReached(SelfInstructError):
    """The run's budget cannot bear one more request at its worst."""

    exit_code = 6


class Interrupted(SelfInstructError):
    """SIGINT or SIGTERM ended the run; what was paid for is in the journal."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class RequestFailed(SelfInstructError):
    """One attempt at one request failed.

    `kind` is the class name that the journal's failure record carries (DESIGN §4). retry_after:
    seconds. headers: what came with the refusal. billed: the provider may have charged for it.
    """

    kind: ClassVar[str] = "failed"
    retryable = True
    billed = False
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

    def stored(self) -> dict[str, object]:
        """The journal's fields for a failed attempt."""
        return {"class": self.kind, "status": self.status, "message": str(self)}


class RateLimited(RequestFailed):
    """429: the endpoint asks for patience. Never counts as an attempt."""

    kind = "rate"


class ServerFailed(RequestFailed):
    """408 or 5xx."""

    kind = "server"


class TransportFailed(RequestFailed):
    """No complete answer arrived: connect, reset, short body, deadline. May have been billed,
    unless no connection was ever made."""

    kind = "transport"
    billed = True


class Malformed(RequestFailed):
    """A 200 whose body is not the promised JSON. The bytes are paid for and journaled."""

    kind = "malformed"
    billed = True


class EndpointLost(RequestFailed):
    """One of several endpoints refuses for good; another one may answer this request."""

    kind = "refused"


class Adaptable(RequestFailed):
    """The model refuses a parameter that we know how to send differently."""

    kind = "adapt"

    def __init__(self, message: str, *, change: str, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.change = change


class Outcome(RequestFailed):
    """Final for this one request: context too long, content filter. Recorded, never retried."""

    kind = "outcome"
    retryable = False

    def __init__(self, message: str, *, reason: str, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.reason = reason
