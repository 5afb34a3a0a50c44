"""What a 200 says: the raw bytes of an answer → a Reply. Pure.

Enters: journaled bytes and the API that was asked. Leaves: a Reply, or Malformed. Knows no HTTP.
The SDK returns a str for an HTML page and None for `null`, so the bytes are read here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from selfinstruct.errors import Malformed
from selfinstruct.records import Api, Choice, Reply, Ticket

MALFORMED = Malformed.kind

# Reasoning models: "<think>…</think>answer", or only the closing tag when the template opened it.
_THOUGHT = re.compile(r"\A(?:\s*<think>.*?|(?:(?!<think>).)*)</think>", re.DOTALL)
# What a server leaves of the tokenizer's own end markers.
_END_TOKENS = re.compile(r"(?:\s*(?:<\|[a-z_]{2,20}\|>|</s>))+\s*\Z")
# No request takes more tokens than this; a float could not even say what they cost.
_MOST = 10**12


def read_body(ticket: Ticket, api: Api, body: bytes) -> Reply:
    """The Reply in the raw body of a 200. Pure. Raises Malformed when the body is not one.

    >>> body = b'{"choices":[{"text":" Hi","finish_reason":"stop"}]}'
    >>> read_body(Ticket(0, "en"), "completions", body).text
    ' Hi'
    """
    try:
        # Decoded here, since json would let surrogates through that UTF-8 does not have.
        data: Any = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        start = body[:60].decode("utf-8", "replace")
        raise Malformed(f"a 200 that is not JSON: {start!r}", status=200) from None
    choices = _choices(api, data)
    first = next((choice for choice in choices if not choice.outcome), None)
    if first is None:
        # What a provider says of its answer is more than that it could not be read.
        first = next((choice for choice in choices if choice.outcome != MALFORMED), choices[0])
    choices.remove(first)
    usage = data.get("usage")
    prompt_tokens = _count(usage, "prompt_tokens")
    model = data.get("model")
    return Reply(
        request=ticket.k,
        lang=ticket.lang,
        text=first.text,
        finish_reason=first.finish_reason,
        model=model if isinstance(model, str) else "",
        prompt_tokens=prompt_tokens,
        completion_tokens=_count(usage, "completion_tokens"),
        outcome=first.outcome,
        rest=tuple(choices),
        cached_tokens=_cached(usage, prompt_tokens),
    )


def _choices(api: Api, data: Any) -> list[Choice]:
    """All choices in the order of their `index`. Raises Malformed when none can be read."""
    found = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(found, list) or not found:
        raise Malformed("a 200 without choices", status=200)
    choices: list[tuple[int, Choice]] = []
    problem: Malformed | None = None
    for place, choice in enumerate(found):
        try:
            read = _choice(api, choice)
        except Malformed as error:
            problem = problem or error
            read = Choice("", outcome=MALFORMED)
        index = _count(choice, "index")
        choices.append((place if index is None else index, read))
    if problem and all(choice.outcome == MALFORMED for _index, choice in choices):
        raise problem
    return [choice for _index, choice in sorted(choices, key=lambda pair: pair[0])]


def _choice(api: Api, choice: Any) -> Choice:
    if not isinstance(choice, dict):
        raise Malformed("a 200 without choices", status=200)
    text, refused = _text(api, choice)
    finish = choice.get("finish_reason")
    finish_reason = finish if isinstance(finish, str) else ""
    outcome = ""
    if refused:
        outcome = "refusal"
    elif finish_reason == "content_filter":
        outcome = "content_filter"
    elif not text.strip():
        outcome = "empty"
    return Choice("" if outcome else text, finish_reason, outcome)


def _text(api: Api, choice: Mapping[str, Any]) -> tuple[str, bool]:
    """(the generated text, was it refused?)"""
    if api == "completions":
        text = choice.get("text")
        if not isinstance(text, str):
            raise Malformed("a 200 whose choice has no text", status=200)
        return _END_TOKENS.sub("", text), False
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Malformed("a 200 whose choice has no message", status=200)
    if message.get("refusal"):
        return "", True
    content = message.get("content")
    if content is None:
        return "", False
    if not isinstance(content, str):
        raise Malformed("a 200 whose message has no text", status=200)
    return _END_TOKENS.sub("", _THOUGHT.sub("", content)), False


def _cached(usage: Any, prompt_tokens: int | None) -> int | None:
    """Tokens of the prompt that the provider had in its cache, never more than the prompt has."""
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    cached = _count(details, "cached_tokens")
    if cached is None:
        cached = _count(usage, "prompt_cache_hit_tokens")  # DeepSeek
    return None if cached is None or prompt_tokens is None else min(cached, prompt_tokens)


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST
    return value if known else None
