"""Any language: rules that need no words, for judging rows of languages that are not in LANGUAGES.

Enters: nothing. Leaves: `UND`. Not offered for generation: it has neither prompt nor seeds. The
labels are English, since scaffolding mostly is.

>>> UND.tokenize("Où est l'école ? Straße ﬁn")
['où', 'est', 'l', 'école', 'strasse', 'fin']
>>> UND.tokenize("東京タワーは333m")
['東', '京', 'タ', 'ワ', 'ー', 'は', '333m']
"""

from __future__ import annotations

import re
import unicodedata

from selfinstruct.languages.language import Language
from selfinstruct.languages.marks import NEVER, Marks
from selfinstruct.languages.zh_checks import HAN
from selfinstruct.records import Task

# Scripts without blanks between words: Thai, Lao, Tibetan, Myanmar, Khmer, kana and ideographs.
_SINGLE = f"\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3041-\u3096\u30a1-\u30ff{HAN}"
_TOKEN = re.compile(rf"[{_SINGLE}]|(?:(?![{_SINGLE}])[^\W_])(?:(?![{_SINGLE}])[\w\u0300-\u036f])*")


def tokenize(text: str) -> list[str]:
    """NFKC, case folded: words, and single characters of scripts without blanks."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def words(text: str) -> int:
    """Number of tokens."""
    return len(tokenize(text))


def limits(_task: Task) -> tuple[int, int]:
    """Room for every language's way of asking.

    >>> limits(Task("Fluss?", "", "Nil"))
    (1, 1000)
    """
    return 1, 1000


UND = Language(
    code="und",
    assets="und",
    dataset="alpaca",
    tasks=0,
    instruction=("Instruction",),
    input=("Input",),
    output=("Output",),
    no_input="<noinput>",
    no_input_pattern=re.compile(r"<no ?input>", re.IGNORECASE),
    tokenize=tokenize,
    length=words,
    unit="words",
    limits=limits,
    blocked=NEVER,
    blocked_openings=(),
    opening=re.compile(r"\S"),
    refusals=NEVER,
    placeholders=re.compile(
        r"[<\[(]?\s*(?:no ?(?:output|input)|n/?a|tbd|todo)\s*[>\])]?\.?", re.IGNORECASE
    ),
    no_values=re.compile(r"[<\[(`\"']*(?:none|null|nil)?[>\])`\"']*\.?", re.IGNORECASE),
    marks=Marks(
        # Stems of "code", "program", "web page", "formula", "translate" in languages of Europe, and
        # the names that are the same everywhere: what they ask for may look like debris.
        about_markup=re.compile(
            r"html|css|xml|json|sql|latex|python|java|markdown|c\+\+|regex|c[oó]di[gc]|kod|код|コード"
            r"|코드|program|программ|プログラ|프로그램|script|скрипт|web|веб|ウェブ|웹|formul|формул|équation"
            r"|ecuaci|gleichung",
            re.IGNORECASE,
        ),
        about_repeats=re.compile(
            r"html|css|xml|json|sql|python|java|c[oó]di[gc]|kod|код|コード|코드|program|программ|tab[el]"
            r"|таблиц|表|표|song|lied|canci|chanson|canzon|песн|歌|노래|poem|gedicht|poes|po[eè]m|стих|詩|시"
            r"|repet|répét|wiederhol|повтор|繰り返|반복|list|liste|spis",
            re.IGNORECASE,
        ),
        about_languages=re.compile(
            r"tra[ds]u|traduz|übersetz|overs|översätt|vertaal|перев|перекл|翻訳|訳|번역|terjemah|çevir|dịch"
            r"|tłumacz|přelož|preklad|fordít|käännä|μετάφρ|ترجم|תרגם|अनुवाद|แปล|translat|ingl|angl|engl|англ"
            r"|英|영어|angiel|inggris|anh|fran|espa|span|deut|ital|portug|langu|sprach|idiom|lingu|язык|言語|언어"
            r"|html|sql|python|java|c[oó]di[gc]|code|kod|код|コード|코드|program|программ",
            re.IGNORECASE,
        ),
        # No list of words that a task's answer may look like: not asked.
        about_tasks=re.compile(""),
    ),
)
