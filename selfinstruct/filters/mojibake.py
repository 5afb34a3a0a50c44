"""UTF-8 that was read as Windows-1252 or Latin-1 ("Ã©", "â€™"), or GBK read as something else."""

from __future__ import annotations

import re

from selfinstruct.languages import Language
from selfinstruct.records import Task, Verdict

# What UTF-8's bytes 80–BF look like in Windows-1252, where it has a character, else in Latin-1.
_TRAIL = "\x80-\xbf" + "".join(
    bytes([byte]).decode("cp1252")
    for byte in range(0x80, 0xA0)
    if byte not in b"\x81\x8d\x8f\x90\x9d"
)
# Lead bytes of two (C2–C5: Latin; D0, D1: Cyrillic, which must come twice), three and four bytes.
_RUN = re.compile(
    f"[ÂÃÄÅ][{_TRAIL}]|(?:[ÐÑ][{_TRAIL}]){{2}}|[âãäåæçèéï][{_TRAIL}]{{2}}|ð[{_TRAIL}]{{3}}"
)
# UTF-8 read as GBK: U+FFFD twice; Visual C's unset memory, which is not UTF-8 at all.
_GBK = re.compile("锟斤拷|烫烫烫|屯屯屯")
_FIRST = re.compile("[ÂÃÄÅÐÑâãäåæçèéïð锟烫屯]")


def _bytes(run: str) -> bytes:
    return b"".join(
        bytes([ord(char)]) if ord(char) < 0x100 else char.encode("cp1252") for char in run
    )


def _repaired(run: str) -> str:
    """What the run is as UTF-8, "" when it is not."""
    try:
        return _bytes(run).decode("utf-8")
    except UnicodeDecodeError:
        return ""


def mojibake(task: Task, _language: Language) -> Verdict | None:
    """Rejects a field with a run of characters that is valid UTF-8 when put back into bytes.

    >>> from selfinstruct.languages import get_language
    >>> mojibake(Task("Name a drink.", "", "A cafÃ© au lait."), get_language("en")).evidence
    "output has 'Ã©' for 'é'"
    """
    for name in ("instruction", "input", "output"):
        text: str = getattr(task, name)
        if text.isascii() or not _FIRST.search(text):
            continue
        if match := _GBK.search(text):
            return Verdict("mojibake", f"{name} has {match.group()!r}")
        for match in _RUN.finditer(text):
            if char := _repaired(match.group()):
                return Verdict("mojibake", f"{name} has {match.group()!r} for {char!r}")
    return None
