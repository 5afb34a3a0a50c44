"""Texts of an evaluation set in training rows, by a run of tokens that both have.

Enters: a tokenizer, evaluation texts, then texts of rows. Leaves: the evaluation text that a row
shares a run with, and the run. Every hit is compared token by token, so none is a hash collision.
Knows no file, format or clock.

The rule is GPT-3's (Brown et al. 2020, appendix C): 13 words in a row; an evaluation text shorter
than that counts if it is found whole, down to 8 words, below which they found too many by chance.
Tokens are the language's: words in English, characters in Chinese.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Tokens in a run, and the fewest of a text that is matched whole, by the language's unit of length.
# GPT-3's, in words; 1.51 tokens of the Chinese 52K rows say what one of the English rows says.
RUNS: Mapping[str, tuple[int, int]] = {"words": (13, 8), "characters": (20, 12)}

_Hashes: TypeAlias = NDArray[np.uint64]
_Codes: TypeAlias = NDArray[np.uint32]
# Odd constants of splitmix64 (Steele et al. 2014): codes are counted up, hashes must not be.
_GAMMA, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_BASE = 0x94D049BB133111EB
_UNKNOWN = 0


class Contamination(NamedTuple):
    """The evaluation text that was met, by its id, and the run of tokens that both have."""

    id: str
    shared: str


@dataclass(frozen=True)
class _Index:
    """Where a run can be found.

    codes: of all texts, one after another; begins: of each text in them. mixed: a hash for each
    code of the vocabulary. tables: for a length, its runs as hashes, sorted, and where each begins
    in codes. firsts: hashes of the first `least` tokens of every run, sorted: few rows get past.
    """

    codes: _Codes
    begins: NDArray[np.int64]
    mixed: _Hashes
    tables: Mapping[int, tuple[_Hashes, _Codes]]
    firsts: _Hashes


class Decontamination:
    """Evaluation texts: 20 bytes a run and 4 a token, beside the vocabulary.

    >>> from selfinstruct.languages import get_language
    >>> tests = Decontamination(get_language("en").tokenize)
    >>> tests.add("gsm8k:0", "A farmer has 12 cows and sells 5 of them. How many are left?")
    >>> tests.find("Q: a farmer has 12 cows, and sells 5 of them; how many are left? A: 7")
    Contamination(id='gsm8k:0', shared='a farmer has 12 cows and sells 5 of them how many are')
    """

    def __init__(
        self, tokenize: Callable[[str], Sequence[str]], n: int = 13, least: int = 8
    ) -> None:
        """n: tokens in a run; least: tokens that a shorter evaluation text must have to be matched
        whole. RUNS has both for a language. Raises ValueError unless 1 <= least <= n."""
        if not 1 <= least <= n:
            raise ValueError(f"least must be from 1 to n, not {least} of {n}")
        self._tokenize, self._n, self._least = tokenize, n, least
        self._vocabulary: dict[str, int] = {}
        self._ids: list[str] = []
        self._codes = array("I")
        self._begins = array("q")
        self._index: _Index | None = None

    def __len__(self) -> int:
        """Number of evaluation texts that are long enough to be looked for."""
        return len(self._ids)

    def add(self, id: str, text: str) -> None:
        """An evaluation text; one with fewer than `least` tokens is left out."""
        tokens = self._tokenize(text)
        if len(tokens) < self._least:
            return
        self._ids.append(id)
        self._begins.append(len(self._codes))
        vocabulary = self._vocabulary
        self._codes.extend(vocabulary.setdefault(t, len(vocabulary) + 1) for t in tokens)
        self._index = None

    def find(self, text: str) -> Contamination | None:
        """The first full run of `text` that an evaluation text has, else a short text found whole,
        the longest first; of equals the evaluation text that was added first. None: it has none."""
        if not self._ids:
            return None
        if self._index is None:
            self._index = self._built()
        index, tokens = self._index, self._tokenize(text)
        known = map(self._vocabulary.get, tokens, repeat(_UNKNOWN))
        codes = np.fromiter(known, np.uint32, len(tokens))
        possible = self._possible(index, codes)
        if not len(possible):
            return None
        for length, table in index.tables.items():
            for at in possible[possible + length <= len(codes)].tolist():
                begin = _begin(index, table, codes[at : at + length])
                if begin is not None:
                    row = int(np.searchsorted(index.begins, begin, side="right")) - 1
                    return Contamination(self._ids[row], _joined(tokens[at : at + length]))
        return None

    def _possible(self, index: _Index, codes: _Codes) -> NDArray[np.int64]:
        """Where a shared run may begin: its first `least` tokens are those of some run."""
        hashes = _hashes(index.mixed[codes], self._least)
        places = np.searchsorted(index.firsts, hashes)
        places[places == len(index.firsts)] = 0
        return np.flatnonzero(index.firsts[places] == hashes)

    def _built(self) -> _Index:
        codes = np.frombuffer(self._codes, np.uint32).copy()
        begins = np.frombuffer(self._begins, np.int64).copy()
        mixed = _mixed(len(self._vocabulary) + 1)
        hashed = mixed[codes]
        lengths = np.diff(begins, append=len(codes))
        tables, firsts = {}, []
        # The longest first: a full run says more than a short text.
        for length in range(self._n, self._least - 1, -1):
            starts = begins[lengths == length]
            if length == self._n:
                last = np.repeat(begins + lengths - length, lengths)
                starts = np.flatnonzero(np.arange(len(codes)) <= last)
            if len(starts):
                hashes = _hashes(hashed, length)[starts]
                order = np.argsort(hashes, kind="stable")
                tables[length] = hashes[order], starts[order].astype(np.uint32)
                firsts.append(_hashes(hashed, self._least)[starts])
        return _Index(codes, begins, mixed, tables, np.unique(np.concatenate(firsts)))


def _begin(index: _Index, table: tuple[_Hashes, _Codes], run: _Codes) -> int | None:
    """Where the evaluation texts have this very run first."""
    hashes, starts = table
    wanted = _hashes(index.mixed[run], len(run))[0]
    low = np.searchsorted(hashes, wanted)
    high = np.searchsorted(hashes, wanted, side="right")
    for start in starts[low:high].tolist():
        if np.array_equal(index.codes[start : start + len(run)], run):
            return int(start)
    return None


def _mixed(count: int) -> _Hashes:
    """A hash for each of the codes 0, 1, 2, …"""
    hashes = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
    hashes = (hashes ^ (hashes >> np.uint64(30))) * _MIX
    mixed: _Hashes = hashes ^ (hashes >> np.uint64(27))
    return mixed


def _hashes(mixed: _Hashes, length: int) -> _Hashes:
    """A 64-bit hash of each run of `length` hashed codes, shape (max(0, len(mixed) - length + 1),):
    a polynomial modulo 2⁶⁴ (Karp and Rabin 1987), of two halves and what is left over."""
    if length == 1:
        return mixed
    if len(mixed) < length:
        return np.zeros(0, np.uint64)
    half = length // 2
    part = _hashes(mixed, half)
    hashes = part[: len(part) - half] * np.uint64(pow(_BASE, half, 1 << 64))
    hashes += part[half:]
    if length % 2:
        hashes = hashes[:-1] * np.uint64(_BASE)
        hashes += mixed[length - 1 :]
    return hashes


def _joined(tokens: Sequence[str]) -> str:
    """Tokens as text: a blank between two words, none beside an ideograph.

    >>> _joined(["用", "python", "3", "算"])
    '用python 3算'
    """
    text = ""
    for token in tokens:
        text += " " if text and text[-1].isascii() and token.isascii() else ""
        text += token
    return text


# ── what of an evaluation row is looked for ──────────────────────────────────────────────────

_FIELDS = frozenset(
    {
        "question", "questions", "query", "prompt", "problem", "instruction", "instructions",
        "input", "inputs", "context", "ctx", "passage", "premise", "hypothesis", "sentence",
        "text", "content", "value", "story", "article", "dialogue", "title", "stem", "choices",
        "options", "endings", "candidates", "a", "b", "c", "d", "e", "sol1", "sol2", "goal",
        "option1", "option2", "mc1_targets", "mc2_targets", "answer", "answers", "best_answer",
        "correct_answers", "incorrect_answers", "correct_answer", "output", "outputs",
        "response", "completion", "target", "targets", "solution", "canonical_solution",
        "rationale", "explanation", "cot", "chosen", "rejected", "messages", "conversations",
        "conversation", "turns", "dialog", "data",
    }
)  # fmt: skip
# A text of fewer characters has fewer tokens than are looked for.
_CHARACTERS = min(least for _, least in RUNS.values())


def texts_of(fields: Mapping[str, Any]) -> list[str]:
    """Every string of a row that may hold its question or answer, in order, each once.

    A field counts by its name, in any case and depth; an id, a subject or a role does not.

    >>> texts_of({"id": "mmlu-000017", "Question": "Which metal is liquid?", "answer": "B",
    ...           "choices": ["Mercury, at room temperature", "Iron"]})
    ['Which metal is liquid?', 'Mercury, at room temperature']
    """
    found: dict[str, None] = {}
    # A stack: a row may be nested more deeply than Python calls may be.
    left: list[Any] = [fields]
    while left:
        value = left.pop()
        if isinstance(value, str):
            if len(value.strip()) >= _CHARACTERS:
                found[value] = None
        elif isinstance(value, Mapping):
            named = [v for name, v in value.items() if _plain(name) in _FIELDS]
            left += reversed(named)
        elif isinstance(value, list | tuple):
            left += reversed(value)
    return list(found)


def _plain(name: object) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")
