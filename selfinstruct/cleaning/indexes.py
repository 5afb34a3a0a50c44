"""Which index compares the rows of a language: the method that the settings name.

Enters: settings and rules. Leaves: a function from a language's code to its empty index. An
endpoint or a model for embeddings is opened here.
"""

from __future__ import annotations

from collections.abc import Callable

from selfinstruct.cleaning.rules import Rules
from selfinstruct.cleaning.settings import CleanSettings
from selfinstruct.languages import judging_language
from selfinstruct.novelty import Index, Means, get_method


def index_maker(settings: CleanSettings, rules: Rules) -> Callable[[str], Index]:
    """Raises UsageError for what the method lacks, before any row is read."""
    embed = None

    def make(lang: str) -> Index:
        language = judging_language(lang)
        threshold = settings.threshold
        if threshold is None and settings.method == "rouge":
            threshold = rules.profile(language).rouge_l
        return get_method(settings.method, Means(language.tokenize, threshold, embed))

    make("en")
    return make
