"""Inputs that are a link with little beside it: a picture, labelled addresses, a title."""

from __future__ import annotations

import re

from selfinstruct.filters.windows import READ
from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

_LONGEST = 2000
_LINK = re.compile(
    # ![alt](address "title"), [text](address), [alt][1], [1]: address
    r"!?\[[^\]\n]{0,200}\](?:[(（](?:https?://|www\.)[^\s)）]{1,1000}(?:\s+\"[^\"\n]{0,100}\")?[)）]?"
    r"|\[[^\]\n]{1,50}\]|[:：]\s*(?:https?://|www\.)\S{1,1000})"
    r"|<(?:img|image|图片|圖片)\b[^>]{0,1000}>?|https?://\S{1,1000}|www\.[^\s/]{1,200}\.\S{1,800}",
    re.IGNORECASE,
)
# What is left of an address that was broken by a blank.
_PIECE = re.compile(r"(?:^|(?<=\s))(?=\S*[/=%&_]|\S*-\S*-)[!-~]+(?=\s|$)")
_LETTER = re.compile(r"[^\W\d_]")
# Labels such as "Article 1:", "Design:" and "Link to the photo:".
_LABEL = re.compile(r"^[^\W_][\w ()-]{0,40}[:：]", re.MULTILINE)
# "(…)" and quotes around a link that is gone.
_PICTURE = re.compile(r"!\[|<im(?:g|age)\b", re.IGNORECASE)


def linked_input(task: Task, language: Language) -> Verdict | None:
    """Rejects an input in which nothing is left without its links and their labels.

    The text or the picture behind them was never seen. A task about addresses themselves is left
    alone: the instruction says so, unless the link is a picture's.

    >>> from selfinstruct.languages import get_language
    >>> linked_input(Task("Name the shape.", "![x](https://a.example/1)", "…"), get_language("en"))
    Verdict(reason='linked_input', evidence='![x](https://a.example/1)', neighbour=None)
    """
    given = task.input.strip()
    if len(given) > _LONGEST or ("http" not in given and "www." not in given):
        return None
    rest, links = _LINK.subn(" ", given)
    if not links or _LETTER.search(_LABEL.sub(" ", _PIECE.sub(" ", rest).strip())):
        return None
    if language.marks.about_links.search(task.instruction, 0, READ) and not _PICTURE.search(given):
        return None
    return Verdict("linked_input", given[:120])
