"""Reading rows: every kind and wrapping gives the same rows, and what is broken is said and passed
over, never dropped."""

from __future__ import annotations

import contextlib
import csv
import doctest
import gzip
import hashlib
import io
import json
import os
import re
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.errors import UsageError
from selfinstruct.reading import Row, identity, lines, open_sources, read_rows, resync
from selfinstruct.reading import parquet as parquets

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RIVER = {"instruction": "Name a river.", "input": "", "output": "The Nile."}
MOON = {"instruction": "月亮有多远？", "input": "用公里", "output": "384400\u2028公里"}
SUM = {"instruction": "Add.", "input": "1 + 1", "output": 'It is "2",\n{really}.\\'}
ROWS: list[dict[str, Any]] = [RIVER, MOON, SUM]


def read(*paths: Path | str, skip: int = 0) -> list[Row]:
    with open_sources([str(path) for path in paths]) as sources:
        return list(read_rows(sources, skip=skip))


def fields(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows that could be read."""
    return [row.fields for row in rows if row.fields is not None]


def broken(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Line (or row) and problem of those that could not."""
    assert all((row.fields is None) == bool(row.problem) == (not row.line) for row in rows)
    return [(re.split(":(?: row )?", row.place)[-1], row.problem) for row in rows if row.problem]


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writes bytes or text to a new file and says where."""

    def write(content: bytes | str, name: str = "a.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


Put = Callable[..., Path]


# ── every kind and wrapping ──────────────────────────────────────────────────────────────────


def json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def json_lines_crlf(rows: Sequence[dict[str, Any]]) -> bytes:
    return json_lines(rows).replace(b"\n", b"\r\n\r\n")


def json_lines_cr(rows: Sequence[dict[str, Any]]) -> bytes:
    return json_lines(rows).replace(b"\n", b"\r")


def json_array(rows: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps(rows).encode()


def printed_array(rows: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=4).encode()


def printed_objects(rows: Sequence[dict[str, Any]]) -> bytes:
    """As `jq .` prints JSON Lines."""
    return "\n".join(json.dumps(row, ensure_ascii=False, indent=2) for row in rows).encode()


def table(rows: Sequence[dict[str, Any]], **how: Any) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), **how)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def tabbed(rows: Sequence[dict[str, Any]]) -> bytes:
    return table(rows, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_ALL)


def parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    pl.DataFrame(rows).write_parquet(content)
    return content.getvalue()


KINDS: dict[Callable[[Sequence[dict[str, Any]]], bytes], str] = {
    json_lines: "a.jsonl",
    json_lines_crlf: "a.json",
    json_lines_cr: "a.dat",
    json_array: "a.json",
    printed_array: "a.jsonl",
    printed_objects: "a.json",
    table: "a.csv",
    tabbed: "a.tsv",
    parquet: "a.parquet",
}
WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "gzip in gzip": lambda content: gzip.compress(gzip.compress(content, mtime=0)),
    "zstd in gzip, padded": lambda content: gzip.compress(zstd.compress(content)) + bytes(700),
    "members": lambda content: (
        gzip.compress(content[:9], mtime=0) + gzip.compress(content[9:], mtime=0)
    ),
    "frames": lambda content: zstd.compress(content[:9]) + zstd.compress(content[9:]),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_in_every_wrapping(
    put: Put, kind: Callable[[Sequence[dict[str, Any]]], bytes], wrapping: str
) -> None:
    rows = read(put(WRAPPINGS[wrapping](kind(ROWS)), KINDS[kind]))
    assert fields(rows) == ROWS
    assert broken(rows) == []
    assert [json.loads(row.line) for row in rows] == ROWS
    assert [list(json.loads(row.line)) for row in rows] == [list(row) for row in ROWS]
    assert [row.number for row in rows] == [0, 1, 2]
    assert not any(b"\n" in row.line or b"\r" in row.line for row in rows)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", [json_lines, json_array, table], ids=lambda kind: kind.__name__)
def test_marked_encodings(
    put: Put, kind: Callable[[Sequence[dict[str, Any]]], bytes], encoding: str
) -> None:
    content = kind(ROWS).decode().encode(encoding)
    assert fields(read(put(content, KINDS[kind]))) == ROWS
    assert fields(read(put(gzip.compress(content, mtime=0), KINDS[kind]))) == ROWS


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=6,
)
WRAP = st.sampled_from(sorted(WRAPPINGS))


def round_trip(name: str, content: bytes, wrapping: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(WRAPPINGS[wrapping](content))
        return read(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), min_size=1, max_size=5), WRAP)
def test_any_json_rows(rows: list[dict[str, Any]], wrapping: str) -> None:
    escaped = [json.dumps(row) for row in rows]
    for kind, content in {
        "lines": "\n".join(escaped).encode(),
        "array": json.dumps(rows).encode(),
        "printed": json.dumps(rows, indent=1).encode(),
    }.items():
        found = round_trip("a", content, wrapping)
        assert [row.fields for row in found] == rows
        assert [json.loads(row.line) for row in found] == rows
        if kind == "lines":
            assert [row.line.decode() for row in found] == escaped


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), WRAP)
def test_any_text_rows_in_tables(cells: list[tuple[str, str]], wrapping: str) -> None:
    rows = [{"instruction": first, "output": second} for first, second in cells]
    for content, name in (
        (parquet(rows), "a"),
        (table(rows), "a.csv"),
        (tabbed(rows), "a.tsv"),
    ):
        assert [row.fields for row in round_trip(name, content, wrapping)] == rows


# ── nothing is lost ──────────────────────────────────────────────────────────────────────────


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["a.jsonl", "a.csv", "a.parquet", "a", "a.gz"]))
def test_any_bytes_raise_nothing_but_usage_errors_at_open(content: bytes, name: str) -> None:
    for whole in (content, b"[" + content, b"{" + content, b"PAR1" + content):
        for wrapping in ("plain", "gzip", "zstd"):
            with contextlib.suppress(UsageError):
                rows = round_trip(name, whole, wrapping)
                assert [row.number for row in rows] == list(range(len(rows)))
                broken(rows)


GARBAGE = st.binary(max_size=12) | st.sampled_from(
    [
        b'{"a": "cut',
        b'rest"}',
        b'{"a": 1}, {"b": 2}',
        b'{"a": "\xc4\xe3"}',
        b'"',
        b"[1]",
        b"{}{",
        b"\r",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(GARBAGE.map(lambda line: line.replace(b"\n", b"")) | st.integers(0, 9)))
def test_every_line_is_accounted_for(lines: list[bytes | int]) -> None:
    """Good lines (the integers) among any others."""
    content = b"".join(
        b'{"n": %d}\n' % line if isinstance(line, int) else line + b"\n" for line in lines
    )
    rows = round_trip("a.jsonl", b'{"n": 0}\n' + content, "plain")
    good = [row.fields["n"] for row in rows if row.fields and "n" in row.fields]
    assert good == [0, *(line for line in lines if isinstance(line, int))]
    accounted: set[int] = set()
    for row in rows:
        first = int(row.place.rpartition(":")[2])
        spans = re.search(r"ends in line (\d+)", row.problem)
        accounted |= set(range(first, int(spans[1]) + 1 if spans else first + 1))
    filled = {number for number, line in enumerate(content.split(b"\n"), start=2) if line.strip()}
    assert filled | {1} <= accounted


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_good_elements_around_a_broken_one(data: st.DataObject) -> None:
    """One byte of one element damaged: the others are all read, or said to be passed over."""
    turns = [{"from": "human", "value": "a, {b}"}, {"from": "gpt", "value": 'say "[x]"'}]
    rows = [{"id": str(number), "conversations": turns} for number in range(5)]
    texts = [json.dumps(row, indent=data.draw(st.sampled_from([None, 2]))) for row in rows]
    at = data.draw(st.integers(0, len(texts[2]) - 1))
    texts[2] = texts[2][:at] + data.draw(st.sampled_from('"}]{[,:x\n\\')) + texts[2][at + 1 :]
    found = round_trip("a.json", f"[{','.join(texts)}]".encode(), "plain")
    kept = [row.get("id") for row in fields(found) if row.get("conversations") == turns]
    assert kept[:2] == ["0", "1"]
    said = "; ".join(problem for _line, problem in broken(found))
    assert {"3", "4"} <= set(kept) or re.search("passed over up to|told for sure|file ends", said)
    assert not any("from" in row for row in fields(found)), "a part of a broken row is no row"


# ── JSON Lines ───────────────────────────────────────────────────────────────────────────────

GOOD = '{"n": 1}\n'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (rb'{"a": "\x41"}', "a bad escape, column 8"),
        (rb'{"a": "\u12"}', "a bad escape, column 9"),
        (b'{"a": "\t"}', "a raw control character (U+0009) inside a string, column 8"),
        (b'{"a": "\x00"}', "a raw control character (U+0000) inside a string, column 8"),
        (b'{"a": "cut', "a string without its closing quote, column 7"),
        (b'{"a": 1', "not JSON: expecting ',' delimiter, column 8"),
        (b'{"a": 1}, {"a": 2}', "something follows the JSON value, column 9"),
        (b"[1, 2]", "an array, not an object"),
        (b'"text"', "a string, not an object"),
        (b"17", "a number, not an object"),
        (b"null", "null, not an object"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' occurs twice"),
        ('{"a": "你好"}'.encode("gbk"), "invalid UTF-8: 0xc4 at byte 8 of the line"),
        (b'{"a": "\xed\xa0\x80"}', "invalid UTF-8: 0xed at byte 8 of the line"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number with too many digits"),
        (b'{"a": ' + b"[" * 257 + b"]" * 257 + b"}", "nested more than 256 deep"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested more than 256 deep"),
        (b'{"a":' * 100_000, "nested more than 256 deep"),
        (b"<html>", "not JSON: expecting value, column 1"),
    ],
)
def test_a_malformed_line(put: Put, line: bytes, problem: str) -> None:
    rows = read(put(GOOD.encode() + line + b"\n" + GOOD.encode()))
    assert broken(rows) == [("2", problem)]
    assert fields(rows) == [{"n": 1}, {"n": 1}]
    assert len(rows[1].evidence) <= 200
    assert rows[1].evidence == line.decode("utf-8", "backslashreplace")[:200]
    assert rows[2].place.endswith("a.jsonl:3")


@pytest.mark.parametrize(
    "line",
    [
        rb'{"a": "\ud800 alone"}',
        '{"a": "\u2028\u2029\u0085\x7f\ufeff"}'.encode(),
        b'{"a": 123456789012345678901234567890, "b": 1.10, "c": -0.0}',
        b' {"b": 1,\t"a" : 2 } ',
        b"{}",
        b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"a": "' + b"[{" * 300 + b'"}',
        b'{"a": "' + b"x" * 10_000_000 + b'"}',
    ],
    ids=range(8),
)
def test_a_line_keeps_its_bytes(put: Put, line: bytes) -> None:
    for end in (b"\n", b"\r\n", b""):
        (row,) = read(put(line + end))
        assert row.line == line
        assert row.fields == json.loads(line)


def test_values_that_json_has_not_are_null(put: Put) -> None:
    rows = read(put('{"a": NaN, "b": [Infinity, {"c": -Infinity}], "d": "NaN"}\n'))
    assert fields(rows) == [{"a": None, "b": [None, {"c": None}], "d": "NaN"}]
    assert rows[0].line == b'{"a": null, "b": [null, {"c": null}], "d": "NaN"}'
    assert read(put('[{"a": NaN, "b": 1e999}]'))[0].line == b'{"a": null, "b": null}'


def test_a_record_over_several_lines_is_one(put: Put) -> None:
    text = '{"n": 0}\n{"a": "one\n\ntwo, {}\nthree", "b": "x\ny"}\n{"n": 1}\n'
    for content in (text, text.replace("\n", "\r\n")):
        rows = read(put(content))
        assert broken(rows) == [("2", "a raw newline inside a string; the record ends in line 6")]
        assert fields(rows) == [{"n": 0}, {"n": 1}]
        assert rows[1].evidence.startswith('{"a": "one\n\ntwo')
        assert rows[2].place.endswith(":7")


@pytest.mark.parametrize(
    ("tail", "lines"),
    [
        ('{"n": 5}\n', "2"),
        ('\n{}\n"}\n', "25"),
        ("{\n" * 300, "".join(str(number) for number in range(2, 303))),
        ("", "2"),
    ],
)
def test_lines_are_told_each_where_no_record_is_certain(put: Put, tail: str, lines: str) -> None:
    rows = read(put('{"n": 0}\n{"a": "one\n' + tail))
    assert "".join(line for line, _problem in broken(rows)) == lines


def test_blank_lines_and_marks_count_as_lines(put: Put) -> None:
    rows = read(put('\n \r\n\ufeff{"n": 1}\n\t\n\ufeff{"n": 2}'))
    assert [row.place.rpartition(":")[2] for row in rows] == ["3", "5"]
    assert [row.line for row in rows] == [b'{"n": 1}', b'{"n": 2}']


def test_stray_carriage_returns_end_lines_too(put: Put) -> None:
    rows = read(put('{"n": 1}\r{"n": 2}\r\n{"n":\r3}\n{"n": 4}\r{"n"\n'))
    assert fields(rows) == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]
    assert broken(rows) == [("3", "not JSON: expecting ':' delimiter, column 5")]
    assert rows[1].line == b'{"n": 2}'


def test_a_line_without_end(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD", 1 << 20)
    rows = read(put(b'{"n": 1}\n{"a": "' + b"x" * (3 << 20) + b'"}\n{"n": 2}\n'))
    assert fields(rows) == [{"n": 1}, {"n": 2}]
    assert [line for line, _problem in broken(rows)] == ["2"]


# ── arrays ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("layout", ["[\n{}\n,\n{}\n,\n{}\n]", "[{},\n\n\n{},\n{}]"])
@pytest.mark.parametrize(
    ("element", "problem"),
    [
        (r'{"id": 2, "a": "\x41"}', "a bad escape, character"),
        ('{"id": 2, "a": "x\ny"}', "a raw newline inside a string, character"),
        ('{"id": 2, "a": nought, "b": ["]", {"id": 3}]}', "not JSON: expecting value, character"),
        ('{"id": 2, "a": "say "hi" now"}', "not JSON: expecting ',' delimiter, character"),
        ("{id: 2}", "not JSON: expecting property name"),
        ('{"id": 2, "id": 3}', "the key 'id' occurs twice"),
        ('{"id": 2, "a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested more than 256 deep"),
        ("[[1], 2]", "an array, not an object"),
        ("17", "a number, not an object"),
        ("nought", "not JSON: expecting value"),
    ],
)
def test_a_broken_element(put: Put, layout: str, element: str, problem: str) -> None:
    good = [{"id": 1, "a": "]"}, {"id": 4}]
    content = layout.replace("{}", "%s") % (json.dumps(good[0]), element, json.dumps(good[1]))
    rows = read(put(content, "a.json"))
    assert fields(rows) == good
    ((line, said),) = broken(rows)
    assert (line, said[: len(problem)]) == ("4", problem)
    assert "passed over" not in said
    assert rows[1].evidence == element[:200]
    assert rows[2].place.endswith(str(content.count("\n", 0, content.index('{"id": 4}')) + 1))


@pytest.mark.parametrize(
    "element",
    [
        '{"id": 2, "a": "open, "b": [{"from": "x"}, {"from": "y"}]}',
        '{"id": 2, "a": [{"from": "x"}, {"from": "y"}]',
        '{"id": 2, "a": {"from": "x"}, {"from": "y"}]}',
        '{"id": 2, a": [{"from": "x"}, {"from": "y"}]}',
    ],
)
def test_an_element_whose_brackets_do_not_add_up(put: Put, element: str) -> None:
    others = [{"id": number} for number in (1, 3, 4)]
    for first in (json.dumps(others[0]) + ",", ""):
        rows = read(put(f"[{first}{element},{json.dumps(others[1])}, {json.dumps(others[2])}]"))
        assert fields(rows) == others[0 if first else 1 :]
        ((_line, problem),) = broken(rows)
        assert problem.endswith("; what follows it was passed over up to line 1")


def test_where_nothing_can_be_told_for_sure_that_is_said(put: Put) -> None:
    rows = read(put('[{"id": 1}, {"id": 2, "a": [}, 5, {"from": "x"}, {"from": "y"}]', "a.json"))
    assert fields(rows) == [{"id": 1}]
    ((_line, problem),) = [found for found in broken(rows) if "told" in found[1]]
    assert problem.endswith("after it no row could be told for sure up to the end of the file")


@pytest.mark.parametrize(
    ("tail", "problem"),
    [
        ("", "the file ends before the array does"),
        (",", "the file ends before the array does"),
        (', {"id": 3, "a": [{"id": 4}, {"id"', "the file ends inside this element"),
        (', {"id": 3, "a": "cut', "the file ends inside this element"),
        (', {"id": 3, "a": tr', "the file ends inside this element"),
        (', {"id": 3,\n', "the file ends inside this element"),
        (', {"id": 3, "a": "\\u00', "the file ends inside this element"),
    ],
)
def test_an_array_that_is_cut_off(put: Put, tail: str, problem: str) -> None:
    rows = read(put('[{"id": 1}, {"id": 2}' + tail, "a.json"))
    assert fields(rows) == [{"id": 1}, {"id": 2}]
    assert broken(rows) == [("1", problem)]


def test_arrays_one_after_another_and_text_between_them(put: Put) -> None:
    text = 'so far; [x]\nand on\n  [{"id": 3} {"id": 4},,]]'
    rows = read(put(f'[{{"id": 1}}]\n[{{"id": 2}},]\n{text}'))
    assert fields(rows) == [{"id": number} for number in (1, 2, 3, 4)]
    passed = "text that belongs to no array; what follows it was passed over up to line 5"
    assert broken(rows) == [("3", passed)]
    assert [row.evidence for row in rows if row.problem] == [text]


def test_bytes_in_an_array_that_are_not_utf8(put: Put) -> None:
    rows = read(put(b'[{"a": 1}, {"a": "' + "你".encode("gbk") + b'"}, {"a": "\xe4\xbd\xa0"}]'))
    assert fields(rows) == [{"a": 1}, {"a": "你"}]
    assert broken(rows) == [("1", "invalid UTF-8: 0xc4 at byte 8 of the element")]
    assert rows[1].evidence == r'{"a": "\xc4\xe3"}'


def test_a_lone_surrogate_in_an_array_stays_an_escape(put: Put) -> None:
    (row,) = read(put(r'[{"a": "\ud800", "b": "é"}]'))
    assert row.fields == {"a": "\ud800", "b": "é"}
    assert row.line == rb'{"a": "\ud800", "b": "\u00e9"}'


def test_an_empty_array_has_no_rows(put: Put) -> None:
    assert read(put(" [ ]\n", "a.json")) == []


def test_elements_longer_than_a_chunk(put: Put) -> None:
    rows = [{"id": size, "a": "é" * size} for size in (1, 100_000, 3, 1_000_000, 5)]
    content = json.dumps(rows, ensure_ascii=False).encode()
    assert fields(read(put(content))) == rows
    damaged = content.replace(b'{"id": 1000000', b'{"id": nought')
    found = read(put(damaged))
    assert fields(found) == [row for row in rows if row["id"] != 1_000_000]
    assert len(broken(found)) == 1


def test_numbers_at_the_end_of_a_chunk(put: Put) -> None:
    for shift in range(12):
        content = b"[" + b" " * (131_060 + shift) + b'1234567890, {"id": 1}]'
        rows = read(put(content))
        assert [row.evidence for row in rows if row.problem] == ["1234567890"]


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("x,y", "2 fields, the header row has 3"),
        ("x,y,z,", "4 fields, the header row has 3"),
        ('x,"two\nlines"', "2 fields, the header row has 3"),
        ('x,"y"z,', "not CSV: ',' expected after '\"'"),
        ('x,"bad"q,"two\nlines, and, more"', "not CSV: ',' expected after '\"'"),
    ],
)
def test_a_malformed_record(put: Put, record: str, problem: str) -> None:
    rows = read(put(f'a,b,c\n1,"2\n2",3\n\n{record}\n4,"5""",\n', "a.csv"))
    assert fields(rows) == [{"a": "1", "b": "2\n2", "c": "3"}, {"a": "4", "b": '5"', "c": ""}]
    assert broken(rows) == [("5", problem)]
    assert rows[1].evidence == record


def test_a_quote_that_is_never_closed(put: Put) -> None:
    short = read(put('a,b\n1,2\n3,"cut\n4,5\n', "a.csv"))
    assert fields(short) == [{"a": "1", "b": "2"}]
    assert broken(short) == [("3", "not CSV: unexpected end of data")]
    assert short[1].evidence == '3,"cut\n4,5'
    long = read(put('a,b\n1,2\n3,"cut\n' + "4,5\n" * 1000, "a.csv"))
    assert fields(long) == [{"a": "1", "b": "2"}] + [{"a": "4", "b": "5"}] * 1000
    assert broken(long) == [("3", "not CSV: unexpected end of data")]


def test_a_record_in_another_encoding(put: Put) -> None:
    rows = read(put(b"a,b\n1,2\n" + "你,3\n".encode("gbk") + b"4,5\n", "a.csv"))
    assert fields(rows) == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert broken(rows) == [("3", "invalid UTF-8: 0xc4 at byte 1 of the line")]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("a;b\n1;2,5\n", "a.csv"),
        ("a\tb\r\n1\t2,5\r\n", "a.csv"),
        ("\ufeffa\tb\n1\t2,5\n", "a.tsv"),
        ('a,b\r1,"2,5"\r', "a.csv"),
        ('"a","b"\n1,"2,5"\n', "letters"),
    ],
)
def test_what_separates_cells(put: Put, content: str, name: str) -> None:
    assert fields(read(put(content, name))) == [{"a": "1", "b": "2,5"}]


def test_cells_of_any_size(put: Put) -> None:
    (row,) = read(put("a,b\n1," + "x" * 10_000_000 + "\n", "a.csv"))
    assert row.fields == {"a": "1", "b": "x" * 10_000_000}
    assert read(put("a,b\n", "a.csv")) == []


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────


def test_types_become_json(put: Put, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "turns": [[{"from": "human", "value": "Hi", "at": date(2026, 1, 2)}], None],
            "time": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None],
            "price": [Decimal("1.50"), None],
            "text": [b"\xe4\xbd\xa0", b"\xff\x00"],
            "score": [float("nan"), 0.5],
            "big": pl.Series([2**64 - 1, 0], dtype=pl.UInt64),
            "kind": pl.Series(["x", "y"], dtype=pl.Categorical),
            "none": pl.Series([None, None], dtype=pl.Null),
        }
    )
    path = tmp_path / "a[1]*.parquet"
    frame.write_parquet(path)
    rows = read(path)
    assert fields(rows) == [
        {
            "turns": [{"from": "human", "value": "Hi", "at": "2026-01-02"}],
            "time": "2026-01-02T03:04:05+00:00",
            "price": "1.50",
            "text": "你",
            "score": None,
            "big": 2**64 - 1,
            "kind": "x",
            "none": None,
        },
        {
            "turns": None,
            "time": None,
            "price": None,
            "text": "/wA=",
            "score": 0.5,
            "big": 0,
            "kind": "y",
            "none": None,
        },
    ]
    assert [json.loads(row.line) for row in rows] == fields(rows)
    assert [row.place for row in rows] == [f"{path}: row 1", f"{path}: row 2"]


def test_batches_of_parquet_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"n": range(20_000)}).write_parquet(path, row_group_size=3000)
    rows = read(path, skip=7)
    assert [row.fields for row in rows] == [{"n": number} for number in range(7, 20_000)]
    assert rows[-1].place == f"{path}: row 20000"
    assert rows[-1].number == 19_999


def test_damaged_parquet(put: Put, tmp_path: Path) -> None:
    content = parquet([{"a": os.urandom(9).hex()} for _ in range(5000)])
    with pytest.raises(UsageError, match=r"a\.parquet: not a Parquet file that can be read"):
        read(put(content[:-9], "a.parquet"))
    damaged = put(content[:4] + bytes(2000) + content[2004:], "b.parquet")
    (row,) = read(damaged)
    assert row.problem.startswith("the Parquet data cannot be read from here on")
    assert row.place == f"{damaged}: row 1"


# ── wrappings that do not hold ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_a_wrapping_that_is_cut_off(put: Put, name: str, pack: Callable[[bytes], bytes]) -> None:
    rows = [{"n": number, "a": os.urandom(600).hex()} for number in range(900)]
    for content in (json_lines(rows), json_array(rows), table(rows)):
        packed = pack(content)
        found = read(put(packed[: len(packed) // 2], "a.csv"))
        good = fields(found)
        assert 300 < len(good) < 600
        assert [str(row["n"]) for row in good] == [str(number) for number in range(len(good))]
        assert [row["a"] for row in good] == [row["a"] for row in rows[: len(good)]]
        assert [problem for _line, problem in broken(found)] == [f"the {name} data is cut off here"]
        assert found[-1].problem


def test_a_last_row_that_is_whole_counts(put: Put) -> None:
    packer = zstd.ZstdCompressor()
    packed = packer.compress(b'{"n": 1}\n{"n": 2}') + packer.flush(packer.FLUSH_BLOCK)
    rows = read(put(packed))
    assert fields(rows) == [{"n": 1}, {"n": 2}]
    assert broken(rows) == [("2", "the zstd data is cut off here")]


def test_a_wrapping_that_is_damaged(put: Put) -> None:
    packed = bytearray(gzip.compress(json_lines(ROWS)))
    rows = read(put(gzip.compress(json_lines(ROWS)) + b"and more"))
    assert fields(rows) == ROWS
    assert broken(rows)[0][1] == "something else follows the gzip data"
    packed[-8] ^= 1
    with pytest.raises(UsageError, match=r"a\.jsonl: the gzip data is damaged from here on"):
        read(put(bytes(packed)))
    with pytest.raises(UsageError, match="is cut off here"):
        read(put(bytes(packed[:5])))
    cut = gzip.compress(parquet(ROWS))[:-20]
    with pytest.raises(UsageError, match="Parquet must be whole"):
        read(put(cut))


def test_half_a_character_of_utf16(put: Put) -> None:
    rows = read(put('{"n": 1}\n{"n": 2}\n'.encode("utf-16")[:-1]))
    assert fields(rows) == [{"n": 1}, {"n": 2}]
    assert broken(rows) == [("2", "the text stops being UTF-16 here")]
    surrogate = '{"n": 1}\n{"a": "\ud800"}\n'.encode("utf-16", "surrogatepass")
    assert broken(read(put(surrogate))) == [("2", "invalid UTF-8: 0xed at byte 8 of the line")]


# ── what is given ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.jsonl", "a.jsonl is empty"),
        (b"\n \r\n\t", "a.jsonl", "a.jsonl has only blank lines"),
        (b"\xef\xbb\xbf", "a.jsonl", "a.jsonl has only blank lines"),
        (b"\xff\xfe", "a.jsonl", "a.jsonl is empty"),
        (gzip.compress(b"", mtime=0), "a.jsonl.gz", "a.jsonl.gz is empty"),
        (b"Once upon a time, there", "a.txt", "neither its content nor its name"),
        (b"Once upon a time", "a", "neither its content nor its name"),
        (b"x", "a.parquet", "neither its content nor its name"),
        (b"PK\x03\x04rest", "a.xlsx", "a.xlsx is a ZIP archive or a spreadsheet"),
        (b"a,b,a\n1,2,3\n", "a.csv", "a.csv:1: the column 'a' occurs twice"),
        ("a,你\n1,2\n".encode("gbk"), "a.csv", "a.csv:1: no header row: invalid UTF-8: 0xc4"),
        (b'a,"b\n1,2\n', "a.csv", "a.csv:1: no header row: not CSV"),
    ],
)
def test_files_that_cannot_be_read(put: Put, content: bytes, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        read(put(content, name))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(UsageError, match=r"cannot read .*nothing: No such file"):
        read(tmp_path / "nothing")
    with pytest.raises(UsageError, match="is not a path"):
        read("a\0b")
    with pytest.raises(UsageError, match="given twice"):
        read("-", "-")


def test_packed_a_hundred_times_over(put: Put) -> None:
    content = b"x"
    for _ in range(20):
        content = gzip.compress(content, mtime=0)
    with pytest.raises(UsageError, match="packed more than 8 times over"):
        read(put(content))


def test_several_inputs_are_numbered_on(put: Put) -> None:
    first, second = put('{"n": 1}\nbroken\n'), put('[{"n": 2}]', "b.json")
    rows = read(first, second, first)
    assert [row.number for row in rows] == [0, 1, 2, 3, 4]
    assert [row.place for row in rows] == [
        f"{first}:1",
        f"{first}:2",
        f"{second}:1",
        f"{first}:1",
        f"{first}:2",
    ]
    assert read(first, second, first, skip=2) == rows[2:]
    assert read(first, skip=9) == []


class _Piped:
    """A standard input that holds bytes."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize(
    "kind", [json_lines, json_array, table, tabbed, parquet], ids=lambda kind: kind.__name__
)
def test_standard_input_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[Sequence[dict[str, Any]]], bytes],
) -> None:
    content = gzip.compress(kind(ROWS))
    monkeypatch.setattr(sys, "stdin", _Piped(content))
    with open_sources(["-"], tmp_path / "spool") as sources:
        first, again = list(read_rows(sources)), list(read_rows(sources))
        assert first == again
        assert fields(first) == ROWS
        assert first[0].place.startswith("stdin:")
        assert identity(sources) == [
            {
                "path": "stdin",
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ]
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["stdin"]
    assert fields(read(tmp_path / "spool" / "stdin")) == ROWS


def test_a_pipe_is_kept(tmp_path: Path) -> None:
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(table(ROWS)))
    writer.start()
    with open_sources([str(pipe)]) as sources:
        writer.join()
        assert fields(list(read_rows(sources))) == ROWS
        assert sources[0].path.exists()
    assert not sources[0].path.exists()


def test_identity_sees_a_change(put: Put) -> None:
    path = put(GOOD)
    with open_sources([str(path)]) as sources:
        before = identity(sources)
        put(GOOD.replace("1", "2"))
        after = identity(sources)
        path.unlink()
        with pytest.raises(UsageError, match="cannot read"):
            identity(sources)
        with pytest.raises(UsageError, match="cannot read"):
            next(read_rows(sources))
    assert [found["bytes"] for found in before + after] == [len(GOOD)] * 2
    assert before != after


@pytest.mark.parametrize("module", [parquets, resync], ids=lambda module: module.__name__)
def test_docstrings(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert (done.failed, done.attempted > 0) == (0, True)


# ── memory ───────────────────────────────────────────────────────────────────────────────────


def many(count: int) -> Iterator[dict[str, str]]:
    return ({"instruction": f"Say {number}.", "output": "word " * 40} for number in range(count))


@pytest.mark.parametrize("kind", [json_lines, json_array, table], ids=lambda kind: kind.__name__)
def test_memory_does_not_grow_with_the_file(
    put: Put, kind: Callable[[Sequence[dict[str, Any]]], bytes]
) -> None:
    count = 40_000
    content = kind(list(many(count)))
    path = put(gzip.compress(content, 1, mtime=0), KINDS[kind])
    with open_sources([str(path)]) as sources:
        tracemalloc.start()
        try:
            assert sum(1 for row in read_rows(sources) if row.fields) == count
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(content) > 8 << 20
    assert peak < 6 << 20
