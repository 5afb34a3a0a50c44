"""What a language must say about itself: labels, tokens, lengths and word lists.

Enters: nothing. Leaves: the frozen `Language`. Knows no recipe, filter or file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from selfinstruct.languages.marks import Marks
from selfinstruct.records import Task, Verdict

Check = Callable[[Task], Verdict | None]


def as_it_is(task: Task) -> Task:
    """No tidying."""
    return task


# eq=False: a language is itself alone, so caches can be keyed by it.
@dataclass(frozen=True, eq=False)
class Language:
    """Everything language-specific that recipes, filters and the novelty pool need.

    code: a BCP 47 tag in lower case. assets: the name of its prompt and seed files.
    dataset: the style that its data file is named for. tasks: asked for in one request, examples
    not counted.
    instruction, input, output: accepted field labels, the canonical one first.
    no_input: the marker written for an empty input; `no_input_pattern` matches what models write.
    tokenize: text → ROUGE-L tokens.
    length: text → its length in `unit`. limits: task → the least and the greatest length of its
    instruction.
    blocked: one pattern for words that ask for what a text model cannot see or do.
    blocked_openings: lower-case beginnings of an instruction that are rejected.
    opening: pattern that an instruction's first character must match.
    refusals: pattern searched in an output.
    placeholders: pattern of a whole input or output that stands for a text that is not there.
    no_values: pattern of a whole input that says "nothing" without being the marker.
    tidy: what is done to a task before it is judged.
    folder: where its prompts/ and seeds/ lie, None for the package's own.
    checks: filters of this language alone, by the reason that they give; asked after the common
    ones.
    marks: what only the cleaning of files looks for.
    """

    code: str
    assets: str
    dataset: str
    tasks: int
    instruction: Sequence[str]
    input: Sequence[str]
    output: Sequence[str]
    no_input: str
    no_input_pattern: re.Pattern[str]
    tokenize: Callable[[str], Sequence[str]]
    length: Callable[[str], int]
    unit: str
    limits: Callable[[Task], tuple[int, int]]
    blocked: re.Pattern[str]
    blocked_openings: Sequence[str]
    opening: re.Pattern[str]
    refusals: re.Pattern[str]
    placeholders: re.Pattern[str]
    no_values: re.Pattern[str]
    tidy: Callable[[Task], Task] = as_it_is
    checks: Mapping[str, Check] = field(default_factory=dict)
    folder: Path | None = None
    marks: Marks = field(default_factory=Marks)
