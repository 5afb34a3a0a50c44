"""Tasks as JSON: the schema that a request carries, and the JSON in whatever text comes back.

Enters: tasks to show, or a reply's text. Leaves: JSON, or Blocks. Pure. Knows no HTTP.

A server that enforces the schema sends an object with a list of tasks. One that does not may put
it into a fence, talk before and after it, leave the object around the list out, write a quotation
mark bare, or answer with a numbered list after all. All of these are read. The scanner is our own,
since json.loads reads nothing of a JSON that was cut off, and how deeply it can read depends on
who calls it.

>>> from selfinstruct.languages import get_language
>>> text = 'Sure: [{"instruction": "Name a river.", "input": null, "output": "Nile."}, {"inst'
>>> for block in find_tasks(text, get_language("en"), finish_reason="length") or []:
...     print(block.task, repr(block.defect))
Task(instruction='Name a river.', input='', output='Nile.') ''
Task(instruction='{"inst', input='', output='') 'unclosed'
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from selfinstruct.languages import Language
from selfinstruct.recipes.blocks import EVIDENCE_CHARS, Block, list_start, split_blocks, was_cut
from selfinstruct.records import Choice, Prompt, Task

_FIELDS = ("instruction", "input", "output")

# The API's `json_schema`. Strict mode wants every property required and no others allowed, and
# knows neither minItems nor maxItems.
SCHEMA: Mapping[str, Any] = {
    "name": "tasks",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {
            "tasks": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in _FIELDS},
                    "required": list(_FIELDS),
                    "additionalProperties": False,
                },
            }
        },
        "required": ["tasks"],
        "additionalProperties": False,
    },
}

_TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*+")|(?P<mark>[{}\[\]:,])|(?P<bare>[^\s"{}\[\]:,]+))',
    re.DOTALL,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_GAP = re.compile(r"[\s,]*")
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_STRINGS = json.JSONDecoder(strict=False)
# Any value that is neither text nor null.
_OTHER = object()


def as_json(tasks: Sequence[Task]) -> str:
    """Tasks in the shape of the schema, one in a line."""
    lines = [
        json.dumps({name: getattr(task, name) for name in _FIELDS}, ensure_ascii=False)
        for task in tasks
    ]
    return '{"tasks": [\n' + ",\n".join(lines) + "\n]}"


def read_blocks(choice: Choice, language: Language, prompt: Prompt) -> list[Block]:
    """The tasks in one answer to `prompt`: JSON where it was asked for and came, else a list."""
    if prompt.schema is not None:
        found = find_tasks(choice.text, language, finish_reason=choice.finish_reason)
        if found is not None:
            return found
    return split_blocks(choice.text, language, finish_reason=choice.finish_reason)


def find_tasks(text: str, language: Language, *, finish_reason: str) -> list[Block] | None:
    """The tasks in the JSON of `text`, in order; None when it holds none or a list begins first."""
    start, _ = _beginnings(language)
    opened = start.search(text)
    if opened is None or list_start(text, language) < opened.start():
        return None
    blocks: list[Block] = []
    while opened:
        at = _read_on(text, opened, language, finish_reason, blocks)
        opened = start.search(text, at)
    return blocks


def _read_on(
    text: str, opened: re.Match[str], language: Language, finish_reason: str, blocks: list[Block]
) -> int:
    """Add the tasks of one list, or of objects one after the other; returns where they end."""
    _, task = _beginnings(language)
    listed = opened["list"] is not None
    at = opened.end() if listed else opened.start()
    while (at := _skip_gap(text, at)) < len(text) and text[at] != "]":
        try:
            if text[at] == "{":
                fields, at = _object(text, at)
                blocks.append(_block(fields, language))
            elif listed and (end := _value(text, at)):
                at = end
                blocks.append(Block(Task("", "", ""), "incomplete", "an element is no object"))
            else:
                break
        except _Broken as broken:
            begun = text[at : at + EVIDENCE_CHARS]
            # A mark was written bare: the next task begins after it.
            following = task.search(text, max(broken.at, at + 1))
            at = following.start() if following else len(text)
            unclosed = not following and (broken.open or was_cut(finish_reason))
            blocks.append(_broken_block(begun, unclosed=unclosed))
    return at


@lru_cache
def _beginnings(language: Language) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """(where JSON with tasks begins, where a task begins)."""
    names = "|".join(re.escape(name) for names in _names(language).values() for name in names)
    task = rf'\{{(?=\s*"(?:{names})"\s*:)'
    # Inside a JSON string a quotation mark has a backslash before it.
    tasks = r'(?<!\\)"tasks"\s*:\s*\[|\[(?=\s*\{)'
    return re.compile(rf"(?P<list>{tasks})|{task}", re.IGNORECASE), re.compile(task, re.IGNORECASE)


@lru_cache
def _names(language: Language) -> dict[str, tuple[str, ...]]:
    """The keys that stand for each field: a model may put them into its language."""
    labels = (language.instruction, language.input, language.output)
    return {
        name: (name, *(label.lower() for label in own))
        for name, own in zip(_FIELDS, labels, strict=True)
    }


class _Broken(Exception):
    """No JSON any more from `at` on. open: because the text ends."""

    def __init__(self, at: int, *, open: bool) -> None:
        super().__init__()
        self.at = at
        self.open = open


def _skip_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap else at


def _token(text: str, at: int) -> re.Match[str]:
    token = _TOKEN.match(text, at)
    if token is None:
        # Nothing but the end, or a string that has none.
        raise _Broken(at, open=True)
    return token


def _object(text: str, at: int) -> tuple[dict[str, object], int]:
    """The object that begins at `at`, its keys in lower case, and where it ends."""
    fields: dict[str, object] = {}
    token = _token(text, at + 1)
    while token["mark"] != "}":
        if token["string"] is None:
            raise _Broken(token.start(), open=False)
        colon = _token(text, token.end())
        if colon["mark"] != ":":
            raise _Broken(colon.start(), open=False)
        value = _token(text, colon.end())
        end = value.end()
        if value["mark"]:
            end = _nested(text, value)
        fields[_decode(token["string"]).strip().lower()] = _meaning(value)
        token = _token(text, end)
        if token["mark"] == ",":
            token = _token(text, token.end())
        elif token["mark"] != "}":
            raise _Broken(token.start(), open=False)
    return fields, token.end()


def _nested(text: str, opening: re.Match[str]) -> int:
    """Where the list or object that begins with `opening` ends."""
    if opening["mark"] not in ("{", "["):
        raise _Broken(opening.start(), open=False)
    depth, token = 1, opening
    while depth:
        token = _token(text, token.end())
        depth += (token["mark"] in ("{", "[")) - (token["mark"] in ("}", "]"))
    return token.end()


def _value(text: str, at: int) -> int:
    """Where the JSON value at `at` ends that is no object; 0 when what stands there is none."""
    token = _token(text, at)
    if token["mark"] == "[":
        return _nested(text, token)
    bare = token["bare"] or ""
    if token["string"] or bare in ("null", "true", "false") or _NUMBER.fullmatch(bare):
        return token.end()
    return 0


def _meaning(value: re.Match[str]) -> object:
    if value["string"] is not None:
        return _decode(value["string"])
    return None if value["bare"] in ("null", "None") else _OTHER


def _decode(string: str) -> str:
    try:
        text: str = _STRINGS.decode(string)
    except ValueError:
        # A backslash of LaTeX or of a path, written as it is.
        text = _STRINGS.decode(_ESCAPE.sub(lambda m: m[0] if m[1] else r"\\", string))
    return text


def _block(fields: Mapping[str, object], language: Language) -> Block:
    texts: dict[str, str] = {}
    problem = ""
    for name, keys in _names(language).items():
        key = next((key for key in keys if key in fields), None)
        value = fields[key] if key else _OTHER
        if value is None and name == "input":
            value = ""
        if isinstance(value, str):
            texts[name] = value.replace("\r\n", "\n").strip()
        elif not problem:
            problem = f"the {name} is not text" if key else f"no {name}"
    if not problem and not texts["instruction"]:
        problem = "the instruction is blank"
    if problem:
        evidence = (texts.get(name, "")[:EVIDENCE_CHARS].strip() for name in _FIELDS)
        return Block(Task(*evidence), "incomplete", problem)
    if language.no_input_pattern.fullmatch(texts["input"]):
        texts["input"] = ""
    return Block(Task(**texts))


def _broken_block(begun: str, *, unclosed: bool) -> Block:
    task = Task(begun.strip(), "", "")
    if unclosed:
        return Block(task, "unclosed", "the reply ends inside this task")
    return Block(task, "incomplete", "the JSON of this task is broken")
