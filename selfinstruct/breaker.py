"""When to give an endpoint up altogether. Pure: times in seconds come in as arguments.

Enters: successes and failures. Leaves: a sentence that explains, once nothing at all has succeeded
for the patience allowed. Knows no network.
"""

from __future__ import annotations

from selfinstruct.errors import RateLimited, RequestFailed, TransportFailed

_FIRST_PATIENCE = 10.0
_RATE_PATIENCE = 10


class Breaker:
    """For one model, at however many endpoints. patience: seconds; `_RATE_PATIENCE` times as long
    when the endpoint says 429, at most `_FIRST_PATIENCE` when it was never reached."""

    def __init__(self, patience: float, now: float) -> None:
        self._patience = patience
        self._failures = 0
        self._failing_since = now
        self.answered = False
        self.last_success = now

    def succeeded(self, now: float) -> None:
        """An answer came."""
        self.answered = True
        self.last_success = now
        self._failures = 0

    def failed(self, now: float, error: RequestFailed) -> str:
        """Count a failure; why to give up, "" to go on."""
        patience = self._patience
        if isinstance(error, TransportFailed) and not self.answered:
            patience = min(patience, _FIRST_PATIENCE)
        if isinstance(error, RateLimited):
            patience *= _RATE_PATIENCE
        self._failures += 1
        if self._failures == 1:
            self._failing_since = now
        if error.retry_after:
            # Time that the server told us to wait is not silence.
            self._failing_since = max(self._failing_since, now + error.retry_after - patience)
        silent = now - self._failing_since
        if silent < patience or self._failures < 2:
            return ""
        return (
            f"no answer for {silent:.0f} s, {self._failures} attempts failed in a row; "
            f"the last: {error}"
        )
