"""What a command was given to read: paths → sources that are there, of a known kind, to be read
any number of times.

The kind is what the content shows; the name counts only where the content shows nothing.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Literal, NamedTuple

from selfinstruct.errors import DiskError, UsageError
from selfinstruct.reading import parquet, tables
from selfinstruct.reading.layers import Stream, layer_of
from selfinstruct.reading.values import decode

Kind = Literal["array", "lines", "table", "parquet"]
STDIN = "-"
_KNOWN = "JSON Lines, a JSON array, CSV, TSV or Parquet, also as .gz or .zst"
_SUFFIXES: dict[str, Kind] = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "lines",
    ".csv": "table",
    ".tsv": "table",
    ".tab": "table",
}
_OTHERS = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"ARROW1": "an Arrow file",
    b"%PDF": "a PDF",
}
_LAYERS = 8
_HEAD = 1 << 16


class Source(NamedTuple):
    """One input.

    name: what places and errors call it. path: the file itself (where standard input was put).
    data: where to read: the same, but for Parquet that had to be unpacked. layers: what is wrapped
    around the text, the outermost first. newline, delimiter: of the text.
    """

    name: str
    path: Path
    data: Path
    kind: Kind
    layers: tuple[str, ...]
    newline: bytes = b"\n"
    delimiter: str = ","


@contextlib.contextmanager
def open_sources(paths: Sequence[str], spool: Path | None = None) -> Iterator[tuple[Source, ...]]:
    """The inputs in their order, each seen to be there and of a known kind.

    "-" is standard input. It and pipes are written to the folder `spool` (a temporary one for None,
    gone after the `with`) as `stdin`, `pipe-1`, …, so that they can be read again. Raises
    UsageError, DiskError.
    """
    if paths.count(STDIN) > 1:
        raise UsageError("'-' (standard input) is given twice; it can be read once")
    with tempfile.TemporaryDirectory(prefix="selfinstruct-") as scratch:
        folder = Path(scratch) if spool is None else spool
        sources = []
        for number, path in enumerate(paths):
            name, file = ("stdin", folder / "stdin") if path == STDIN else (path, Path(path))
            if path == STDIN:
                _write(file, iter(lambda: sys.stdin.buffer.read(_HEAD), b""))
            elif _is_pipe(file):
                pipe, file = file, folder / f"pipe-{number}{file.suffix}"
                _write(file, Stream(pipe))
            source = _recognise(name, file)
            if source.kind == "parquet":
                source = _flat(source, Path(scratch) / f"{number}.parquet")
            _check_columns(source)
            sources.append(source)
        yield tuple(sources)


def identity(sources: Iterable[Source]) -> list[dict[str, Any]]:
    """Path, bytes and SHA-256 of each source, to see later whether it has changed."""
    found = []
    for source in sources:
        try:
            with source.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                found.append({"path": source.name, "bytes": file.tell(), "sha256": digest})
        except OSError as error:
            raise _unreadable(source.name, error) from None
    return found


def _is_pipe(path: Path) -> bool:
    """Whether a path can be read once only. Raises UsageError when there is nothing to read."""
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name the files in it")
        path.stat()
    except OSError as error:
        raise _unreadable(str(path), error) from None
    except ValueError:
        raise UsageError(f"{str(path)!r} is not a path") from None
    return not path.is_file()


def _unreadable(name: str, error: OSError) -> UsageError:
    return UsageError(f"cannot read {name}: {error.strerror}")


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    """A copy of an input, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise DiskError(
            f"cannot write {path}: {error.strerror}", hint="free some space, then try again"
        ) from error


def _recognise(name: str, path: Path) -> Source:
    """A file's kind. Raises UsageError when it is none of ours or holds nothing."""
    layers: tuple[str, ...] = ()
    while layer := layer_of(head := _head(name, path, layers)):
        if len(layers) == _LAYERS:
            raise UsageError(f"{name} is packed more than {_LAYERS} times over")
        layers += (layer,)
    for mark, what in _OTHERS.items():
        if head.startswith(mark):
            raise UsageError(f"{name} is {what}", hint=f"unpack or convert it to {_KNOWN}")
    newline = b"\r" if b"\r" in head[:-1] and b"\n" not in head else b"\n"
    suffix = _suffix(name)
    first_line = head.partition(newline)[0]
    delimiter = "\t" if suffix in (".tsv", ".tab") else _delimiter(first_line)
    kind = _kind(head, suffix, first_line)
    if kind is None:
        raise UsageError(f"{name}: neither its content nor its name is that of {_KNOWN}")
    return Source(name, path, path, kind, layers, newline, delimiter)


def _head(name: str, path: Path, layers: tuple[str, ...]) -> bytes:
    """The beginning of what is inside the layers, without blanks and UTF-8's mark before it."""
    stream, head, size = Stream(path, layers), b"", 0
    for chunk in stream:
        size += len(chunk)
        head = (head + chunk).removeprefix(codecs.BOM_UTF8).lstrip()
        if len(head) >= _HEAD:
            return head
    if not head:
        content = "has only blank lines" if size else "is empty"
        raise UsageError(f"{name}: {stream.damage}" if stream.damage else f"{name} {content}")
    return head


def _suffix(name: str) -> str:
    path = Path(name)
    while path.suffix in (".gz", ".gzip", ".zst", ".zstd"):
        path = path.with_suffix("")
    return path.suffix.lower()


def _kind(head: bytes, suffix: str, first_line: bytes) -> Kind | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"["):
        return "array"
    if head.startswith(b"{"):
        return "array" if len(first_line) < len(head) and _goes_on(first_line) else "lines"
    if not suffix and any(mark in first_line for mark in b",;\t"):
        return "table"
    return _SUFFIXES.get(suffix)


def _goes_on(first_line: bytes) -> bool:
    """Whether a line of JSON ends where it cannot: it is an object over several lines."""
    try:
        decode(first_line.decode(), 0)
    except JSONDecodeError as error:
        unclosed = error.msg.startswith("Unterminated string")
        return error.pos >= len(error.doc.rstrip()) and not unclosed
    except (ValueError, RecursionError):
        pass
    return False


def _delimiter(header: bytes) -> str:
    return max(",;\t", key=lambda mark: header.count(mark.encode()))


def _flat(source: Source, place: Path) -> Source:
    """Parquet that is wrapped in something, unpacked: its parts are not read in order."""
    stream = Stream(source.path, source.layers)
    _write(place, stream)
    if stream.damage:
        raise UsageError(f"{source.name}: {stream.damage}", hint="Parquet must be whole")
    return source._replace(data=place, layers=())


def _check_columns(source: Source) -> None:
    """Raises UsageError when a source's columns cannot be told."""
    if source.kind == "parquet":
        parquet.columns(source.data, source.name)
    elif source.kind == "table":
        stream = Stream(source.data, source.layers)
        next(tables.rows(stream, source.name, source.newline, source.delimiter, count()), None)
