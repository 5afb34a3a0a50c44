"""Outputs that go on with another task, or with the scaffolding of a chat.

`label_debris` finds the numbered labels of a recipe's own prompt; here is what else there is.
"""

from __future__ import annotations

import re
from functools import lru_cache

from selfinstruct.filters.windows import READ, around, ends
from selfinstruct.languages import Language
from selfinstruct.languages.marks import Marks
from selfinstruct.records import Task, Verdict

_WINDOW = 50_000
# Special tokens of ChatML, Llama 2 and 3, Zephyr, Alpaca's header lines: never part of an answer.
_TOKENS = re.compile(
    r"<\|(?:im_start|im_end|endoftext|end_of_text|begin_of_text|eot_id|start_header_id"
    r"|end_header_id|user|assistant|system|end)\|>|\[/?INST\]|<</?SYS>>|</s>\s*\Z"
    r"|</(?:input|output|instruction)>\s*\Z"
    r"|^#{2,4} ?(?:Instruction|Input|Response|Human|Assistant|User)\s*[:：]",
    re.MULTILINE,
)
# A speaker at the beginning of a line, answered by the other one.
_TURNS = re.compile(
    r"^(?:Human|User|USER|Q|Question|问|問|用户|用戶)\s?\d{0,2}\s*[:：].{0,2000}?"
    r"^(?:Assistant|ASSISTANT|AI|A|Answer|答|助手)\s?\d{0,2}\s*[:：]",
    re.MULTILINE | re.DOTALL,
)


@lru_cache
def _labelled(marks: Marks) -> re.Pattern[str]:
    task, answer = (
        "|".join(map(re.escape, names)) for names in (marks.task_labels, marks.answer_labels)
    )
    label = r"^[ \t#*]{0,6}(?:\d{1,3}[.)、]\s?)?"
    colon = r"\s?\d{0,3}\**\s?[:：]"
    return re.compile(
        rf"{label}(?:{task}){colon}.{{0,2000}}?{label}(?:{answer}){colon}"
        # A number before it, as in a prompt.
        rf"|^[ \t#*]{{0,6}}\d{{1,3}}[.)、]\s?(?:{task})\**\s?[:：]",
        re.MULTILINE | re.DOTALL,
    )


def merged_task(task: Task, language: Language) -> Verdict | None:
    """Rejects an output with "Instruction: … Output: …" or a turn of a chat after its own text.

    An instruction that asks for tasks, questions, jokes or dialogues may be answered so; special
    tokens of chat templates are rejected always.

    >>> from selfinstruct.languages import get_language
    >>> task = Task("Name a long river.", "", "The Nile.\\nInstruction: Name a hill.\\nOutput: K2")
    >>> merged_task(task, get_language("en")).evidence
    "'The Nile.\\\\nInstruction: Name a hill.\\\\nOutput: K2'"
    """
    answer = ends(task.output, _WINDOW)
    marked = "<" in answer or "[" in answer or "##" in answer
    match = _TOKENS.search(answer) if marked else None
    if match is None and "\n" in answer and (":" in answer or "：" in answer):
        match = _labelled(language.marks).search(answer) or _TURNS.search(answer)
        # What an answer begins with is its form; what it goes on with is another task.
        about = language.marks.about_tasks
        if match and (not match.start() or about.search(task.instruction, 0, READ)):
            match = None
    if match is None:
        return None
    return Verdict("merged_task", around(answer, match.start(), match.end()))
