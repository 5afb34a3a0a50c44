"""English.

Enters: nothing. Leaves: `EN`. Knows no other language's rules.

Length limits, word list and openings are those of Stanford Alpaca (tatsu-lab/stanford_alpaca,
generate_instruction.py); the plural of every blocked noun is written out, as there. Refusals and
placeholders are ours, from the defects seen in the 52,002 published rows.

>>> EN.tokenize("Don't panic: it's 7 a.m.!")
['don', 't', 'panic', 'it', 's', '7', 'a', 'm']
>>> EN.blocked.search("Describe the maps below").group()
'maps'
"""

from __future__ import annotations

import re

from rouge_score import tokenize as rouge_tokenize

from selfinstruct.languages.en_marks import EN_MARKS
from selfinstruct.languages.language import Language
from selfinstruct.records import Task


def tokenize(text: str) -> list[str]:
    """rouge-score's default tokens: lower-case runs of [a-z0-9], no stemmer (Lin 2004)."""
    tokens: list[str] = rouge_tokenize.tokenize(text, None)
    return tokens


def words(text: str) -> int:
    """Number of whitespace-separated words."""
    return len(text.split())


def limits(_task: Task) -> tuple[int, int]:
    """Alpaca rejects ≤ 3 and > 150 words."""
    return 4, 150


EN = Language(
    code="en",
    assets="en",
    dataset="alpaca",
    tasks=17,
    instruction=("Instruction",),
    input=("Input",),
    output=("Output",),
    no_input="<noinput>",
    no_input_pattern=re.compile(
        r"(?:&lt;|[<\[(`\"'\\]){0,4}\s?no[ _-]?input\s?/?(?:&gt;|[>\])`\"'.\\]){0,4}", re.IGNORECASE
    ),
    tokenize=tokenize,
    length=words,
    unit="words",
    limits=limits,
    blocked=re.compile(
        r"\b(?:images?|graphs?|pictures?|files?|maps?|draw|plot|go to|video|audio|music"
        r"|flowchart|diagram)\b",
        re.IGNORECASE,
    ),
    blocked_openings=("write a program",),
    opening=re.compile(r"[A-Za-z0-9]"),
    refusals=re.compile(
        r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)"
        r"(?: (?:language )?model| assistant)?,? i\b"
        r"|\bi(?:['’]m| am) (?:just )?an? (?:ai|(?:large )?language model)\b"
        r"|^(?:(?:(?:i['’]m |i am )?sorry|unfortunately|i apologi[sz]e)[,.]? (?:but )?)?"
        r"i (?:can ?not|can['’]t|am unable to|['’]m unable to|am not able to|['’]m not able to) "
        r"(?:provide|help|assist|complete|answer|fulfill?|generate|create|comply|play|browse"
        r"|(?:open|access|view|see|read) (?:the|this|that|your|external)|travel)\b",
        re.IGNORECASE,
    ),
    placeholders=re.compile(
        # "<no output>", "No output required", "N/A", "[insert]"
        r"[<\[(]?\s*(?:no ?(?:output|input|answer|response)(?: (?:required|needed|provided))?"
        r"|n/?a|tbd|todo)\s*[>\])]?\.?"
        # not an HTML tag: <input type="text">
        r"|(?![^\])>]*=[\"'])(?:"
        # "[Link to article]", "<Image of a corgi>", "(Insert text here)", "[Description provided]"
        r"[<\[(]\s*(?:(?:insert|link|url|attach(?:ed|ment)|image|picture|photo(?:graph)?|input|output"
        r"|(?:text|article|description|paragraph|passage) (?:about|of|to|goes|here))\b[^\])>]*"
        r"|[^\])>]*\b(?:attached|provided|(?:goes )?here))\s*[>\])]\.?)",
        re.IGNORECASE,
    ),
    no_values=re.compile(r"[<\[(`\"']*(?:none|null|nil|empty|blank)?[>\])`\"']*\.?", re.IGNORECASE),
    marks=EN_MARKS,
)
