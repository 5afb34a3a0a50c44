"""Do two texts of different languages say the same numbers?

Enters: a text and its translation. Leaves: the numbers written in digits on one side that the other
side says in no way. Knows no recipe, and no language by name: English and Chinese are read in any
text, for translations mix them.

A mention of a number has readings: "2万" is 20,000; "3 pm" is 3 or 15; "8折" is 80% or 20% off;
"1990s" is 1990, 90 or the 20th century. Only digits are demanded; words and numerals (三, 两, dozen,
March, 二〇二一年) may stand for them on the other side. Precision comes before recall: a mention is
found again if any of its readings is, however often, and signs are not compared.

No library serves: cn2an reads a string that is one numeral, and its `transform` gives one reading
("三点五分" → "3.5分"); word2number has had no release since 2017; text2num knows no Chinese.

>>> unmatched("Sold 1,500,000 by March 5", "3月5日前售出150万")
[]
>>> unmatched("It costs 3.5 or 12", "价格是3.5")
['12']
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = [
    "zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth",
    "ninth", "tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth",
    "seventeenth", "eighteenth", "nineteenth",
]  # fmt: skip
_SMALL = {
    **{word: i for i, word in enumerate(_ONES)},
    **{word: i for i, word in enumerate(_ORDINALS)},
    **{word: 10 * i for i, word in enumerate(_TENS, start=2)},
    **{word[:-1] + "ieth": 10 * i for i, word in enumerate(_TENS, start=2)},
}
_SCALES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
# A letter right after digits may be a scale or not: 5k, $2M, 7B, 3bn.
_LETTERS = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9, "t": 10**12}
_HALF, _QUARTER = Fraction(1, 2), Fraction(1, 4)
_WORDS: dict[str, tuple[int | Fraction, ...]] = {
    "a": (1,), "an": (1,), "once": (1,), "single": (1,), "twice": (2,), "double": (2,),
    "pair": (2,), "couple": (2,), "both": (2,), "thrice": (3,), "triple": (3,), "dozen": (12,),
    "dozens": (12,), "decade": (10,), "century": (100,), "noon": (12,), "midnight": (0, 12, 24),
    "half": (_HALF, 30), "quarter": (_QUARTER, 15), "quarters": (_QUARTER, 15, 4, Fraction(3, 4)),
    "third": (3, Fraction(1, 3)), "thirds": (Fraction(2, 3), 3), "fourth": (4, _QUARTER),
    "fifths": (5,), "tenths": (10,), "percent": (),
}  # fmt: skip
# Not I, V and X, which are a word and two letters.
_ROMANS = {
    "II": 2, "III": 3, "IV": 4, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "XI": 11, "XII": 12,
    "XIII": 13, "XIV": 14, "XV": 15, "XVI": 16, "XVII": 17, "XVIII": 18, "XIX": 19, "XX": 20,
    "XXI": 21,
}  # fmt: skip

_HAN_DIGITS = {
    **{c: i for i, c in enumerate("零一二三四五六七八九")},
    **{c: i for i, c in enumerate("〇壹贰叁肆伍陆柒捌玖")},
    "两": 2, "兩": 2, "俩": 2, "双": 2, "貳": 2, "仨": 3, "參": 3, "陸": 6, "廿": 20, "卅": 30,
}  # fmt: skip
_HAN_SMALL = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_HAN_BIG = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_HAN_UNITS = {**_HAN_SMALL, **_HAN_BIG}
_HAN = "".join(_HAN_DIGITS) + "".join(_HAN_UNITS)
_SCALING = "百佰千仟万萬亿億"

_NUMBER = r"\d+(?:\.\d+)?"
_SCALE_WORDS = "|".join(_SCALES)
# What stands around a number written in digits and changes what it says.
_DIGITS = re.compile(
    rf"(?P<list>^[ \t]{{0,12}}[(（]?(?=\d{{1,2}}[.)）、](?:[^\d]|$)))?"
    rf"(?P<glued>[A-Za-z]-?)?(?P<later>(?:下午|晚上|傍晚|夜里|夜晚|今晚|当晚|晚) ?)?"
    rf"(?P<number>\d+(?:\.\d+)*|\.\d+)"
    rf"(?:(?P<run>(?: ?[多余几]?[{_SCALING}](?:{_NUMBER}(?= ?[{_SCALING}])|[{_HAN}])*)+)"
    rf"(?P<prefix>(?<=千)(?=[克米瓦卡帕赫焦伏字]))?"
    rf"|(?P<words>(?:[ -]?(?:{_SCALE_WORDS})\b)+)|(?P<letter>(?:[kmbt]|mn|bn)\b))?"
    rf"(?P<percent> ?\\?%(?!\d)|[ -]?per ?cent| ?个百分点|％)?"
    rf"(?P<pm>(?=(?::\d\d)? ?p\.?m\b))?(?P<decade>'?s\b|年代)?(?P<tenth>折|成)?",
    re.MULTILINE | re.IGNORECASE,
)
_RANGE = re.compile(
    rf"({_NUMBER}) ?(?:-|–|—|~|～|至|到|to|or|或) ?(?=({_NUMBER}) ?"
    rf"(\\?%|per ?cent|[{_SCALING}]|(?:{_SCALE_WORDS})\b|[kmb]\b|[ap]\.?m\b))",
    re.IGNORECASE,
)
_FRACTION = re.compile(r"(?<![\d.])(\d{1,4}) ?[/⁄] ?(\d{1,4})(?![\d.])")
_HAN_RUN = re.compile(
    rf"(?P<later>下午|晚上|傍晚|夜里|晚)?(?P<run>[{_HAN}]+(?:[多余][万萬亿億])?)"
    rf"(?:点(?P<decimals>[{''.join(_HAN_DIGITS)}]+))?(?P<tail>[折成]|年代)?"
)
_HAN_PARTS = re.compile(
    # Bounded: without, a run of numerals that nothing follows costs its square.
    rf"([{_HAN}]{{1,20}}|{_NUMBER})分之([{_HAN}]+|{_NUMBER})(?:点([{_HAN}]+))?"
)
_NUMBER_WORDS = "|".join(sorted({*_SMALL, *_SCALES}, key=len, reverse=True))
_WORD_RUN = re.compile(
    rf"\b(?:{_NUMBER_WORDS}|an?)s?\b"
    rf"(?:(?:[ -]|(?<=[dn]) and )(?:{_NUMBER_WORDS})s?\b)*(?P<percent>[ -]per ?cent)?",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z]+")
_MONTH = re.compile(
    r"\b(?:(Jan)(?:uary)?|(Feb)(?:ruary)?|(Mar)(?:ch)?|(Apr)(?:il)?|(May)|(June?)|(July?)"
    r"|(Aug)(?:ust)?|(Sep)(?:t(?:ember)?)?|(Oct)(?:ober)?|(Nov)(?:ember)?|(Dec)(?:ember)?)\b"
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A number as a text writes it, with all that it may mean. demanded: it is in digits."""

    text: str
    readings: frozenset[Fraction]
    demanded: bool = False
    is_list_mark: bool = False


def unmatched(source: str, translation: str) -> list[str]:
    """The numbers in digits, as written, of either text that the other one does not have.

    A number that marks a list item is not demanded of the source: items may get numbers.
    """
    before, after = mentions(source), mentions(translation)
    said_before = frozenset().union(*(mention.readings for mention in before))
    said_after = frozenset().union(*(mention.readings for mention in after))
    missing = [m.text for m in before if m.demanded and not m.readings & said_after]
    missing += [
        m.text for m in after if m.demanded and not m.is_list_mark and not m.readings & said_before
    ]
    return list(dict.fromkeys(missing))


def written(text: str) -> list[str]:
    """The numbers that `text` writes in digits, in order, each once: what evidence shows."""
    return list(dict.fromkeys(mention.text for mention in mentions(text) if mention.demanded))


def mentions(text: str) -> list[Mention]:
    """Every number in `text`, however it is written."""
    text = _plain(text)
    return [*_digits(text), *_fractions(text), *_numerals(text), *_words(text)]


def _plain(text: str) -> str:
    """`text` with one way to write a digit, no thousands separators and no powers.

    Not NFKC: it would make 10² into 102, and the comma of "100，200" into one of thousands.
    """
    text = re.sub(r"(?<=[０-９])[，．](?=[０-９])", lambda m: ",."["，．".index(m[0])], text)
    # A power counts as written to a letter: said, but not demanded ("m²" is 平方米).
    text = re.sub(r"[⁰¹²³⁴-⁹₀-₉]+", lambda m: "z" + unicodedata.normalize("NFKC", m[0]), text)
    text = "".join(_digit(char) for char in text)
    # In pieces, for a search that begins at every digit of a very long run costs its square.
    text = re.sub(r"\d{40}(?=\d)", r"\g<0> ", text)
    return re.sub(r"(?<![\d.,])(\d{1,3})((?:[,\u2009\u202f\u00a0]\d{3})+)(?!\d)", _joined, text)


def _digit(char: str) -> str:
    if char.isascii() or not char.isnumeric() or char in _HAN:
        return {"％": "%", "：": ":", "／": "/"}.get(char, char)
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    # ①, ⑫, ½: a number of its own. Numerals of other scripts stay what they are.
    normal = unicodedata.normalize("NFKC", char)
    return f" {normal} " if re.fullmatch(r"\(?\d+(?:⁄\d+)?[.)]?", normal) else char


def _joined(match: re.Match[str]) -> str:
    return match[1] + re.sub(r"\D", "", match[2])


def _digits(text: str) -> Iterator[Mention]:
    # "50-60%", "2 to 3 million", "3–5 pm": what follows the second number is said of both.
    shared = {match.start(1): f"{match[1]} {match[3]}" for match in _RANGE.finditer(text)}
    quotients = _quotients(text)
    for match in _DIGITS.finditer(text):
        number = match["number"]
        if number.count(".") > 1:
            # A version, an address, 2021.3.5: its parts.
            for part in number.split("."):
                yield Mention(part, frozenset({_value(part)}), demanded=not match["glued"])
            continue
        readings = _readings(match)
        if (whole := shared.get(match.start("number"))) and (again := _DIGITS.match(whole)):
            readings |= _readings(again)
        if (quotient := quotients.get(match.start("number"))) is not None:
            readings.add(quotient)
        written = match[0].strip().strip("-'")
        is_full_hour = number == "00" and text.startswith(":", match.start("number") - 1)
        yield Mention(
            number if match["glued"] or match["list"] is not None else written,
            frozenset(readings),
            demanded=not match["glued"] and not is_full_hour,
            is_list_mark=match["list"] is not None,
        )


def _readings(match: re.Match[str]) -> set[Fraction]:
    value = _value(match["number"])
    readings = {value}
    if match["run"]:
        readings = set(_han(match["number"] + match["run"]))
        if match["prefix"] is not None:
            readings.add(value)
    elif match["words"]:
        for scale in _WORD.findall(match["words"].lower()):
            value *= _SCALES[scale]
        readings = {value}
    elif match["letter"]:
        readings.add(value * _LETTERS[match["letter"].lower()])
    if match["percent"]:
        readings = {reading / 100 for reading in readings}
    if (match["pm"] is not None or match["later"]) and value <= 12:
        readings.add(value + 12)
    if match["decade"]:
        readings |= _decade(value)
    if match["tenth"]:
        readings |= _tenths(value, match["tenth"])
    return readings


def _value(digits: str) -> Fraction:
    # Longer ones are no quantities; int() itself refuses more than 4,300 digits.
    whole, _, decimals = digits[:400].partition(".")
    return Fraction(int(whole or "0")) + Fraction(int(decimals or "0"), 10 ** len(decimals))


def _decade(value: Fraction) -> set[Fraction]:
    """1990s: 1990, 90, the 20th century. 90年代: 1890, 1990, 2090."""
    if value < 100:
        return {value + century for century in (1800, 1900, 2000)}
    return {value % 100, value // 100 + Fraction(1)}


def _tenths(value: Fraction, tail: str) -> set[Fraction]:
    """三成 is 30%. 8折 and 85折 are 80% and 85% of the price, 20% and 15% off."""
    share = value / (10 if value < 10 else 100)
    return {share, 1 - share} if tail == "折" else {share}


def _quotients(text: str) -> dict[int, Fraction]:
    """What both numbers of a fraction say together, by where they stand: 1/2 is 一半."""
    quotients: dict[int, Fraction] = {}
    for match in _FRACTION.finditer(text):
        if int(match[2]):
            quotient = Fraction(int(match[1]), int(match[2]))
            quotients |= {match.start(1): quotient, match.start(2): quotient}
    return quotients


def _fractions(text: str) -> Iterator[Mention]:
    for match in _HAN_PARTS.finditer(text):
        for below_value in _quantity(match[1]):
            for above_value in _quantity(match[2] + ("点" + match[3] if match[3] else "")):
                if below_value:
                    both = {above_value / below_value, above_value, below_value}
                    yield Mention(match[0], frozenset(both))


def _quantity(text: str) -> set[Fraction]:
    if text[0].isascii():
        return {_value(text)}
    whole, _, decimals = text.partition("点")
    return {value + _decimals(decimals) for value in _han(whole)}


def _decimals(numerals: str) -> Fraction:
    digits = [_HAN_DIGITS.get(char, 0) for char in numerals[:400]]
    return sum((Fraction(d, 10**i) for i, d in enumerate(digits, start=1)), Fraction(0))


def _numerals(text: str) -> Iterator[Mention]:
    for match in _HAN_RUN.finditer(text):
        readings = set(_han(match["run"]))
        if match["decimals"]:
            # 三点五 is 3.5 or, of the clock, 3 and 5.
            readings |= {value + _decimals(match["decimals"]) for value in readings}
            readings |= _han(match["decimals"])
        if match["later"]:
            readings |= {value + 12 for value in readings if value <= 12}
        if match["tail"] == "年代":
            readings |= {other for value in readings for other in _decade(value)}
        elif match["tail"]:
            readings |= {other for v in readings for other in _tenths(v, match["tail"])}
        yield Mention(match[0], frozenset(readings))
    for word, values in (
        ("半", (_HALF, 30)), ("一刻", (15,)), ("三刻", (45,)), ("一打", (12,)), ("中午", (12,)),
        ("正午", (12,)), ("午夜", (0, 12, 24)), ("元旦", (1,)), ("世纪", (100,)),
    ):  # fmt: skip
        if word in text:
            yield Mention(word, frozenset(Fraction(value) for value in values))


def _han(run: str) -> set[Fraction]:
    """The readings of Chinese numerals, which may be mixed with digits: 一百二十, 2万5千, 二〇二一."""
    items = re.findall(rf"{_NUMBER}|[{_HAN}]", run[:400])
    total = section = Fraction(0)
    current: Fraction | None = None
    unit = 1
    for item in items:
        if item not in _HAN_UNITS:
            if current:
                return _spelled(items)
            current = Fraction(_HAN_DIGITS[item]) if item in _HAN_DIGITS else _value(item)
            unit = 1 if current == 0 else unit
            continue
        unit = _HAN_UNITS[item]
        if item in _HAN_SMALL:
            section += (Fraction(1) if current is None else current) * unit
        else:
            value = section + (current or 0)
            # 一万亿: what came before is multiplied too; 一亿二千万: it is not.
            total = (total + value or Fraction(1)) * unit if total < unit else total + value * unit
            section = Fraction(0)
        current = None
    value = total + section + (current or 0)
    # 一百五 is 150 in speech.
    return {value, value + (current or 0) * (Fraction(unit, 10) - 1)} if unit > 10 else {value}


def _spelled(items: list[str]) -> set[Fraction]:
    """Digits side by side: a year or a number read out (二〇二一), or a choice (三四个, 七八十)."""
    readings = {Fraction(_HAN_DIGITS[item]) for item in items if item in _HAN_DIGITS}
    if all(item in _HAN_DIGITS and _HAN_DIGITS[item] < 10 for item in items):
        readings.add(_value("".join(str(_HAN_DIGITS[item]) for item in items)))
    return readings


def _words(text: str) -> Iterator[Mention]:
    for match in _WORD_RUN.finditer(text):
        readings = _english(_WORD.findall(match[0].lower()))
        if match["percent"]:
            readings |= {value / 100 for value in readings}
        yield Mention(match[0], frozenset(readings))
    for match in _WORD.finditer(text):
        word = match[0]
        if values := _WORDS.get(word.lower()):
            yield Mention(word, frozenset(Fraction(value) for value in values))
        elif word in _ROMANS:
            yield Mention(word, frozenset({Fraction(_ROMANS[word])}))
    for match in _MONTH.finditer(text):
        yield Mention(match[0], frozenset({Fraction(match.lastindex or 0)}))


def _english(words: list[str]) -> set[Fraction]:
    """The readings of number words: one value, or several where they do not add up to one."""
    total = current = 0
    readings: list[int] = []
    for raw in words:
        word = raw if raw in _SMALL or raw in _SCALES else raw.removesuffix("s")
        if word in _SCALES:
            scale = _SCALES[word]
            if scale == 100:
                current = (current or 1) * 100
            else:
                total, current = total + (current or 1) * scale, 0
        elif (small := _SMALL.get(word, 1 if word in ("a", "an") else None)) is not None:
            room = 100 if current % 100 == 0 else 10 if current % 10 == 0 else 1
            if current % 100 == 10 or small >= room:
                readings, total, current = [*readings, total + current], 0, 0
            current += small
    readings.append(total + current)
    if len(readings) == 2 and all(10 <= reading < 100 for reading in readings):
        readings.append(readings[0] * 100 + readings[1])  # nineteen ninety
    return {Fraction(reading) for reading in readings}
