"""Which profile judges the rows of a language. Reads the profile's file; judges nothing.

Enters: what --profile names, or nothing. Leaves: profiles.
"""

from __future__ import annotations

import hashlib

from selfinstruct.errors import UsageError
from selfinstruct.languages import Language
from selfinstruct.profiles import PROFILES, Profile, default_profile, load_profile, profile_path

# Of an instruction's shape: where the question holds the input they do not fit it.
_SHAPE = frozenset({"instruction_length", "opening"})


class Rules:
    """The profile that was named, or each language's own."""

    def __init__(self, name: str | None) -> None:
        """name: a shipped profile or a file. Raises UsageError for one that cannot be read."""
        self._name = name
        names = (name,) if name else PROFILES
        self._contents = {each: _read(each) for each in names}
        self._profiles = {each: load_profile(self._contents[each], each) for each in names}
        self._shapeless = {each: without_shape(one) for each, one in self._profiles.items()}

    def profile(self, language: Language, *, shape: bool = True) -> Profile:
        """shape: whether the rows have an instruction by itself."""
        name = self._name or default_profile(language.code)
        return (self._profiles if shape else self._shapeless)[name]

    def facts(self) -> dict[str, str]:
        """SHA-256 of each profile that may be asked, by its name."""
        return {
            name: hashlib.sha256(content).hexdigest() for name, content in self._contents.items()
        }


def without_shape(profile: Profile) -> Profile:
    """The profile for rows whose question holds the input."""
    filters = tuple(name for name in profile.filters if name not in _SHAPE)
    # Made anew, since a copy would share what the profile has bound to a language.
    return Profile.model_validate(profile.model_dump() | {"filters": filters})


def _read(name: str) -> bytes:
    path = profile_path(name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"--profile: cannot read {path}: {error.strerror}") from None
