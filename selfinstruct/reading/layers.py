"""What is wrapped around a file's text: gzip, zstd, UTF-16 and UTF-32, in any order and depth.

Enters: a path and the names of its layers, the outermost first. Leaves: chunks of bytes, as many as
can be had. A wrapping that is cut off or damaged ends the chunks early, and `damage` says so.
"""

from __future__ import annotations

import codecs
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from selfinstruct.errors import UsageError

CHUNK = 1 << 17
# So much may come out of one step, however well it was compressed.
_STEP = 1 << 20
_SKIPPABLE = b"\x2a\x4d\x18"
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def layer_of(head: bytes) -> str:
    """The layer that a file with this beginning is wrapped in, "" for none."""
    for mark, layer in _MARKS.items():
        if head.startswith(mark):
            return layer
    # pzstd puts a frame before the data that decoders skip.
    return "zstd" if head[1:4] == _SKIPPABLE and 0x50 <= head[0] <= 0x5F else ""


class _Damaged(Exception):
    """A layer ends too early or does not check out."""


class Stream:
    """The bytes inside all layers, once. damage: why they end too early, "" while they do not."""

    def __init__(self, path: Path, layers: tuple[str, ...] = ()) -> None:
        self._path = path
        self._layers = layers
        self.damage = ""

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb", buffering=0) as file:
                chunks: Iterator[bytes] = iter(lambda: file.read(CHUNK), b"")
                for layer in self._layers:
                    chunks = _UNWRAP[layer](chunks)
                yield from chunks
        except _Damaged as damage:
            self.damage = str(damage)
        except OSError as error:
            raise UsageError(f"cannot read {self._path}: {error.strerror}") from None


class _Decompressor(Protocol):
    """The part of zstd's decompressor that is used here."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gunzip:
    """zlib's decompressor with the manners of zstd's."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        content = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = len(content) < max_length
        return content


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    return _unpack(chunks, "gzip", _Gunzip, zlib.error)


def _zstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    def decompressor() -> _Decompressor:
        # The largest window, as `zstd --long=31` writes it; memory goes to the files that need it.
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 31})

    return _unpack(chunks, "zstd", decompressor, zstd.ZstdError)


def _unpack(
    chunks: Iterable[bytes],
    name: str,
    decompressor: Callable[[], _Decompressor],
    failure: type[Exception],
) -> Iterator[bytes]:
    """The content of all members (gzip) or frames (zstd), one after another. Raises _Damaged."""
    members, inner, fresh = 0, decompressor(), True
    for chunk in chunks:
        data = chunk
        while True:
            if fresh and members:
                # Tapes and some tools pad with zeros.
                data = data.lstrip(b"\0")
            if fresh and not data:
                break
            try:
                content = inner.decompress(data, _STEP)
            except failure:
                if fresh and members and layer_of(data) != name:
                    raise _Damaged(f"something else follows the {name} data") from None
                raise _Damaged(f"the {name} data is damaged from here on") from None
            fresh = False
            if content:
                yield content
            if inner.eof:
                data = inner.unused_data
                members, inner, fresh = members + 1, decompressor(), True
            elif inner.needs_input:
                break
            else:
                data = b""
    if not fresh or not members:
        raise _Damaged(f"the {name} data is cut off here")


def _recode(chunks: Iterable[bytes], codec: str) -> Iterator[bytes]:
    """UTF-16 or UTF-32 with its mark → UTF-8. A lone surrogate becomes bytes that are not UTF-8,
    so its row is told apart. Raises _Damaged."""
    decoder = codecs.getincrementaldecoder(codec)("surrogatepass")
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise _Damaged(f"the text stops being {codec.upper()} here") from None


_UNWRAP: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    "gzip": _gzip,
    "zstd": _zstd,
    "utf-16": lambda chunks: _recode(chunks, "utf-16"),
    "utf-32": lambda chunks: _recode(chunks, "utf-32"),
}
