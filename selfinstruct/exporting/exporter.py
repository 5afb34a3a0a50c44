"""What one `--format` is: a layout, a kind of file, where the files go and what lies beside them.

Enters: nothing. Leaves: the frozen `Exporter`. A new one is a line in EXPORTERS (`__init__.py`),
with a file of its own where a trainer wants more than rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from selfinstruct.exporting.choice import TRAIN, Choice
from selfinstruct.exporting.sinks import JsonLines, Sink
from selfinstruct.formats import Format

if TYPE_CHECKING:
    from selfinstruct.manifest import Manifest

MARK = "made by selfinstruct export"


@dataclass(frozen=True, slots=True)
class Written:
    """What an export holds, for the files beside the rows.

    parts: (language, split) → (file name inside the folder, rows); only those that have rows.
    conversations: some row has earlier turns or a system message. left_out: rows without a place.
    """

    manifest: Manifest | None
    choice: Choice
    parts: Mapping[tuple[str, str], tuple[str, int]]
    conversations: bool
    license: str = ""
    left_out: int = 0

    @property
    def langs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(lang for lang, _split in self.parts))


def _no_check(_split: str, _rows: int, _size: int) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Exporter:
    """A `--format`.

    layout: whether some row is a conversation → the layout of all rows. suffix: of its files.
    check: (split, rows, bytes) → what is wrong with a file, "" for nothing. A folder has
    `companion` besides, a file made by `describe` that holds `mark`, by which a folder of ours is
    known; `file` names its data files, and `pattern` matches all that it may hold. A `{stamp}` in
    it changes with what is exported.
    """

    name: str
    layout: Callable[[bool], Format]
    suffix: str = ".jsonl"
    sink: type[Sink] = JsonLines
    check: Callable[[str, int, int], str] = _no_check
    file: str = ""
    pattern: str = ""
    companion: str = ""
    describe: Callable[[Written], bytes] = field(default=lambda _written: b"")
    mark: str = MARK

    @property
    def is_folder(self) -> bool:
        return bool(self.companion)

    def file_name(self, lang: str, split: str, choice: Choice, stamp: str = "") -> str:
        """Where a language's rows of a split go, seen from the folder."""
        if self.file:
            return self.file.format(lang=lang, split=split, ending=_ending(split), stamp=stamp)
        middle = f".{split}" if choice.validation else ""
        return f"{self.name}.{lang}{middle}{self.suffix}"


def _ending(split: str) -> str:
    return "" if split == TRAIN else f"_{split}"


def always(layout: Format) -> Callable[[bool], Format]:
    """The same layout for all rows."""
    return lambda _conversations: layout


def plain(layout: Format) -> Exporter:
    """A layout as JSON Lines.

    >>> from selfinstruct.formats import get_format
    >>> exporter = plain(get_format("alpaca"))
    >>> exporter.file_name("zh", "train", Choice())
    'alpaca.zh.jsonl'
    >>> exporter.file_name("zh", "validation", Choice(validation=0.01))
    'alpaca.zh.validation.jsonl'
    """
    return Exporter(layout.name, always(layout))
