"""`cancel`: the open batches of a run, stopped at their providers.

Enters: a run directory, endpoints. Leaves: what the providers say. Writes nothing, so that it works
beside a process that waits for the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt

from selfinstruct.batches.waiting import again, pause
from selfinstruct.config import public_url
from selfinstruct.errors import GaveUp, RequestFailed, UsageError
from selfinstruct.history import History, OpenBatch
from selfinstruct.providers.batch_api import TERMINAL, BatchApi, Seen
from selfinstruct.routes import Endpoint


def cancel(directory: Path, endpoints: Sequence[Endpoint]) -> list[dict[str, Any]]:
    """Cancel the open batches of a run at their providers: one row for each, with what the provider
    says now. Writes nothing, so that it works beside a process that waits for them.

    Raises UsageError for no run, or when an endpoint is not among those of the open batches.
    """
    history = History.load(directory)
    rows = []
    for batch in history.batches.values():
        account = history.account(batch.endpoint)
        for endpoint in endpoints:
            if public_url(endpoint.base_url) == account.url:
                break
        else:
            raise UsageError(f"batch {batch.id or batch.number} is at {account.url}: --base-url")
        with BatchApi(base_url=endpoint.base_url, api_key=endpoint.api_key) as api:
            rows.append({"b": batch.number, "url": account.url, **_cancel_one(api, batch)})
    return rows


def _cancel_one(api: BatchApi, batch: OpenBatch) -> dict[str, Any]:
    retrying = Retrying(
        retry=retry_if_exception(again), wait=pause, stop=stop_after_attempt(5), reraise=True
    )
    try:
        if batch.id:
            seen: Seen | None = retrying(api.look, batch.id)
        else:
            seen = retrying(api.find, batch.token, batch.input_file)
        if seen is None:
            return {"id": "", "status": "never submitted", "completed": 0, "total": 0}
        if seen.status not in TERMINAL:
            seen = retrying(api.cancel, seen.id)
    except RequestFailed as error:
        raise GaveUp(f"{api.base_url}: {error}", hint="is the server up?") from None
    counts = {"completed": seen.completed, "total": seen.total or batch.requests}
    return {"id": seen.id, "status": seen.status, **counts}
