"""What the finders of numbers share: where a number begins and ends, what is arithmetic or made up.

Enters: texts and places in them. Leaves: yes or no. Knows no kind of number.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from types import SimpleNamespace

from selfinstruct.errors import UsageError

# Used with re.ASCII: an ideograph beside a number is no part of it, nor of a word before it.
BEFORE = r"(?<![\w.+/=&#$€£¥~^@-])(?<![0-9][:,])"
AFTER = r"(?![\w%°€£¥@]|[-.,/:]\d)"
# A star may also be a bullet or the end of bold text: an operator has something on both sides.
_ARITHMETIC_BEFORE = re.compile(r"(?:[0-9)][ \t]{0,2}[-+*×÷]|[=^≈])[ \t]{0,2}\Z")
# "1 +86 …" is followed by another telephone number, "1 + 86" is a sum.
_ARITHMETIC_AFTER = re.compile(
    r"[ \t]{0,2}(?:[=^≈]|[-*×÷][ \t]{0,2}[0-9(]|\+[ \t]{1,2}[0-9(])|\+[0-9(]"
)


@cache
def libraries() -> SimpleNamespace:
    """What is used of phonenumberslite and python-stdnum. Raises UsageError when one is missing."""
    try:
        import phonenumbers
        from stdnum import luhn
        from stdnum.cn import ric
        from stdnum.us import ssn
    except ImportError:
        raise UsageError(
            "finding personal data needs phonenumberslite and python-stdnum",
            hint="pip install 'selfinstruct[pii]'",
        ) from None
    return SimpleNamespace(phones=phonenumbers, luhn=luhn, ric=ric, ssn=ssn)


def in_arithmetic(text: str, start: int, end: int) -> bool:
    """Whether a number stands beside an operator or a relation.

    >>> in_arithmetic("2 ^ 34 = 17179869184", 9, 20)
    True
    """
    return bool(
        _ARITHMETIC_BEFORE.search(text[max(0, start - 6) : start])
        or _ARITHMETIC_AFTER.match(text[end : end + 6])
    )


def digits_of(text: str) -> str:
    """The digits alone.

    >>> digits_of("(212) 684-4700")
    '2126844700'
    """
    return re.sub(r"\D", "", text, flags=re.ASCII)


def made_up(digits: str, last: int = 7) -> bool:
    """Whether the last digits only count up, count down or repeat.

    >>> made_up("13812345678"), made_up("13916853214")
    (True, False)
    """
    tail = [int(digit) for digit in digits[-last:]]
    steps = {(b - a) % 10 for a, b in pairwise(tail)}
    return steps in ({0}, {1}, {9})
