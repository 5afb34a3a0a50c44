"""The defaults that differ for the embedded model, and why.

Enters: nothing. Leaves: config values. The engine itself is `providers/local.py`.

A 135M model loses the thread of a long list, so it is asked for 3 tasks at a time and shown short
examples: its slots hold 2,048 tokens. The grammar (llama.cpp's GBNF) keeps it to the list's shape,
which a larger model keeps by itself; docs/design/embedded.md has what was measured.
"""

from __future__ import annotations

from typing import Any

from selfinstruct.languages import get_language

# An output may not begin a line with a digit unless the line is short: "4. Input:" loops for ever.
_GRAMMAR = r"""
root ::= " " task ("###\n" num ". INSTRUCTION: " task)*
task ::= instruction "\n" num ". INPUT:\n" ("NOINPUT\n" | text) num ". OUTPUT:\n" text
instruction ::= [A-Z] [^\n#<>]{15,160}
text ::= (line | number) line? line? line? line?
line ::= [^\n#0-9< ] [^\n#<]{0,240} "\n"
number ::= [0-9] [^\n#<.:]{0,40} ("." [0-9] [^\n#<.:]{0,40})? "\n"
num ::= [0-9] [0-9]?
"""


def profile(lang: object) -> dict[str, Any]:
    """Config values for the embedded model; the grammar is for English, which it half speaks.

    lang: as the user gave it, None when not.
    """
    values = {"tasks": 3, "max_tokens": 400, "top_p": 0.9, "example_chars": 500}
    if lang not in (None, "en", ["en"], ("en",)):
        return values
    english = get_language("en")
    grammar = (
        _GRAMMAR.strip()
        .replace("INSTRUCTION", english.instruction[0])
        .replace("NOINPUT", english.no_input)
        .replace("INPUT", english.input[0])
        .replace("OUTPUT", english.output[0])
    )
    return {**values, "extra_body": {"grammar": grammar}}
