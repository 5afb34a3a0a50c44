"""The numbered list of tasks: how a block is written, and how a reply's blocks are read.

Enters: tasks to show, or a reply's text. Leaves: text, or Blocks. Pure. Knows no prompt and no
filter. The published script (tatsu-lab/stanford_alpaca, generate_instruction.py) loses rows that
this one reads:

- It stops at a bare "20.", which cuts any answer that contains "20.". Here the stop is the record
  separator with the number after the last task asked for.
- It drops a block on any slip in numbering. Here the labels decide, the numbers only help.
- It splits at any "###". Here a separator is a line of its own, followed by a block or the end.
- It leaves the next task merged into an output. Here a numbered label at a line's start begins it.
- It keeps a last block that a stop sequence never closed, unless the reply was cut by length.

>>> from selfinstruct.languages import get_language
>>> text = " Name a river.\\n4. Input:\\n<noinput>\\n4. Output:\\nNile.\\n###\\n5. Instruction: Ad"
>>> for block in split_blocks(text, get_language("en"), finish_reason="length"):
...     print(block.task, repr(block.defect))
Task(instruction='Name a river.', input='', output='Nile.') ''
Task(instruction='Ad', input='', output='') 'unclosed'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from selfinstruct.languages import Language
from selfinstruct.records import Task

SEPARATOR = "###"
# What models leave on a line of its own between two tasks.
_DEBRIS = re.compile(r"#{1,6}|\*{3,}|-{3,}|_{3,}|/{3,}|=+|;+")
# "6", "6.", "**6. Instr": what a reply that was cut off may have begun of a label.
_OPEN_LABEL = re.compile(
    r"[ \t]{0,8}\*{0,3}\d{1,6} ?[.．)、:：]?[ \t]{0,4}\*{0,3}(\w{0,40})\*{0,3}"
)
# "Task 4:", "**任务 4**": a title that some models put above a block's labels.
_TITLE = re.compile(
    r"[ \t]{0,8}(?:#{1,6} )?\*{0,3}(?:task|任务) ?\d{1,6}\*{0,3} ?[.:：]?\*{0,3}[ \t]{0,8}",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]{0,3}```[^\n`]{0,40}$", re.MULTILINE)
# How a chat model takes its leave. Known by its words: any other text after a separator may well
# be the rest of an answer that holds a separator.
_FAREWELL = re.compile(
    r"(?:please )?(?:let me know|feel free)|(?:i )?hope (?:this|these|that)|would you like"
    r"|if you(?:['’]d| would)? (?:like|want|need|have)|(?:these|those) (?:are|were) (?:the|\d+|all)"
    r"|希望(?:这些|以上|对)|如果?[您你]?(?:还)?(?:需要|想要|有)|如需|请告诉我|以上(?:就?是|任务|共)",
    re.IGNORECASE,
)
_FAREWELL_CHARS = 400
EVIDENCE_CHARS = 300


def block(number: int, task: Task, language: Language) -> str:
    """The block of a `shown` task."""
    return (
        f"{SEPARATOR}\n"
        f"{number}. {language.instruction[0]}: {task.instruction}\n"
        f"{number}. {language.input[0]}:\n{task.input}\n"
        f"{number}. {language.output[0]}:\n{task.output}\n"
    )


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a reply: its fields, or as much of them as there was, and what is wrong."""

    task: Task
    defect: str = ""
    detail: str = ""


def was_cut(finish_reason: str) -> bool:
    """May a reply with this finish_reason end in the middle? Servers have many words for an end
    (stop, eos_token, stop_sequence); "" says nothing."""
    return finish_reason in ("length", "content_filter", "")


def list_start(text: str, language: Language) -> int:
    """Where the first label of a list stands, the length of the text when there is none."""
    first = _first(_grammar(language), text)
    return first.start() if first else len(text)


@dataclass(frozen=True)
class _Grammar:
    start: re.Pattern[str]
    bare: re.Pattern[str]
    input: re.Pattern[str]
    output: re.Pattern[str]


@lru_cache
def _grammar(language: Language) -> _Grammar:
    def label(names: Sequence[str], number: str) -> str:
        words = "|".join(map(re.escape, names))
        # Bounded repeats: a line of a million blanks must not cost a million squared.
        before, bold = r"[ \t]{0,8}(?:#{1,6} ?|[-*•] )?\*{0,3}", r"\*{0,3}"
        return rf"{before}{number}(?:{words}){bold} ?[:：]{bold}"

    numbered = r"(?P<number>\d{1,6}) ?[.．)、:：][ \t]{0,4}\*{0,3}"
    bare = label(language.instruction, "")
    return _Grammar(
        # A block begins at a numbered label, or at a bare one right after a separator line.
        start=re.compile(
            rf"^(?:{label(language.instruction, numbered)}|###[ \t]{{0,8}}\n{bare})",
            re.MULTILINE | re.IGNORECASE,
        ),
        bare=re.compile(rf"^(?P<number>){bare}", re.MULTILINE | re.IGNORECASE),
        # Not at the very beginning, where the instruction stands.
        input=re.compile(rf"(?<=\n){label(language.input, f'(?:{numbered})?')}", re.IGNORECASE),
        output=re.compile(rf"(?<=\n){label(language.output, f'(?:{numbered})?')}", re.IGNORECASE),
    )


def escape(text: str, language: Language) -> str:
    """`text` with lines that the parser would read as scaffolding moved off the line's start."""
    grammar = _grammar(language)
    lines = text.split("\n")
    for number, line in enumerate(lines):
        scaffolding = any(
            match and match.group("number")
            for match in (
                p.match(f"\n{line}", 1) for p in (grammar.start, grammar.input, grammar.output)
            )
        )
        if scaffolding or line.strip() == SEPARATOR:
            lines[number] = f"> {line}"
    return "\n".join(lines)


def split_blocks(text: str, language: Language, *, finish_reason: str) -> list[Block]:
    """The tasks in a reply, in order, each with its defect if it has one.

    The reply continues an open instruction label, or (chat models) starts with its own first label
    after any preamble. A finish_reason of "length", or none, leaves the last block open unless a
    separator ends it.
    """
    grammar = _grammar(language)
    text = text.replace("\r\n", "\n")
    ended = not was_cut(finish_reason)
    text, unwrapped = _cut_fence(text, grammar, ended=ended)
    text, left = _cut_farewell(text, grammar)
    text, closed = _cut_open_label(text, language)
    closed = closed or left or unwrapped or ended
    starts = _starts(grammar, text)
    fields = min(
        (
            match.start()
            for match in (grammar.input.search(text), grammar.output.search(text))
            if match
        ),
        default=len(text),
    )
    bounds: list[tuple[int, int, str]] = []
    if not starts or starts[0].start() > fields or _is_lone_block(text[: starts[0].start()]):
        bounds.append((0, starts[0].start() if starts else len(text), ""))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    for match, end in zip(starts, ends, strict=False):
        bounds.append((match.end(), end, match.group("number") or ""))
    blocks = []
    for index, (begin, end, number) in enumerate(bounds):
        last = index == len(bounds) - 1
        body = text[begin:end]
        # After the last separator a new block may be opened and left blank.
        if last and index and not body.strip():
            continue
        body = _strip_separators(body, merged=not last)
        blocks.append(_read_block(body, number, language, closed=closed or not last))
    return blocks


def _starts(grammar: _Grammar, text: str) -> list[re.Match[str]]:
    """Where blocks begin, in order.

    A numbered label with no separator before it begins one only if its number goes on: a lesson
    plan may well have a step "2. Instruction: …". In a reply that numbers nothing, every bare label
    at a line's start begins one.
    """
    starts: list[re.Match[str]] = []
    highest = 0
    for match in grammar.start.finditer(text):
        number = int(match.group("number") or 0)
        before = text[max(0, match.start() - 80) : match.start()].rstrip().rpartition("\n")[2]
        separated = not number or _DEBRIS.fullmatch(before.strip()) or _TITLE.fullmatch(before)
        if separated or number > highest:
            starts.append(match)
            highest = max(highest, number)
    return starts or list(grammar.bare.finditer(text))


def _cut_fence(text: str, grammar: _Grammar, *, ended: bool) -> tuple[str, bool]:
    """What a fence around the whole list holds, and was it closed? Without a fence, all."""
    first = _first(grammar, text)
    head = _strip_separators(text[: first.start()]) if first else ""
    opening = _FENCE.findall(head)
    if not first or len(opening) % 2 == 0 or not head.endswith(opening[-1]):
        return text, False
    text = text[first.start() :]
    fences = list(_FENCE.finditer(text))
    # Those inside answers come in pairs, and a reply that was cut off ends inside one of them.
    if len(fences) % 2 == 0 or fences[-1][0].strip() != "```":
        return text, False
    if not ended and text[fences[-1].end() :].strip():
        return text, False
    return text[: fences[-1].start()], True


def _first(grammar: _Grammar, text: str) -> re.Match[str] | None:
    return grammar.start.search(text) or grammar.bare.search(text)


def _cut_farewell(text: str, grammar: _Grammar) -> tuple[str, bool]:
    """`text` without what is said to the reader after the last separator, and if it was said."""
    head, separator, tail = text.rpartition(f"\n{SEPARATOR}\n")
    tail = tail.strip()
    if not separator or len(tail) > _FAREWELL_CHARS or not _FAREWELL.match(tail):
        return text, False
    if _first(grammar, tail) or grammar.output.search(tail):
        return text, False
    return head, True


def _cut_open_label(text: str, language: Language) -> tuple[str, bool]:
    """`text` without a last separator and what was begun of a label after it, and if there was one.

    The separator closes the task before it, wherever inside "###\\n6. Instruction:" the reply ends.
    """
    stripped = text.rstrip()
    *before, last = stripped.rsplit("\n", 1)
    if last.strip() == SEPARATOR:
        return stripped[: -len(last)], True
    begun = _OPEN_LABEL.fullmatch(last)
    names = [name.lower() for name in language.instruction]
    if begun and before and any(name.startswith(begun.group(1).lower()) for name in names):
        head = before[0].rstrip()
        separator = head.rpartition("\n")[2]
        if separator.strip() == SEPARATOR:
            return head[: -len(separator)], True
    return text, False


def _is_lone_block(text: str) -> bool:
    """Is this an unlabelled beginning that a separator ends, as a broken first block would?"""
    head, _, last = text.rstrip().rpartition("\n")
    return last.strip() == SEPARATOR and bool(_strip_separators(head))


def _strip_separators(body: str, *, merged: bool = False) -> str:
    """`body` without the lines that only part it from the next task.

    merged: another task follows, so without a proper separator look for what stands for one. An
    answer may well end in "---" or be "#": only there is it debris.
    """
    lines = body.rstrip().split("\n")
    if merged and _TITLE.fullmatch(lines[-1]):
        lines = "\n".join(lines[:-1]).rstrip().split("\n")
    proper = lines[-1].strip() == SEPARATOR
    while lines and (
        not lines[-1].strip()
        or lines[-1].strip() == SEPARATOR
        or (merged and not proper and _DEBRIS.fullmatch(lines[-1].strip()))
    ):
        lines.pop()
    return "\n".join(lines)


def _read_block(body: str, number: str, language: Language, *, closed: bool) -> Block:
    grammar = _grammar(language)
    output = _label(grammar.output, body, number)
    given = _label(grammar.input, body[: output.start()] if output else body, number)
    if output is None:
        instruction = body[: given.start()] if given else body
        rest = body[given.end() :] if given else ""
        task = Task(instruction.strip()[:EVIDENCE_CHARS], rest.strip()[:EVIDENCE_CHARS], "")
        if not closed:
            return Block(task, "unclosed", "the reply ends inside this task")
        return Block(task, "incomplete", f"no {language.output[0]} label")
    head = body[: (given or output).start()]
    raw_input = body[given.end() : output.start()].strip() if given else ""
    if language.no_input_pattern.fullmatch(raw_input):
        raw_input = ""
    task = Task(head.strip(), raw_input, body[output.end() :].strip())
    if not closed:
        return Block(task, "unclosed", "the reply ends inside this task")
    if not task.instruction:
        return Block(task, "incomplete", "the instruction is blank")
    return Block(task)


def _label(pattern: re.Pattern[str], body: str, number: str) -> re.Match[str] | None:
    """The label that belongs to block `number`: same number, else any number, else none."""
    matches = list(pattern.finditer(body))
    numbered = [match for match in matches if match.group("number")]
    own = [match for match in numbered if match.group("number") == number]
    found = own or numbered or matches
    return found[0] if found else None
