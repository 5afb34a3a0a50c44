"""Identity numbers: the Chinese resident id and the US social security number.

Enters: a text. Leaves: where they are. Knows no other kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfinstruct.pii.numbers import AFTER, BEFORE, digits_of, in_arithmetic, libraries, made_up

_NUMBER = re.compile(
    BEFORE
    + r"(?:(?P<cn>[1-9]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])[0-3]\d{4}[\dXx])|\d{3}-\d\d-\d{4})"
    + AFTER,
    re.ASCII,
)
# The example of GB 11643 itself.
_NOBODYS = frozenset({"11010519491231002X"})


def id_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Spans of numbers whose place, date and checksum fit (China) or whose area and group exist
    (USA, with hyphens); printed examples are left out.

    >>> list(id_numbers("身份证360426199101010071, SSN 536-90-4399, not 123-45-6789"))
    [(3, 21), (27, 38)]
    """
    library = libraries()
    for match in _NUMBER.finditer(text):
        number = match.group().upper()
        if match["cn"]:
            valid = number not in _NOBODYS and library.ric.is_valid(number)
        else:
            valid = library.ssn.is_valid(number) and not made_up(digits_of(number), 9)
        if valid and not in_arithmetic(text, *match.span()):
            yield match.span()
