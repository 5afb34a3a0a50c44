"""The Alpaca recipe: one request writes many whole tasks.

Enters: a request's RNG or a reply. Leaves: a Prompt or Candidates. Knows no HTTP, file or filter.

As text, the prompt is a constant brief, a few seed tasks as numbered blocks and the label of the
next block (tatsu-lab/stanford_alpaca, generate_instruction.py); `blocks.py` has the layout. As
JSON it is a constant brief with the seed tasks in it; `structured.py` has the schema.

>>> from selfinstruct.languages import get_language
>>> shown(Task("Name a river:", "", "The Nile."), get_language("en"))
Task(instruction='Name a river', input='<noinput>', output='The Nile.')
"""

from __future__ import annotations

import random
import re
from collections.abc import Set
from typing import ClassVar

from selfinstruct.errors import UsageError
from selfinstruct.languages import Language
from selfinstruct.recipes.blocks import SEPARATOR, block, escape
from selfinstruct.recipes.recipe import Ingredients
from selfinstruct.recipes.structured import SCHEMA, as_json, read_blocks
from selfinstruct.records import Candidate, Prompt, Reply, Task
from selfinstruct.sampler import sample


class Alpaca:
    """One step, seeds only: Alpaca shows 3 seed tasks and asks for 17 more (numbers 4 to 20)."""

    placeholders: ClassVar[Set[str]] = frozenset({"count"})
    structured_placeholders: ClassVar[Set[str]] = frozenset({"count", "examples"})

    skipped_filters: ClassVar[Set[str]] = frozenset()
    requests: int | None = None

    def __init__(self, ingredients: Ingredients) -> None:
        """Raises UsageError when too few seed tasks are short enough to be shown."""
        seeds, example_chars = ingredients.seeds, ingredients.example_chars
        examples = ingredients.examples
        self._language = ingredients.language
        self._template = ingredients.template
        self._tasks = ingredients.tasks
        self._examples = examples
        self._structured = ingredients.structured
        form = _one_line if self._structured else lambda task: shown(task, ingredients.language)
        self._seeds = [
            (seed.id, form(seed.task)) for seed in seeds if _size(seed.task) <= example_chars
        ]
        if len(self._seeds) < examples:
            raise UsageError(
                f"{len(self._seeds)} of {len(seeds)} seed tasks have at most {example_chars} "
                f"characters; {examples} are shown in a request",
                hint="raise example_chars or add short seed tasks",
            )

    def prompt(self, _request: int, rng: random.Random) -> Prompt:
        """As text: brief, examples 1…k, and the open label of block k+1. As JSON: the brief with
        the examples in it."""
        examples = sample(rng, self._seeds, self._examples)
        tasks = [task for _id, task in examples]
        first = len(examples) + 1
        last = len(examples) + self._tasks
        label = self._language.instruction[0]
        return Prompt(
            text=self._as_json(tasks) if self._structured else self._as_list(tasks),
            # No line of a JSON answer begins with a label.
            stop=()
            if self._structured
            else (f"\n{SEPARATOR}\n{last + 1}.", f"\n{last + 1}. {label}:"),
            example_ids=tuple(id for id, _task in examples),
            first=first,
            asked=self._tasks,
            seed=int(rng.random() * 2**31),
            schema=SCHEMA if self._structured else None,
        )

    def _as_json(self, tasks: list[Task]) -> str:
        return self._template.substitute(count=self._tasks, examples=as_json(tasks))

    def _as_list(self, tasks: list[Task]) -> str:
        parts = [self._template.substitute(count=len(tasks) + self._tasks)]
        for number, task in enumerate(tasks, start=1):
            parts.append(block(number, task, self._language))
        parts.append(f"{SEPARATOR}\n{len(tasks) + 1}. {self._language.instruction[0]}:")
        return "".join(parts)

    def parse(self, reply: Reply, prompt: Prompt) -> list[Candidate]:
        """The tasks of all the reply's choices as candidates, numbered on from choice to choice."""
        blocks = [
            block
            for choice in reply.choices
            if choice.text.strip()
            for block in read_blocks(choice, self._language, prompt)
        ]
        return [
            Candidate(
                request=reply.request,
                position=position,
                task=block.task,
                example_ids=prompt.example_ids,
                model=reply.model,
                defect=block.defect,
                detail=block.detail,
            )
            for position, block in enumerate(blocks)
        ]


def shown(task: Task, language: Language) -> Task:
    """A task as a list shows it: one line of instruction, nothing that reads as scaffolding."""
    task = _one_line(task)
    return Task(
        task.instruction,
        escape(task.input, language) or language.no_input,
        escape(task.output, language),
    )


def _one_line(task: Task) -> Task:
    instruction = re.sub(r"\s+", " ", task.instruction).strip().rstrip(":：")
    return Task(instruction, task.input, task.output)


def _size(task: Task) -> int:
    return len(task.instruction) + len(task.input) + len(task.output)
