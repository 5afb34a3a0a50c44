"""Personal data: what is found, what is not, and what masking leaves.

Enters: made-up numbers with right checksums. Leaves: nothing. Nobody's data is in here.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import random
import sys
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from selfinstruct import pii
from selfinstruct.errors import UsageError
from selfinstruct.pii import FINDERS, KINDS, Finding, find, mask
from selfinstruct.pii.numbers import libraries

# Put together here: a scanner of this repository should find no key in it.
KEY_BODY = "Zk3vQ8mN1pLx7RtYw2BdHc5JfGs9Ka4E"
PRIVATE = (
    "-----BEGIN {0}PRIVATE KEY-----\n" + (KEY_BODY * 2 + "\n") * 3 + "-----END {0}PRIVATE KEY-----"
)

MODULES = [
    "selfinstruct.pii",
    *(f"selfinstruct.pii.{m.name}" for m in pkgutil.iter_modules(pii.__path__)),
]

PERSONAL = [
    ("email", "jane.roe+news@gmail.com", "Write to {}, please."),
    ("email", "wang_li@163.com", "邮箱是{}。"),
    ("email", "J.Roe@math.some-college.edu", "<{}>"),
    ("email", "123456789@qq.com", "QQ邮箱：{}，谢谢"),
    ("phone", "(212) 684-4700", "Call {}."),
    ("phone", "(212) 684-4700", "<td>{}</td>"),
    ("phone", "212-684-4700", "**Phone:** {}\n* next"),
    ("phone", "212.684.4700", "tel {}"),
    ("phone", "1-212-684-4700", "{}"),
    ("phone", "2126844700", "My cell is {}"),
    ("phone", "+1 212 684 4700", "{}"),
    ("phone", "+44 20 7946 0958", "Ring {} 2 times"),
    ("phone", "+49 30 901820", "tel:{}"),
    ("phone", "+8613916853214", "{}"),
    ("phone", "13916853214", "手机：{}（微信同号）"),
    ("phone", "139-1685-3214", "{}"),
    ("phone", "139 1685 3214", "王先生 {}"),
    ("phone", "021-64312345", "电话{}转3"),
    ("phone", "（021）64312345", "{}"),
    ("phone", "１３９１６８５３２１４", "请致电{}"),
    ("id_number", "360426199101010071", "身份证号{}，"),
    ("id_number", "536-90-4399", "SSN: {}"),
    ("bank_card", "4539 1488 0343 6467", "{}"),
    ("bank_card", "4539-1488-0343-6467", "paid with {}."),
    ("bank_card", "4539148803436467", "Visa card number {}"),
    ("bank_card", "6222020200112233446", "银行卡号：{}"),
    ("bank_card", "3759 876543 26185", "{}"),
    ("secret", "sk-" + KEY_BODY, "OPENAI_API_KEY={}"),
    ("secret", "sk-proj-" + KEY_BODY, '"{}"'),
    ("secret", "sk-ant-api03-" + KEY_BODY, "key: {}"),
    ("secret", "ghp_" + KEY_BODY + "abcd", "git clone https://{}@github.com/a/b"),
    ("secret", "AKIA" + "Q7ZP3MWN5RTX2KLD", "aws {}"),
    ("secret", "AIza" + KEY_BODY + "abc", "?key={}"),
    ("secret", "xoxb-" + "123-456-" + KEY_BODY, "{}"),
    ("secret", f"eyJ{KEY_BODY}.eyJ{KEY_BODY}.{KEY_BODY}", "Bearer {}"),
    ("secret", PRIVATE.format("RSA "), "here:\n{}\nend"),
    ("secret", PRIVATE.format(""), "{}"),
]


@pytest.mark.parametrize(("kind", "value", "around"), PERSONAL)
def test_it_is_found_where_it_is_and_masked(kind: str, value: str, around: str) -> None:
    text = around.format(value)
    start = text.index(value)
    assert find(text) == [Finding(kind, start, start + len(value), value)]
    assert mask(text) == (around.format(f"[{kind.upper()}]"), Counter({kind: 1}))


NOT_PERSONAL = [
    # Nobody's.
    "Write to jane@example.com, bob@mail.example.org, x@company.test or you@your-company.com.",
    "user@gmail.com, your.name@gmail.com, support@big-shop.com, no-reply@bank.com, a@b.co",
    "git clone git@github.com:a/b.git; icon@2x.png; @decorator.of.python; rose@; @home.com",
    "Call 555-0123, 212-555-0199, (555) 867-5309, 123-456-7890, 111-111-1111, +1 212 555 0100.",
    "Toll-free: 1-800-799-7233, 888-426-4435, 400-810-8888, 10086, 110, 911.",
    "示例手机号13800138000、13812345678、13888888888，固话010-12345678。",
    "SSN 123-45-6789, 078-05-1120, 000-12-3456, 666-12-3456, 987-65-4321",
    "身份证号 11010519491231002X 是国家标准的例子；360426199101010072 校验码不对",
    "Test cards: 4242 4242 4242 4242, 4111-1111-1111-1111, card 378282246310005, 5555555555554444",
    "card 4539 1488 0343 6468, card number 9999 1488 0343 6467",
    "AKIAIOSFODNN7EXAMPLE, sk-your-api-key-goes-here-1, sk-xxxxxxxxxxxxxxxxxxxxxxxx, ghp_"
    + "x" * 36,
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    # Other numbers.
    "In 1998-2004, between 1914 and 1918, on 2024-01-02 13:45:22, at 12:34:56, 01/02/2003.",
    "ISBN 978-7-111-12345-6, ISBN: 9780743273565, call number 0-306-40615-2, ISSN 2126-8447",
    "订单号13916853214请联系客服；快递单号 13916853214，运费13916853214元，手机上看",
    "Order no. 2126844700: call us. Invoice 13916853214, tracking 4539148803436467",
    "Pi is 3.14159265358979, e is 2.71828182845905; phone 37.77777777777778 degrees",
    "2^34 = 17179869184 and 17179869184 / 2 = 8589934592; 2的34次方是17179869184",
    "212-684-4700 = -5172, 3 + 212-684-4700, x = +4420 7946 0958",
    "01101000 01100101 01101100 01101100 01101111, 1234 5678 9012 3456, 0.4539148803436467",
    "https://images.host.com/photo-1597454021291-2039c513b1a4?tel=13916853214&id=2126844700",
    "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709, uuid 123e4567-e89b-12d3-a456-426614174000",
    "task-oriented, risk-averse-and-so-on-and-so-forth, disk-based-storage-of-many-gigabytes",
]


@pytest.mark.parametrize("text", NOT_PERSONAL)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find(text) == []
    assert mask(text) == (text, Counter())


def test_random_numbers_in_arithmetic_are_left_alone() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        a, b = rng.randrange(10 ** rng.randrange(8, 19)), rng.randrange(10 ** rng.randrange(8, 19))
        for text in (f"{a} + {b} = {a + b}", f"求{a}×{b}的值。答案是{a * b}。", f"The sum is {a}."):
            assert find(text) == [], text


def test_ip_addresses_are_found_only_when_asked_for() -> None:
    text = "59.187.84.127, 2a00:1450:4001:81b::200e; 192.168.0.1, 203.0.113.9, 8.8.8.8, v12.4.1.7"
    assert find(text) == []
    found = find(text, ["ip_address"])
    assert [one.text for one in found] == ["59.187.84.127", "2a00:1450:4001:81b::200e"]
    assert find("std::dec, a::b, 2001:db8::1, 12:30:45, 1.2.3.4.5, 999.1.1.1", ["ip_address"]) == []


def test_only_the_kinds_asked_for() -> None:
    text = "jane.roe@gmail.com, (212) 684-4700"
    assert [one.kind for one in find(text, ["phone"])] == ["phone"]
    assert mask(text, ["email"])[0] == "[EMAIL], (212) 684-4700"
    with pytest.raises(UsageError, match=r"'name'; known: secret, email"):
        find(text, ["phone", "name"])


# Pieces that make most of the finders' decisions, in any order and close together.
pieces = st.sampled_from(
    [value for _, value, _ in PERSONAL]
    + ["a@b.com", "joe@x.co", "sk-", "电话", "card ", "+", "+1 ", "1", "13916853214", "2126844700"]
    + [" ", "-", ".", ",", "@", "(", ")", "\n", "汉", "x", "=", "４", "[PHONE]", "SSN ", "\ud800"]
)
texts = st.lists(pieces | st.text(max_size=3), max_size=12).map("".join)


@settings(deadline=None)
@given(texts)
@example("jane.roe@gmail.com13916853214")
def test_findings_are_in_order_apart_and_in_the_text(text: str) -> None:
    found = find(text, tuple(FINDERS))
    end = 0
    for kind, start, stop, value in found:
        assert kind in FINDERS
        assert end <= start < stop <= len(text)
        assert value == text[start:stop]
        end = stop
    # Nothing that is flagged is shorter than an e-mail address can be.
    assert len(found) <= len(text) // 6


@settings(deadline=None)
@given(texts)
def test_masking_what_is_masked_changes_nothing(text: str) -> None:
    masked, counts = mask(text, tuple(FINDERS))
    assert find(masked, tuple(FINDERS)) == []
    assert mask(masked, tuple(FINDERS)) == (masked, Counter())
    assert counts.total() >= len(find(text, tuple(FINDERS)))


@pytest.mark.parametrize("between", [" ", "\n", ", ", "; ", " / ", "、"])
@pytest.mark.parametrize("number", ["+86 139 1685 3214", "(212) 684-4700", "139-1685-3214"])
def test_numbers_one_after_another(number: str, between: str) -> None:
    assert [one.text for one in find(between.join([number] * 3))] == [number] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_by_itself_agrees_with_all_together(kind: str) -> None:
    text = "\n".join(around.format(value) for _, value, around in PERSONAL)
    together = [one for one in find(text) if one.kind == kind]
    assert together == find(text, [kind])
    assert len(together) == sum(k == kind for k, _, _ in PERSONAL)


@pytest.mark.parametrize(
    "piece",
    ["a", "1", "1 ", "1-", "(", "+1", "a@", "a.", "a@b.", "sk-", " eyJaaaaaaaaaa.", "2001:", "１ "],
)
def test_a_megabyte_of_one_piece(piece: str) -> None:
    # A regular expression that went back over what it had read would not come to an end.
    assert find(piece * (1_000_000 // len(piece)), ["email", "secret", "id_number"]) == []


def test_keys_that_never_end() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nabc" * 50_000
    assert find(text) == []


@pytest.mark.parametrize("missing", ["phonenumbers", "stdnum"])
def test_without_the_libraries_the_extra_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=r"pip install 'selfinstruct\[pii\]'"):
        find("nothing in here")
    libraries.cache_clear()


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
