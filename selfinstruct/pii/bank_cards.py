"""Numbers of bank and credit cards.

Enters: a text. Leaves: where they are. Knows no other kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfinstruct.pii.numbers import AFTER, BEFORE, digits_of, in_arithmetic, libraries, made_up

_CARD = re.compile(
    BEFORE + r"(?:(?P<grouped>\d{4}(?P<sep>[ -])\d{4}(?P=sep)\d{4}(?P=sep)\d{4}(?:(?P=sep)\d{1,3})?"
    r"|3[47]\d\d(?P<amex>[ -])\d{6}(?P=amex)\d{5})|\d{13,19})(?![ -]\d)" + AFTER,
    re.ASCII,
)
# First digits and lengths: Visa; Mastercard, two ranges; American Express; Discover; JCB; UnionPay.
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}",
    re.ASCII,
)
_SAYS_CARD = re.compile(
    r"卡号|卡號|银行卡|銀行卡|信用卡|储蓄卡|借记卡|账号|帳號"
    r"|\b(?:card|visa|mastercard|amex|unionpay|account)\b",
    re.IGNORECASE,
)
# Published by payment services for tests.
_NOBODYS = frozenset(
    {
        "378282246310005", "371449635398431", "378734493671000", "3530111333300000",
        "3566002020360505", "4000056655665556", "4012888888881881", "4111111111111111",
        "4242424242424242", "5105105105105100", "5200828282828210", "5555555555554444",
        "6011000990139424", "6011111111111117", "6200000000000005",
    }
)  # fmt: skip


def bank_cards(text: str) -> Iterator[tuple[int, int]]:
    """Spans of numbers of an issuer's range and length with Luhn's checksum, in groups, or bare
    beside a word that says what they are; test cards are left out.

    >>> list(bank_cards("4539 1488 0343 6467; 卡号6222020200112233446; not 4242 4242 4242 4242"))
    [(0, 19), (23, 42)]
    """
    luhn = libraries().luhn
    for match in _CARD.finditer(text):
        start, end = match.span()
        number = digits_of(match.group())
        said = match["grouped"] or _SAYS_CARD.search(text[max(0, start - 40) : start])
        if not said or not _ISSUED.fullmatch(number) or not luhn.is_valid(number):
            continue
        nobodys = number in _NOBODYS or len(set(number)) <= 3 or made_up(number[:-1], 10)
        if not nobodys and not in_arithmetic(text, start, end):
            yield start, end
