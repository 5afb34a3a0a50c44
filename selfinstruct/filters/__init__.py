"""The filters, in the order in which they are asked. The first that objects names the reason.

A filter takes a Task and its Language and returns a Verdict with a reason and evidence, or None.
A new one is one file here with one line in FILTERS: see CONTRIBUTING.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from selfinstruct.filters.blocked_word import blocked_word
from selfinstruct.filters.echo import echo
from selfinstruct.filters.empty_output import empty_output
from selfinstruct.filters.label_debris import label_debris
from selfinstruct.filters.length import length
from selfinstruct.filters.opening import opening
from selfinstruct.filters.placeholder import placeholder
from selfinstruct.filters.refusal import refusal
from selfinstruct.filters.url_input import url_input
from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

Filter = Callable[[Task, Language], Verdict | None]

FILTERS: dict[str, Filter] = {
    "instruction_length": length,
    "opening": opening,
    "blocked_word": blocked_word,
    "empty_output": empty_output,
    "placeholder": placeholder,
    "url_input": url_input,
    "echo": echo,
    "refusal": refusal,
    "label_debris": label_debris,
}


def apply_filters(task: Task, language: Language, skip: Set[str] = frozenset()) -> Verdict | None:
    """The first objection of the common filters, then of the language's own checks, or None.

    skip: names of filters and checks that are not asked.
    """
    for name, check in FILTERS.items():
        if name not in skip and (verdict := check(task, language)) is not None:
            return verdict
    for name, language_check in language.checks.items():
        if name not in skip and (verdict := language_check(task)) is not None:
            return verdict
    return None


__all__ = ["FILTERS", "Filter", "apply_filters"]
