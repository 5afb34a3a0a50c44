"""Which index compares the rows of a language: the method that the settings name.

Enters: settings and rules. Leaves: a function from a language's code to its empty index. An
endpoint or a model for embeddings is opened here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from selfinstruct.cleaning.rules import Rules
from selfinstruct.cleaning.settings import CleanSettings
from selfinstruct.errors import UsageError
from selfinstruct.languages import judging_language
from selfinstruct.novelty import Index, Means, get_method

if TYPE_CHECKING:
    from selfinstruct.novelty.semantic import Embed


@contextmanager
def index_maker(settings: CleanSettings, rules: Rules) -> Iterator[Callable[[str], Index]]:
    """Raises UsageError for what the method lacks, before any row is read."""
    with ExitStack() as stack:
        embed = _embedder(settings, stack)
        make = partial(_index, settings, rules, embed)
        make("en")
        yield make


def _index(settings: CleanSettings, rules: Rules, embed: Embed | None, lang: str) -> Index:
    language = judging_language(lang)
    threshold = settings.threshold
    if threshold is None and settings.method == "rouge":
        threshold = rules.profile(language).rouge_l
    return get_method(settings.method, Means(language.tokenize, threshold, embed))


def _embedder(settings: CleanSettings, stack: ExitStack) -> Embed | None:
    """What --embed names: an endpoint, or a folder with a model."""
    place = settings.embed
    if place is None:
        return None
    if settings.method != "semantic":
        raise UsageError("--embed: only --dedup semantic takes it")
    if not place.startswith(("http://", "https://")):
        from selfinstruct.providers.static_vectors import load_static_model

        return load_static_model(Path(place))
    if not settings.embed_model:
        raise UsageError("--embed-model: an endpoint needs the name of its model")
    from selfinstruct.providers.embeddings import EmbeddingsEndpoint

    key = os.environ.get("OPENAI_API_KEY", "").strip()
    endpoint = EmbeddingsEndpoint(base_url=place, model=settings.embed_model, api_key=key)
    return stack.enter_context(endpoint)
