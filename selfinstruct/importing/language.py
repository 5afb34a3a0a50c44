"""Which language a row is in, by the share of Chinese characters: a stand-in until there is a
detector. Knows two languages."""

from __future__ import annotations

import re

from selfinstruct.languages.zh_checks import HAN
from selfinstruct.records import Task

_LETTER = re.compile(rf"[^\W\d_]|[{HAN}]")
_HAN = re.compile(rf"[{HAN}]")
# An ideograph says as much as a few letters do.
_SHARE = 0.2


def row_language(task: Task) -> str:
    """
    >>> row_language(Task("翻译成英文。", "早上好！", "Good morning!"))
    'zh'
    >>> row_language(Task("Name a river.", "", "The Nile."))
    'en'
    """
    text = f"{task.instruction}{task.input}{task.output}"
    letters = len(_LETTER.findall(text))
    return "zh" if letters and len(_HAN.findall(text)) / letters >= _SHARE else "en"
