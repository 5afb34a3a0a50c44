"""What a language must say about itself: labels, tokens, lengths and word lists.

Enters: nothing. Leaves: the frozen `Language`. Knows no recipe, filter or file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """Everything language-specific that recipes, filters and the novelty pool need.

    code: the BCP 47 primary subtag, also the prompt's and the seed file's name.
    instruction, input, output: accepted field labels, the canonical one first.
    no_input: the marker written for an empty input; `no_input_pattern` matches what models write.
    tokenize: text → ROUGE-L tokens.
    length: text → its length in `unit`; instructions outside min_length..max_length are rejected.
    blocked: one pattern for words that ask for what a text model cannot see or do.
    blocked_openings: lower-case beginnings of an instruction that are rejected.
    opening: pattern that an instruction's first character must match.
    refusals: pattern searched in an output.
    placeholders: pattern of a whole input or output that stands for a text that is not there.
    no_values: pattern of a whole input that says "nothing" without being the marker.
    """

    code: str
    instruction: Sequence[str]
    input: Sequence[str]
    output: Sequence[str]
    no_input: str
    no_input_pattern: re.Pattern[str]
    tokenize: Callable[[str], Sequence[str]]
    length: Callable[[str], int]
    unit: str
    min_length: int
    max_length: int
    blocked: re.Pattern[str]
    blocked_openings: Sequence[str]
    opening: re.Pattern[str]
    refusals: re.Pattern[str]
    placeholders: re.Pattern[str]
    no_values: re.Pattern[str]
