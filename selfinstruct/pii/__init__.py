"""Personal data and secrets in a text: where they are, and the text without them.

Enters: a text. Leaves: findings in order, none overlapping, or the text with a marker for each and
how many of each kind. Knows no row, file or network.

What is flagged must be it. A form that other numbers share counts only where words beside it say
what it is, numbers in arithmetic never, and what cannot be anybody's is no personal data: addresses
at example.com and the other names of RFC 2606, 555 numbers, 123-45-6789, test cards, toll-free
numbers. docs/design/pii.md has the precision measured and what is missed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from selfinstruct.errors import UsageError
from selfinstruct.pii.bank_cards import bank_cards
from selfinstruct.pii.emails import emails
from selfinstruct.pii.id_numbers import id_numbers
from selfinstruct.pii.ip_addresses import ip_addresses
from selfinstruct.pii.numbers import libraries
from selfinstruct.pii.phones import phones
from selfinstruct.pii.secrets import secrets

# By kind, in the order in which they are preferred for the same characters.
FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "secret": secrets,
    "email": emails,
    "id_number": id_numbers,
    "bank_card": bank_cards,
    "phone": phones,
    "ip_address": ip_addresses,
}
# Those looked for unless others are named.
KINDS = ("secret", "email", "id_number", "bank_card", "phone")

_FULL_WIDTH = re.compile("[\uff10-\uff19\uff20]|\uff08[0-9]{2,4}\uff09")
# One character for one, so places stay.
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}


class Finding(NamedTuple):
    """One finding: text[start:end] of the text that was searched."""

    kind: str
    start: int
    end: int
    text: str


def find(text: str, kinds: Collection[str] = KINDS) -> list[Finding]:
    """Findings of `kinds` in order; where two overlap, the earlier, then the longer one.

    Raises UsageError for an unknown kind, or when the libraries are not installed.

    >>> for finding in find("Write to jane.roe@gmail.com or call (212) 684-4700, not 555-0199."):
    ...     print(finding)
    Finding(kind='email', start=9, end=27, text='jane.roe@gmail.com')
    Finding(kind='phone', start=36, end=50, text='(212) 684-4700')
    """
    if unknown := set(kinds) - FINDERS.keys():
        known = ", ".join(FINDERS)
        raise UsageError(f"unknown kind of personal data {min(unknown)!r}; known: {known}")
    libraries()
    searched = text.translate(_HALF_WIDTH) if _FULL_WIDTH.search(text) else text
    spans = [
        (start, -end, order, kind)
        for order, kind in enumerate(FINDERS)
        if kind in kinds
        for start, end in FINDERS[kind](searched)
    ]
    found: list[Finding] = []
    for start, minus_end, _, kind in sorted(spans):
        if not found or start >= found[-1].end:
            found.append(Finding(kind, start, -minus_end, text[start:-minus_end]))
    return found


def mask(text: str, kinds: Collection[str] = KINDS) -> tuple[str, Counter[str]]:
    """The text with [EMAIL], [PHONE], … for what `find` finds, until it finds nothing more.

    >>> mask("请致电13916853214或写信到wang.li@163.com。")
    ('请致电[PHONE]或写信到[EMAIL]。', Counter({'phone': 1, 'email': 1}))
    """
    counts: Counter[str] = Counter()
    # A second look is rarely of use: what was masked may have hidden something beside it.
    while found := find(text, kinds):
        parts, done = list[str](), 0
        for kind, start, end, _ in found:
            parts += (text[done:start], f"[{kind.upper()}]")
            done = end
            counts[kind] += 1
        text = "".join([*parts, text[done:]])
    return text, counts


__all__ = ["FINDERS", "KINDS", "Finding", "find", "mask"]
