"""The translate recipe: each row of another run becomes one row of this run's language.

Enters: source rows. Leaves: a prompt for each, and one Candidate for each reply, with what was lost
in translation as its defect. The route of Chinese-Alpaca (ymcui/Chinese-LLaMA-Alpaca), which
translated Alpaca's rows and checked nothing. Knows no HTTP, file or filter.

The prompt shows the source as block 1, in this language's labels, and leaves block 2 open, so that
completions and chat models answer in the shape that `blocks.py` reads. As JSON, the source stands
in the brief and the answer is a list of one task.

>>> lost(Task("Add 3 and 4.", "", "It is `7`."), Task("把 3 和 4 相加。", "", "得 `8`。"))
('numbers_differ', '7, 8')
"""

from __future__ import annotations

import random
import re
from collections.abc import Set
from typing import ClassVar

from selfinstruct.recipes.blocks import SEPARATOR, block, escape
from selfinstruct.recipes.numbers import unmatched
from selfinstruct.recipes.recipe import Ingredients
from selfinstruct.recipes.structured import SCHEMA, as_json, read_blocks
from selfinstruct.records import Candidate, Choice, Prompt, Reply, Task

MARKER = "<untranslatable>"
_MARKERS = re.compile(r"<\s*(?:untranslatable|不可翻译)\s*>\s*[:：]?\s*(.{0,200})", re.IGNORECASE)
_FENCED = re.compile(r"```([^\n`]*)\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]{1,200})`(?!`)")
# Comments and string literals in code may be translated: they are not compared.
_IN_CODE = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"|'[^'\n]*'", re.DOTALL)
# A fence around a letter or a poem is no code: it is to be translated.
_PLAIN_FENCE = re.compile(r"\s*(?:te?xt|plain\w*|markdown|md)?\s*", re.IGNORECASE)
_CODE_SIGNS = re.compile(r"[{}=;<>\[\]$|]|\w\(")
# ASCII alone, for Chinese text follows an address without a blank.
_ADDRESS = re.compile(
    r"(?:https?://|www\.)[\w.~:/?#@!$&*+,;=%-]+|[\w.+-]{1,64}@[\w-]+\.[\w.-]*\w", re.ASCII
)
# Neither prose: code, addresses, lines that look like code, and capitalised words (names).
_NO_PROSE = re.compile(
    rf"{_FENCED.pattern}|{_INLINE.pattern}|{_ADDRESS.pattern}|^[^\n]*(?:[{{}}=;]|\w\()[^\n]*$|[A-Z]\w*",
    re.DOTALL | re.MULTILINE | re.ASCII,
)
# A task about a language may well keep its text as it is: 译成法语, "in Spanish".
_NAMES_LANGUAGE = re.compile(
    r"[英法德日韩俄中汉][语文]|(?:西班牙|拉丁|意大利|葡萄牙|阿拉伯)[语文]|英译|"
    r"\b(?:English|French|German|Japanese|Korean|Russian|Chinese|Mandarin|Spanish|Latin|Italian"
    r"|Portuguese|Arabic|pinyin)\b",
    re.IGNORECASE,
)


class Translate:
    """Request k translates source row k."""

    placeholders: ClassVar[Set[str]] = frozenset({"marker"})
    structured_placeholders: ClassVar[Set[str]] = frozenset({"marker", "task"})
    # The source was judged in its own language by rules for what may be asked.
    skipped_filters: ClassVar[Set[str]] = frozenset(
        {"instruction_length", "opening", "blocked_word", "url_input", "mentions_gpt"}
    )

    def __init__(self, ingredients: Ingredients) -> None:
        self._language = ingredients.language
        self._template = ingredients.template
        self._structured = ingredients.structured
        self._source = {row.id: row.task for row in ingredients.source}
        self._ids = tuple(self._source)
        self.requests: int | None = len(self._ids)

    def prompt(self, request: int, rng: random.Random) -> Prompt:
        """As text: the brief, the source as block 1, and the open label of block 2. As JSON: the
        brief with the source in it."""
        id = self._ids[request]
        label = self._language.instruction[0]
        task = self._source[id]
        return Prompt(
            text=self._as_json(task) if self._structured else self._as_list(task),
            stop=() if self._structured else (f"\n{SEPARATOR}\n3.", f"\n3. {label}:"),
            example_ids=(id,),
            first=2,
            asked=1,
            seed=int(rng.random() * 2**31),
            schema=SCHEMA if self._structured else None,
        )

    def _as_json(self, task: Task) -> str:
        return self._template.substitute(marker=MARKER, task=as_json([task]))

    def _as_list(self, task: Task) -> str:
        language = self._language
        brief = self._template.substitute(marker=MARKER)
        shown = Task(
            # Lines kept, unlike a seed's: an instruction may hold code.
            escape(task.instruction, language),
            escape(task.input, language) or language.no_input,
            escape(task.output, language),
        )
        source = block(1, shown, language)
        return f"{brief}{source}{SEPARATOR}\n2. {language.instruction[0]}:"

    def parse(self, reply: Reply, prompt: Prompt) -> list[Candidate]:
        """One candidate: of the first choice that lost nothing, else of the first with a text."""
        id = prompt.example_ids[0]
        first = task, defect, detail = self._read(reply.choices[0], prompt)
        if defect:
            others = (self._read(choice, prompt) for choice in reply.choices[1:])
            task, defect, detail = next((read for read in others if not read[1]), first)
        return [
            Candidate(
                request=reply.request,
                position=0,
                task=task,
                example_ids=(),
                model=reply.model,
                defect=defect,
                detail=detail,
                source_id=id,
            )
        ]

    def _read(self, choice: Choice, prompt: Prompt) -> tuple[Task, str, str]:
        """(the first task in a choice, what is wrong with it, the evidence)."""
        if choice.outcome:
            # The row is not lost without a word: it is rejected for what happened to its request.
            return Task("", "", ""), choice.outcome, "no translation came"
        found = read_blocks(choice, self._language, prompt)
        if not found:
            return Task("", "", ""), "incomplete", "no task in the reply"
        task = found[0].task
        if marked := _MARKERS.match(task.instruction):
            return task, "untranslatable", marked.group(1).strip()
        if found[0].defect:
            return task, found[0].defect, found[0].detail
        return task, *lost(self._source[prompt.example_ids[0]], task)


def lost(source: Task, translation: Task) -> tuple[str, str]:
    """(what a translation did not keep, the evidence), two "" when it kept all that is checked."""
    if bool(source.input.strip()) != bool(translation.input.strip()):
        side = "source" if source.input.strip() else "translation"
        return "input_differs", f"only the {side} has an input"
    if field := _untranslated(source, translation):
        return "untranslated", f"the {field} is the source's"
    one, other = _text(source), _text(translation)
    if missing := sorted(_addresses(one) ^ _addresses(other)):
        return "urls_differ", ", ".join(missing)[:200]
    if numbers := unmatched(one, other):
        return "numbers_differ", ", ".join(numbers)[:200]
    if _code(one) != _code(other):
        return "code_differs", " | ".join(sorted(_code(one) ^ _code(other)))[:200]
    return "", ""


def _text(task: Task) -> str:
    return "\n".join((task.instruction, task.input, task.output))


def _addresses(text: str) -> set[str]:
    return {address.rstrip(".,;:!?*") for address in _ADDRESS.findall(text)}


def _untranslated(source: Task, translation: Task) -> str:
    """The field that is prose and word for word the source's, or ""."""
    if source.instruction.strip() == translation.instruction.strip():
        return "instruction"
    if _NAMES_LANGUAGE.search(translation.instruction):
        return ""
    script = _script(source.instruction + " " + source.output)
    for name in ("input", "output"):
        text = getattr(source, name).strip()
        if text == getattr(translation, name).strip() and script and _script(text) == script:
            return name
    return ""


def _script(text: str) -> str:
    """Is it "han" or "letters", by what most of a text's prose is written in; "" without prose."""
    prose = _NO_PROSE.sub(" ", text)
    han = len(re.findall(r"[\u3400-\u9fff]", prose))
    words = re.findall(r"[^\W\d_\u3400-\u9fff]{2,}", prose)
    if han < 2 and len(words) < 2:
        return ""
    return "han" if han > len(words) else "letters"


def _code(text: str) -> set[str]:
    """The code in a text, without comments, strings and blanks."""
    fenced = [
        body
        for info, body in _FENCED.findall(text)
        if not _PLAIN_FENCE.fullmatch(info) or _CODE_SIGNS.search(body)
    ]
    inline = _INLINE.findall(_FENCED.sub("", text))
    pieces = (re.sub(r"\s+", "", _IN_CODE.sub("", piece)) for piece in (*fenced, *inline))
    return {piece for piece in pieces if piece}
