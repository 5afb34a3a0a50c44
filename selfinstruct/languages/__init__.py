"""The languages. A new one is one file here, one prompt, one seed file: see CONTRIBUTING."""

from __future__ import annotations

from selfinstruct.errors import UsageError
from selfinstruct.languages.en import EN
from selfinstruct.languages.language import Language

LANGUAGES: dict[str, Language] = {"en": EN}


def get_language(code: str) -> Language:
    """The language called `code`. Raises UsageError naming the known ones."""
    try:
        return LANGUAGES[code]
    except KeyError:
        known = ", ".join(sorted(LANGUAGES))
        raise UsageError(f"unknown language {code!r}; known: {known}") from None


__all__ = ["LANGUAGES", "Language", "get_language"]
