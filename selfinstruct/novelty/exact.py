"""The same text again, but for case, spaces and sentence punctuation.

Enters: a tokenizer, then texts. Leaves: the earlier text with the same key. Knows no file or clock.

A language's tokens leave out whatever its ROUGE-L does not compare: every symbol, and for English
every other script. Tokens alone would call "sort in C" and "sort in C#" the same, or two sentences
to be translated from Russian. So the key is the tokens and, after them, every character that is
neither [a-z0-9], blank nor sentence punctuation.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence

from selfinstruct.novelty.method import Neighbour

# After NFKC, so full-width forms are here as their ASCII ones. A "!" behind a digit is a factorial.
_NOT_COMPARED = re.compile(r"[a-z0-9\s.,;:?'\"“”‘’。、…]+|(?<![0-9])!+")
# In no token, and apart from one another.
_TOKEN_END, _TOKENS_END = "\x1f", "\x1e"
_DIGEST_BYTES = 16


def key(text: str, tokenize: Callable[[str], Sequence[str]]) -> bytes:
    """128 bits of BLAKE2b over what of a text is compared, the same in every process and version.

    >>> from selfinstruct.languages import get_language
    >>> english = get_language("en").tokenize
    >>> key("Sort a list, in C.", english).hex()
    '6211cbb9eef93bcb8005106eecaf7ca0'
    >>> key("sort a list in c", english) == key("Sort a list, in C.", english)
    True
    >>> key("Sort a list in C#.", english) == key("Sort a list, in C.", english)
    False
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    tokens = _TOKEN_END.join(tokenize(folded))
    compared = tokens + _TOKENS_END + _NOT_COMPARED.sub("", folded)
    # A lone surrogate is a text like any other.
    content = compared.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


class Exact:
    """The first text of each key. Constant time a text; 99 bytes a kept row (measured), ids apart.

    >>> from selfinstruct.languages import get_language
    >>> kept = Exact(get_language("zh").tokenize)
    >>> kept.add("a", "写一首关于春天的诗。")
    >>> kept.duplicate_of("写一首关于春天的诗！")
    Neighbour(id='a', score=1.0)
    """

    def __init__(self, tokenize: Callable[[str], Sequence[str]]) -> None:
        self._tokenize = tokenize
        self._ids: dict[bytes, str] = {}

    def prepare(self, texts: Sequence[str]) -> None:
        """Nothing: a text is cheap alone."""

    def duplicate_of(self, text: str) -> Neighbour | None:
        """The earliest kept text with the same key, score 1.0. A blank text is never one."""
        if not text.strip():
            return None
        id = self._ids.get(key(text, self._tokenize))
        return None if id is None else Neighbour(id, 1.0)

    def add(self, id: str, text: str) -> None:
        self._ids.setdefault(key(text, self._tokenize), id)
