"""How a model wants to be asked: the shape of the request body, and what refusals teach of it.

Enters: a Prompt and sampling parameters. Leaves: a request body. Pure. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from selfinstruct.records import Api, Prompt


@dataclass(frozen=True)
class Dialect:
    """How this model wants to be asked; grown by the refusals it has answered so far."""

    api: Api = "completions"
    max_tokens_name: str = "max_tokens"
    dropped: frozenset[str] = frozenset()

    def changed(self, change: str) -> Dialect:
        """The dialect after one change, as the journal stores it ("api=chat", "drop seed", …)."""
        if change == "api=chat":
            return replace(self, api="chat")
        if change.startswith("max_tokens="):
            return replace(self, max_tokens_name=change.partition("=")[2])
        return replace(self, dropped=self.dropped | {change.removeprefix("drop ")})

    def parameters(self, prompt: Prompt, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """The request body without the model's name."""
        body: dict[str, Any] = {**sampling, "seed": prompt.seed}
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        body[self.max_tokens_name] = body.pop("max_tokens")
        # A lone surrogate, which a model may well have written, has no UTF-8: it is sent as "?".
        text = prompt.text.encode("utf-8", "replace").decode("utf-8")
        if self.api == "chat":
            body["messages"] = [{"role": "user", "content": text}]
            if prompt.schema is not None:
                schema = {"type": "json_schema", "json_schema": prompt.schema}
                body["response_format"] = schema
        else:
            body["prompt"] = text
        return {key: value for key, value in body.items() if key not in self.dropped}


def explain(change: str) -> str:
    """A change of dialect for people."""
    if change == "api=chat":
        return "the server has no completions for this model; asking chat instead"
    if change.startswith("max_tokens="):
        return f"the model wants {change.partition('=')[2]} for max_tokens; sending that instead"
    if change == "drop response_format":
        return "the server takes no JSON schema; asking for JSON in words alone"
    if change == "drop n":
        return "the server gives one answer to a prompt, not several; asking for one"
    return f"the model refuses {change.removeprefix('drop ')}; leaving it out"
