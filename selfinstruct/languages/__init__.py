"""The languages. A new one is one file here, one prompt, one seed file: see CONTRIBUTING.

Another package adds one through the entry point group `selfinstruct.languages`: the name is the
code, the object a Language whose `folder` holds `prompts/alpaca/CODE.txt` and `seeds/CODE.jsonl`.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points

from selfinstruct.errors import UsageError
from selfinstruct.languages.en import EN
from selfinstruct.languages.language import Language
from selfinstruct.languages.und import UND
from selfinstruct.languages.zh import ZH, ZH_HANT

LANGUAGES: dict[str, Language] = {language.code: language for language in (EN, ZH, ZH_HANT)}
ENTRY_POINTS = "selfinstruct.languages"


def get_language(code: str) -> Language:
    """The language called `code`, ours or another package's. Raises UsageError naming those."""
    if code in LANGUAGES:
        return LANGUAGES[code]
    others = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if code not in others:
        known = ", ".join(sorted({*LANGUAGES, *others}))
        raise UsageError(f"unknown language {code!r}; known: {known}")
    language = others[code].load()
    if not isinstance(language, Language) or language.code != code:
        raise UsageError(f"the entry point {others[code].value} is not a Language called {code!r}")
    return LANGUAGES.setdefault(code, language)


# Entry points are looked up on disk, 10 ms a time: not for every row in French.
@lru_cache
def judging_language(code: str) -> Language:
    """The language whose rules judge rows in `code`: its own, or the neutral one.

    >>> judging_language("zh-hant").code, judging_language("fr").code, judging_language("").code
    ('zh-hant', 'und', 'und')
    """
    if code in LANGUAGES:
        return LANGUAGES[code]
    known = {entry.name for entry in entry_points(group=ENTRY_POINTS)}
    return get_language(code) if code in known else UND


__all__ = ["ENTRY_POINTS", "LANGUAGES", "Language", "get_language", "judging_language"]
