"""Which index compares the rows of a language: the method that the settings name.

Enters: settings. Leaves: a function from a language's code to its empty index. An endpoint or a
model for embeddings is opened here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from selfinstruct.cleaning.settings import CleanSettings
from selfinstruct.errors import UsageError
from selfinstruct.languages import judging_language
from selfinstruct.novelty import Index, Means, get_method
from selfinstruct.profiles import default_profile, load_profile


def index_maker(settings: CleanSettings) -> Callable[[str], Index]:
    """Raises UsageError for what the method lacks, before any row is read."""
    given = load_profile(settings.profile) if settings.profile else None

    def make(lang: str) -> Index:
        language = judging_language(lang)
        threshold = settings.threshold
        if threshold is None and settings.method == "rouge":
            threshold = (given or default_profile(language)).rouge_l
        return get_method(settings.method, replace(means, tokenize=language.tokenize, threshold=threshold))

    means = Means(judging_language("").tokenize)
    make("")
    return make
