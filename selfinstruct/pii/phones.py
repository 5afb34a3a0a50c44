"""Telephone numbers that may be a person's.

Enters: a text. Leaves: where they are. Knows no other kind.

Looked for: +COUNTRY numbers of any country; US and Canadian ones with separators, Chinese landlines
with their area code, Chinese mobiles in groups; bare digits only beside a word that says what they
are. Google's metadata decides whether such a number is assigned, and to what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfinstruct.pii.numbers import AFTER, BEFORE, digits_of, in_arithmetic, libraries, made_up

_SAYS_PHONE = re.compile(
    r"电话|電話|手机|手機|联系|聯繫|拨打|撥打|致电|致電|微信|短信|号码|號碼|热线|来电|呼叫"
    r"|\b(?:phones?|telephones?|mobiles?|tel|cell|call|contact|whatsapp|sms|text me|fax)\b",
    re.IGNORECASE,
)
_SAYS_OTHER = re.compile(
    r"(?:订单|訂單|单号|單號|编号|編號|流水|序列|快递|QQ|order|invoice|tracking|serial|isbn"
    r"|account|\bid\b)[^\n]{0,12}\Z",
    re.IGNORECASE,
)
_AMOUNT = re.compile(r"\s?(?:元|美元|万|亿|人|米|公里|吨|年|次|个|字节|dollars|bytes|people|years)")
_NATIONAL = re.compile(
    BEFORE + r"(?:"
    r"(?P<us>(?:1[ .-])?(?:\([2-9]\d\d\)\s?|[2-9]\d\d(?P<us_sep>[.-]))"
    r"\d{3}(?(us_sep)(?P=us_sep)|[ .-])\d{4})"
    r"|(?P<cn>(?:\(0\d{2,3}\)\s?|0\d{2,3}-)\d{7,8}"
    r"|1[3-9]\d(?P<cn_sep>[ -])\d{4}(?P=cn_sep)\d{4})"
    r"|(?P<cn_bare>(?:86)?1[3-9]\d{9})"
    r"|(?P<us_bare>[2-9]\d\d ?[2-9]\d\d ?\d{4})"
    r")" + AFTER,
    re.ASCII,
)
_SHAPES = ("us", "cn", "cn_bare", "us_bare")
_INTERNATIONAL = re.compile(
    r"(?<![\w+/=*^-])\+(?=[1-9])\d{1,4}(?:[ .-]?[ (]?\d\)?){5,14}(?!\d)", re.ASCII
)
# China Mobile's own, in every advertisement.
_NOBODYS = frozenset({"13800138000"})


def phones(text: str) -> Iterator[tuple[int, int]]:
    """Spans of numbers; 555, toll-free, unassigned and made-up ones are left out.

    >>> list(phones("Call 2126844700 or +44 20 7946 0958, not 1-800-799-7233; order 13916853214."))
    [(5, 15), (19, 35)]
    """
    for match in _NATIONAL.finditer(text):
        start, end = match.span()
        shape = next(name for name in _SHAPES if match[name])
        if shape.endswith("bare") and not _said(text, start, end):
            continue
        if _is_private(match.group(), shape[:2].upper()) and not in_arithmetic(text, start, end):
            yield start, end
    if "+" in text:
        yield from _international(text)


def _said(text: str, start: int, end: int) -> bool:
    """Whether the words beside bare digits say that they are a telephone number."""
    before = text[max(0, start - 60) : start]
    said = _SAYS_PHONE.search(before) or _SAYS_PHONE.search(text[end : end + 20])
    return bool(said) and not _SAYS_OTHER.search(before) and not _AMOUNT.match(text, end)


def _international(text: str) -> Iterator[tuple[int, int]]:
    for match in _INTERNATIONAL.finditer(text):
        start, number = match.start(), match.group()
        # What follows a blank or hyphen may be the next number.
        while number and not _is_private(number, None):
            number = number[: max(number.rfind(" "), number.rfind("-"), 0)].rstrip(" .-(")
        if number and not in_arithmetic(text, start, start + len(number)):
            yield start, start + len(number)


def _is_private(number: str, region: str | None) -> bool:
    """Whether a number is assigned, such as people have, and not made up."""
    library = libraries().phones
    digits = digits_of(number)
    if digits[-11:] in _NOBODYS or made_up(digits):
        return False
    try:
        parsed = library.parse(number, region)
    except library.NumberParseException:
        return False
    national = str(parsed.national_number)
    if parsed.country_code == 1 and "555" in (national[:3], national[3:6]):
        return False
    kinds = library.PhoneNumberType
    private = (kinds.FIXED_LINE, kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE, kinds.PERSONAL_NUMBER)
    return library.number_type(parsed) in private
