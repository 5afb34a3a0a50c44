"""The filters, in the order in which they are asked. The first that objects names the reason.

A filter takes a Task and its Language and returns a Verdict with a reason and evidence, or None.
A new one is one file here with one line in FILTERS: see CONTRIBUTING.
FILTERS judge what is generated; CLEANING, which has more, judges rows of files.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from selfinstruct.filters.attachment import attachment
from selfinstruct.filters.blocked_word import blocked_word
from selfinstruct.filters.control_characters import control_characters
from selfinstruct.filters.declined import declined
from selfinstruct.filters.echo import echo
from selfinstruct.filters.empty_output import empty_output
from selfinstruct.filters.label_debris import label_debris
from selfinstruct.filters.length import length
from selfinstruct.filters.linked_input import linked_input
from selfinstruct.filters.markup_debris import markup_debris
from selfinstruct.filters.merged_task import merged_task
from selfinstruct.filters.mojibake import mojibake
from selfinstruct.filters.opening import opening
from selfinstruct.filters.placeholder import placeholder
from selfinstruct.filters.refusal import refusal
from selfinstruct.filters.repeated_task import repeated_task
from selfinstruct.filters.repetition import repetition
from selfinstruct.filters.truncated import truncated
from selfinstruct.filters.url_input import url_input
from selfinstruct.filters.wrong_language import wrong_language
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
CLEANING: dict[str, Filter] = {
    **FILTERS,
    "attachment": attachment,
    "linked_input": linked_input,
    "declined": declined,
    "repeated_task": repeated_task,
    "merged_task": merged_task,
    "truncated": truncated,
    "repetition": repetition,
    "markup_debris": markup_debris,
    "control_characters": control_characters,
    "mojibake": mojibake,
    "wrong_language": wrong_language,
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


__all__ = ["CLEANING", "FILTERS", "Filter", "apply_filters"]
