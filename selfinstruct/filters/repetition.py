"""Outputs that loop: the same words, sentence or line over and over.

Three rules. A tail in which one unit follows itself; a line or sentence that comes back so often
that it makes up most of the text (after the duplicate-line and -paragraph fractions of Gopher,
Rae et al. 2021, table A1, which reject at 0.3; higher here, since answers are shorter than pages);
and a text that zlib packs too well (as Whisper does, which calls 2.4 a loop; higher here, since
tables and code are packed well).
"""

from __future__ import annotations

import re
import zlib
from collections import Counter

from selfinstruct.filters.windows import ends, is_about
from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

_WINDOW = 4_000
# A loop's last characters are found again one unit earlier.
_PROBE = 12
_SPLIT = re.compile(r"[\n.!?;。！？；]+")
_WORD = re.compile(r"[^\W\d_]{2}")
# A sentence shorter than this may well come back.
_SENTENCE = 10
# Tables, code and markup repeat by nature.
_BUILT = re.compile(r"^[^\S\n]*(?:[|+<{}]|[-=_*]{3}|def |for |if |public |import )", re.MULTILINE)


def repetition(
    task: Task, language: Language, *, times: int = 4, share: float = 0.6, ratio: float = 6.0
) -> Verdict | None:
    """Rejects an output that ends in one unit `times` times, is to `share` one sentence, or packs.

    times: repeats of the unit at the end, which together are longer than 40 characters. share: of
    the text's characters, for a sentence that occurs at least `times` times. ratio: bytes by packed
    bytes, of texts of 400 bytes or more.

    >>> from selfinstruct.languages import get_language
    >>> task = Task("Describe the sea.", "", "It is blue. " + "It is very deep. " * 9)
    >>> repetition(task, get_language("en")).evidence
    "'It is very deep.' 9 times at the end"
    """
    answer = ends(task.output.strip(), _WINDOW)
    if len(answer) < 40:
        return None
    evidence = _tail(answer, times) or _sentence(answer, times, share) or _packed(answer, ratio)
    if not evidence:
        return None
    if _BUILT.search(answer) or is_about(language.marks.about_repeats, task):
        return None
    return Verdict("repetition", evidence)


def _tail(answer: str, times: int) -> str:
    """Evidence that the answer ends in one unit again and again, the last one perhaps cut."""
    last = answer[-_PROBE:]
    found = answer.rfind(last, 0, len(answer) - 1)
    size = len(answer) - _PROBE - found
    if found < 0 or size * times > len(answer):
        return ""
    count, end = 1, len(answer)
    unit = answer[end - size :]
    while answer.endswith(unit, 0, end - size * count):
        count += 1
    if count < times or count * size < 40 or not _WORD.search(unit):
        return ""
    return f"{unit.strip()[:60]!r} {count} times at the end"


def _sentence(answer: str, times: int, share: float) -> str:
    """Evidence that one sentence or line makes up most of the answer."""
    found = _SPLIT.split(answer)
    if len(found) < times or len(set(found)) == len(found):
        return ""
    parts = Counter(part.strip() for part in found)
    del parts[""]
    part, count = parts.most_common(1)[0]
    if count < times or len(part) < _SENTENCE or count * len(part) < share * len(answer):
        return ""
    return f"{part[:60]!r} {count} times" if _WORD.search(part) else ""


def _packed(answer: str, ratio: float) -> str:
    """Evidence that zlib packs the answer too well."""
    words = answer.split()
    # What says so many different words packs no better than prose.
    if len(words) > 30 and 2 * len(set(words)) > len(words):
        return ""
    raw = answer.encode("utf-8", "surrogatepass")
    if len(raw) < 400:
        return ""
    found = len(raw) / len(zlib.compress(raw, 1))
    return f"packs {found:.1f} to 1" if found > ratio else ""
