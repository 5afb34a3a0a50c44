"""Outputs in another language than the instruction's."""

from __future__ import annotations

import re

from selfinstruct.detection import detect
from selfinstruct.filters.windows import READ, ends
from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

# Less is a name, a title, a formula. Characters.
_LEAST = 60
_WINDOW = 120
# Names are in their own languages: what is written small says in which the text is.
_NAME = re.compile(r"[^\W\d_a-zà-öø-ÿ]+[\w'’-]*|\d+")
_WORDS = 6
_LATIN = re.compile("[A-Za-z]{2}")
# One of these in a text in Latin letters: an English sentence that lists foreign things.
_ENGLISH = re.compile(
    r"\b(?:the|and|with|are|from|that|this|which|include|you|your|it|its|they|should|while|how)\b"
)


def wrong_language(task: Task, language: Language) -> Verdict | None:
    """Rejects an output in another language than the instruction, unless that speaks of languages.

    Of two Chinese scripts, and of a row whose input is in the output's language, it says nothing.
    A language with a check of this name (Chinese) is left to it.

    >>> from selfinstruct.languages import get_language
    >>> answer = "La mer est bleue, profonde et salée partout où elle touche la terre."
    >>> task = Task("Describe the sea.", "", answer)
    >>> wrong_language(task, get_language("en")).evidence
    'instruction in en, output in fr'
    """
    if "wrong_language" in language.checks or len(task.output) < _LEAST:
        return None
    output = ends(task.output, _WINDOW)
    # Nearly every row ends here.
    if language.code == "en" and _ENGLISH.search(output):
        return None
    written = detect(output)
    if not written or written == language.code:
        return None
    if language.marks.about_languages.search(task.instruction, 0, READ):
        return None
    asked = detect(ends(task.instruction, _WINDOW))
    if not asked or written[:2] == asked[:2] or written == detect(ends(task.input, _WINDOW)):
        return None
    if asked == "en" and _mostly_names(output):
        return None
    return Verdict("wrong_language", f"instruction in {asked}, output in {written}")


def _mostly_names(text: str) -> bool:
    """Whether a text in Latin letters is English, or too little to tell, but for its names."""
    if not _LATIN.search(text):
        return False
    rest = _NAME.sub(" ", text)
    return len(rest.split()) < _WORDS or detect(rest) in ("", "en")
