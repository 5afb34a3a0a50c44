"""A window on JSON text of any length: what is at hand grows at the end and is dropped in front."""

from __future__ import annotations

import codecs
import re
from json import JSONDecodeError
from typing import Any

from selfinstruct.reading.layers import Stream
from selfinstruct.reading.values import MAX_RECORD, TOO_LONG, TooLong, decode_nulls

# This near to the end of what is at hand, a decoder's error may be a value that goes on.
_NEAR = 16
_GAP = re.compile(r"[ \t\r\n,]*")


class Window:
    """The text from `at` on, as far as it has been read.

    line: of `at`, from 1. at_end: there is no more text. Bytes that are not UTF-8 are surrogates
    from U+DC80 on; lossy: there have been some. Indices into `text` hold until the next `more`.
    """

    def __init__(self, stream: Stream, newline: bytes) -> None:
        self._chunks = iter(stream)
        self._newline = newline.decode()
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text = ""
        self.at = 0
        self.line = 1
        self.at_end = False
        self.lossy = False
        self.more()
        self.text = self.text.removeprefix("\ufeff")

    def more(self) -> bool:
        """Drop what is before `at` and read as much again as is left; False at the end.

        As much again: a value that takes many steps is decoded about twice, not once a step.
        """
        if self.at_end:
            return False
        parts = [self.text[self.at :]]
        wanted = len(parts[0]) + 1
        while wanted > 0 and not self.at_end:
            chunk = next(self._chunks, b"")
            self.at_end = not chunk
            parts.append(self._decoder.decode(chunk, final=self.at_end))
            wanted -= len(parts[-1])
            self.lossy = self.lossy or undecoded(parts[-1])
        self.text, self.at = "".join(parts), 0
        return True

    def move(self, to: int) -> None:
        """Go forward to an index, counting lines."""
        self.line += self.text.count(self._newline, self.at, to)
        self.at = to

    def next_character(self) -> str:
        """The first character that is neither blank nor a comma, "" at the end; moves there."""
        while True:
            gap = _GAP.match(self.text, self.at)
            self.move(gap.end() if gap else self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self) -> tuple[Any, int]:
        """The JSON value at `at` and the index of its end.

        Raises TooLong, and what a decoder raises: ValueError, RecursionError.
        """
        while True:
            try:
                value, end = decode_nulls(self.text, self.at)
            except JSONDecodeError as error:
                if self.at_end or not self.goes_on(error):
                    raise
            else:
                # A number may go on, and what follows must be seen.
                if end + _NEAR < len(self.text) or self.at_end:
                    return value, end
            if len(self.text) - self.at > MAX_RECORD:
                raise TooLong(TOO_LONG)
            self.more()

    def goes_on(self, error: JSONDecodeError) -> bool:
        """Whether more text could mend what a decoder complained of."""
        unclosed = error.msg.startswith("Unterminated string")
        return unclosed or error.pos >= len(self.text) - _NEAR


def undecoded(text: str) -> bool:
    """Whether a text has bytes that are not UTF-8, as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
