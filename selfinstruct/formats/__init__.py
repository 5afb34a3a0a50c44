"""The row layouts that trainers read, both ways. A new one is one file here with one line in
FORMATS."""

from __future__ import annotations

from selfinstruct.errors import UsageError
from selfinstruct.formats.alpaca import ALPACA, BELLE_1M, alpaca_row, example_row, read_alpaca
from selfinstruct.formats.belle_conversations import BELLE_CONVERSATIONS
from selfinstruct.formats.belle_half_million import BELLE_HALF_MILLION
from selfinstruct.formats.belle_multiturn import BELLE_MULTITURN
from selfinstruct.formats.chatllama import CHATLLAMA
from selfinstruct.formats.format import Fields, Format, question
from selfinstruct.formats.messages import MESSAGES, TRL
from selfinstruct.formats.sharegpt import SHAREGPT
from selfinstruct.formats.ziya import ZIYA

# Fields of a row that a message names.
_NAMED = 6
# In the order in which a row is asked whether it is one of them.
FORMATS: dict[str, Format] = {
    layout.name: layout
    for layout in (
        MESSAGES,
        BELLE_CONVERSATIONS,
        SHAREGPT,
        TRL,
        ZIYA,
        CHATLLAMA,
        BELLE_HALF_MILLION,
        BELLE_MULTITURN,
        ALPACA,
        BELLE_1M,
    )
}


def get_format(name: str) -> Format:
    """The format called `name`. Raises UsageError naming the known ones."""
    try:
        return FORMATS[name]
    except KeyError:
        known = ", ".join(sorted(FORMATS))
        raise UsageError(f"unknown format {name!r}; known: {known}") from None


def recognise(fields: Fields) -> Format | None:
    """The layout of a row with these fields, None for none of ours; the first that knows it.

    `messages` goes before all else, since such rows often carry a `prompt` as well; `conversations`
    are BELLE's where "assistant" answers and ShareGPT's elsewhere; an `instruction` of labelled
    turns is BELLE's, any other is Alpaca's.

    >>> recognise({"instruction": "Name a river.", "input": "", "output": "The Nile."}).name
    'alpaca'
    >>> recognise({"prompt": "Name a river.", "chosen": "The Nile.", "rejected": "Kenya."})
    """
    return next((layout for layout in FORMATS.values() if layout.knows(fields)), None)


def unknown_layout(fields: Fields) -> str:
    """The phrase for a row that no layout knows.

    >>> unknown_layout({"question": "Which river is the longest?"})
    "no known layout has the fields 'question'; name one with --format"
    """
    names = [repr(name[:40]) for name in fields]
    more = ", …" if len(names) > _NAMED else ""
    said = ", ".join(names[:_NAMED]) + more if names else "of an empty object"
    return f"no known layout has the fields {said}; name one with --format"


__all__ = [
    "FORMATS",
    "Fields",
    "Format",
    "alpaca_row",
    "example_row",
    "get_format",
    "question",
    "read_alpaca",
    "recognise",
    "unknown_layout",
]
