"""Which language a text is in, offline: by script first, by the library py3langid for the rest.

Enters: a text or a Task. Leaves: "en", "zh", "zh-hant", another ISO 639-1 code, or "" where it
cannot be told. Knows no filter and no recipe. The library's model lies in its wheel; it is loaded
at the first text that needs it (about a second), and nothing here reaches the network.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from selfinstruct.languages.zh_checks import HAN, dominant_script
from selfinstruct.records import Task

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# Characters that are looked at: more would tell no more.
_WINDOW = 400
# The library reads byte by byte, in Python: it gets less.
_ENOUGH = 160
# What a language cannot be told from: code, addresses.
_ASIDE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]{1,200}`|(?:https?://|www\.)[\x21-\x7e]{1,500}|<[^<>\n]{1,100}>",
    re.DOTALL,
)
# What a task talks about: the rest says who talks.
_QUOTED = re.compile(r"\"[^\"\n]{2,300}\"|“[^”\n]{2,300}”|「[^」\n]{2,300}」|«[^»\n]{2,300}»")
_HAN = re.compile(f"[{HAN}]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
# Scripts of one language, or of one that is nearly always meant.
_SCRIPTS = {
    "ko": re.compile("[\uac00-\ud7a3\u1100-\u11ff]"),
    "th": re.compile("[\u0e01-\u0e5b]"),
    "lo": re.compile("[\u0e81-\u0edf]"),
    "my": re.compile("[\u1000-\u109f]"),
    "km": re.compile("[\u1780-\u17ff]"),
    "ka": re.compile("[\u10a0-\u10ff]"),
    "hy": re.compile("[\u0531-\u058f]"),
    "el": re.compile("[\u0370-\u03ff\u1f00-\u1fff]"),
    "he": re.compile("[\u0591-\u05f4]"),
    "ta": re.compile("[\u0b82-\u0bff]"),
    "te": re.compile("[\u0c00-\u0c7f]"),
    "kn": re.compile("[\u0c80-\u0cff]"),
    "ml": re.compile("[\u0d00-\u0d7f]"),
    "gu": re.compile("[\u0a81-\u0aff]"),
    "pa": re.compile("[\u0a01-\u0a76]"),
    "si": re.compile("[\u0d81-\u0df4]"),
    "am": re.compile("[\u1200-\u137f]"),
}
# The library's labels that are asked about: living languages of ISO 639-1 with many speakers. Its
# others (creoles, ancient and tiny languages) win short English texts by accident.
_CODES = (
    "ar az be bg bn ca cs cy da de en es et eu fa fi fr ga gl ha hi hr hu hy id is it ja ka kk ko "
    "lt lv mk mn mr ms ne nl no pl ps pt ro ru sk sl so sq sr sv sw tl tr ug uk ur uz vi yo zh zu"
)
# English words that hardly another language of the list has, and words that some have too. Two of
# the first make English if every fifth word is one of either, one if every third is. The verbs are
# those with which tasks begin.
_ENGLISH_WORDS = (
    "the and of what which who how why when where with without this that these those from your "
    "you its it's their they there than following given into about each using between should "
    "would could can does are were have been our such write explain generate identify rewrite "
    "summarize calculate classify convert provide suggest translate analyze construct find make "
    "give edit two three words"
)
_SHARED_WORDS = (
    "a i is to in on as an by for be at no so all any one do me my we or but not was will has had "
    "he if more also list name describe create compare design text example sentence"
)
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_KNOWN = _ENGLISH.union(_SHARED_WORDS.split())
_EVERY = 5
_EVERY_FEW = 3
# The least probability that is believed; English, which most rows are in, needs less.
_SURE = 0.5
_SURE_ENGLISH = 0.05


@lru_cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(_CODES.split())
    return identifier


def detect(text: str) -> str:
    """The language of a text, "" when too little of it is language.

    >>> detect("Name three rivers of Africa."), detect("三原色是什么？"), detect("三原色是什麼？")
    ('en', 'zh', 'zh-hant')
    >>> detect("x = 3 + 4"), detect("12")
    ('', '')
    """
    text = text[: 4 * _WINDOW]
    if "`" in text or "<" in text or "://" in text or "www." in text:
        text = _ASIDE.sub(" ", text)
    text = text[:_WINDOW]
    if not text.isascii() and (found := _by_script(text)):
        return found
    words = _WORD.findall(text.lower())
    if not words:
        return ""
    own = len(_ENGLISH.intersection(words))
    if own:
        known = sum(word in _KNOWN for word in words)
        every = _EVERY if own > 1 else _EVERY_FEW
        if known >= min(2, len(words)) and every * known >= len(words):
            return "en"
    return _by_library(text, words)


def _by_script(text: str) -> str:
    """The language that the text's characters tell, "" when they leave it open."""
    han = len(_HAN.findall(text))
    words = _WORD.findall(_HAN.sub(" ", text))
    kana = len(_KANA.findall(text))
    # A sentence has more ideographs than its translation has words.
    if kana >= 2 and 3 * kana >= han and kana + han > len(words):
        return "ja"
    if han and 2 * han >= len(words):
        return "zh-hant" if dominant_script(text) == "hant" else "zh"
    for code, pattern in _SCRIPTS.items():
        if 2 * len(pattern.findall(text)) > sum(map(len, words)):
            return code
    return ""


def _by_library(text: str, words: list[str]) -> str:
    """The library's guess if it is sure enough. Words of one letter are variables."""
    if sum(len(word) > 1 for word in words) < 2:
        return ""
    code, sure = _identifier().classify(text[:_ENOUGH])
    enough = _SURE_ENGLISH if code == "en" else _SURE
    return str(code) if sure >= enough else ""


def row_language(task: Task) -> str:
    """The language whose rules judge the row: the instruction's, else the input's, else the
    output's, else "".

    What the instruction quotes does not count.

    >>> row_language(Task("Translate into English: “今天过得怎么样，我的朋友？”", "", "Hi!"))
    'en'
    >>> row_language(Task("12 × 12 = ?", "", "The product of the two is 144."))
    'en'
    """
    instruction = task.instruction[: 4 * _WINDOW]
    bare = _QUOTED.sub(" ", instruction)
    return (
        (detect(bare) if bare != instruction else "")
        or detect(instruction)
        or detect(task.input)
        or detect(task.output)
    )
