"""The shipped seed tasks are what they claim to be; the loader reads the published layouts."""

from __future__ import annotations

import heapq
import json
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import LCSseq
from rouge_score.rouge_scorer import RougeScorer

from selfinstruct.assets import asset_path
from selfinstruct.errors import UsageError
from selfinstruct.filters import apply_filters
from selfinstruct.languages import get_language
from selfinstruct.recipes.blocks import escape
from selfinstruct.records import Seed, Task
from selfinstruct.seeds import load_seeds

EN = get_language("en")
FILE = asset_path("seeds", "en.jsonl")
CONTENT = FILE.read_bytes()
SEEDS = load_seeds(CONTENT, "seeds/en.jsonl")
ROWS = [json.loads(line) for line in CONTENT.decode().split("\n") if line]


# ── seeds/en.jsonl ───────────────────────────────────────────────────────────────────────────


def test_there_are_enough_and_some_classify() -> None:
    assert len(SEEDS) >= 175
    assert sum(seed.is_classification for seed in SEEDS) >= 26


def test_about_three_in_ten_have_no_input() -> None:
    share = sum(not seed.task.input for seed in SEEDS) / len(SEEDS)
    assert 0.25 <= share <= 0.35


def test_the_layout_is_the_standard_one() -> None:
    for row in ROWS:
        assert list(row) == ["id", "name", "instruction", "instances", "is_classification"]
        assert [list(instance) for instance in row["instances"]] == [["input", "output"]]
        assert isinstance(row["is_classification"], bool)
        texts = [row["instruction"], *row["instances"][0].values()]
        assert all(text == text.strip() for text in texts), row["id"]


def test_ids_names_and_instructions_are_unique() -> None:
    for values in (
        [seed.id for seed in SEEDS],
        [seed.name for seed in SEEDS],
        [seed.task.instruction for seed in SEEDS],
    ):
        assert all(values)
        assert len(set(values)) == len(values)


def test_instructions_have_3_to_66_words() -> None:
    for seed in SEEDS:
        assert 3 <= len(seed.task.instruction.split()) <= 66, seed.id


def test_outputs_say_something_new() -> None:
    for seed in SEEDS:
        assert seed.task.output, seed.id
        assert seed.task.output != seed.task.input, seed.id


def test_no_two_instructions_are_alike() -> None:
    """ROUGE-L at most 0.5: by rapidfuzz for all pairs, by rouge-score for the closest ones."""
    tokens = [EN.tokenize(seed.task.instruction) for seed in SEEDS]

    def f_measure(a: int, b: int) -> float:
        common = LCSseq.similarity(tokens[a], tokens[b])
        precision, recall = common / len(tokens[b]), common / len(tokens[a])
        return 2 * precision * recall / (precision + recall) if common else 0.0

    pairs = combinations(range(len(SEEDS)), 2)
    closest = heapq.nlargest(50, ((f_measure(a, b), a, b) for a, b in pairs))
    scorer = RougeScorer(["rougeL"])
    for score, a, b in closest:
        first, second = SEEDS[a].task.instruction, SEEDS[b].task.instruction
        assert scorer.score(first, second)["rougeL"].fmeasure == score
        assert score <= 0.5, f"{SEEDS[a].id} and {SEEDS[b].id}: {score:.2f}"


def test_no_seed_would_be_rejected_by_our_own_filters() -> None:
    """A seed may have 3 words, which the recipe does not accept of a model."""
    for seed in SEEDS:
        objection = apply_filters(seed.task, EN)
        if len(seed.task.instruction.split()) == 3:
            assert objection is not None
            assert objection.reason == "instruction_length"
        else:
            assert objection is None, f"{seed.id}: {objection}"


def test_no_seed_needs_escaping() -> None:
    for seed in SEEDS:
        for text in (seed.task.input, seed.task.output):
            assert escape(text, EN) == text, seed.id


# ── the loader ───────────────────────────────────────────────────────────────────────────────


def standard(number: int, output: str = "Nile.") -> dict[str, object]:
    """A task in the Self-Instruct layout."""
    return {
        "id": f"task_{number}",
        "name": f"name_{number}",
        "instruction": f"Name river number {number}.",
        "instances": [{"input": "", "output": output}],
        "is_classification": number % 2 == 1,
    }


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


THREE = [standard(number) for number in range(3)]


def test_reads_the_standard_layout() -> None:
    assert load_seeds(lines(*THREE), "s")[1] == Seed(
        id="task_1",
        task=Task("Name river number 1.", "", "Nile."),
        is_classification=True,
        name="name_1",
    )


@pytest.mark.parametrize(
    "content",
    [
        lines(*THREE),
        lines(*THREE).rstrip(b"\n"),
        b"\xef\xbb\xbf" + lines(*THREE),
        lines(*THREE).replace(b"\n", b"\r\n"),
        b"\n \n" + lines(*THREE).replace(b"\n", b"\n\n\t\n"),
        json.dumps(THREE).encode(),
        json.dumps(THREE, indent=2).encode(),
        b"\xef\xbb\xbf \r\n" + json.dumps(THREE, indent=1).replace("\n", "\r\n").encode(),
    ],
    ids=["lines", "no-end", "bom", "crlf", "blanks", "array", "indented", "array-bom-crlf"],
)
@pytest.mark.parametrize("name", ["seeds.jsonl", "seed_tasks.json", "seeds", "seeds.txt"])
def test_content_decides_not_the_extension(content: bytes, name: str) -> None:
    assert load_seeds(content, name) == load_seeds(lines(*THREE), "x")


def test_a_line_separator_inside_a_text_ends_no_line() -> None:
    text = "one\u2028two\u2029three\x85four\x0bfive\x0csix"
    first, second = load_seeds(lines(standard(0, text), standard(1)), "s")
    assert first.task.output == text
    assert second.id == "task_1"


def test_reads_flat_alpaca_rows_and_numbers_those_without_id() -> None:
    rows = [
        {"instruction": "Add the numbers.", "input": "1 and 2", "output": "3"},
        {"instruction": "Name a river.", "output": " Nile. \n"},
        {"id": 7, "instruction": "Name a hill.", "input": "", "output": "K2"},
    ]
    found = load_seeds(lines(*rows), "s")
    assert [seed.id for seed in found] == ["seed_0", "seed_1", "7"]
    assert [seed.task.input for seed in found] == ["1 and 2", "", ""]
    assert found[1].task.output == "Nile."
    assert not any(seed.is_classification for seed in found)


def test_reads_belle_rows() -> None:
    row = {
        "id": "seed_task_0",
        "name": "x",
        "instruction": "根据下面的描述写一句话。",
        "instances": [{"input": "雨", "output": "下雨了。"}],
        "is_classification": False,
    }
    (seed,) = load_seeds(lines(row), "s")
    assert seed.task == Task("根据下面的描述写一句话。", "雨", "下雨了。")


ROW = {"instruction": "Name a river.", "input": "", "output": "Nile."}
BROKEN_ROWS = {
    "instruction missing": {"input": "", "output": "x"},
    "instruction blank": {**ROW, "instruction": " \n"},
    "instruction null": {**ROW, "instruction": None},
    "instruction number": {**ROW, "instruction": 3},
    "input list": {**ROW, "input": ["x"]},
    "output missing": {"instruction": "Name a river."},
    "output blank": {**ROW, "output": ""},
    "output object": {**ROW, "output": {}},
    "no instance": {"instruction": "Name a river.", "instances": []},
    "instances object": {"instruction": "Name a river.", "instances": {"input": "", "output": ""}},
    "instance text": {"instruction": "Name a river.", "instances": ["x"]},
    "instance without output": {"instruction": "Name a river.", "instances": [{"input": ""}]},
    "list": [ROW],
    "text": "Name a river.",
    "number": 7,
    "null": None,
}


@pytest.mark.parametrize("row", BROKEN_ROWS.values(), ids=BROKEN_ROWS)
def test_a_broken_row_is_refused_with_its_line(row: object) -> None:
    content = lines(*[standard(number) for number in range(6)], row, standard(9))
    with pytest.raises(UsageError, match=r"^my/seeds\.jsonl:7: "):
        load_seeds(content, "my/seeds.jsonl")


@pytest.mark.parametrize(
    "line",
    [b'{"instruction": "Name', b"Name a river.", b"{'instruction': 'x'}", b"[" * 100_000, b"\x00"],
)
def test_a_broken_line_is_refused_with_its_number(line: bytes) -> None:
    content = b"\r\n".join([lines(standard(n)).strip() for n in range(5)] + [b"", line, b""])
    with pytest.raises(UsageError, match=r"^s\.jsonl:7: not JSON"):
        load_seeds(content, "s.jsonl")


def test_blank_lines_count() -> None:
    with pytest.raises(UsageError, match=r"^s:4: "):
        load_seeds(b"\n\n" + lines(ROW) + b"{\n", "s")


def test_a_broken_item_of_an_array_is_refused_with_its_number() -> None:
    with pytest.raises(UsageError, match=r"^s\.json: item 2: 'output'"):
        load_seeds(json.dumps([*THREE[:2], {"instruction": "Name a river."}]).encode(), "s.json")


def test_a_broken_array_is_refused_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"^s\.json:3: not a JSON array"):
        load_seeds(b'[\n{"a": 1},\n{"b" 2}\n]', "s.json")


def test_a_bottomless_array_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^s\.json:1: not a JSON array"):
        load_seeds(b"[" * 100_000, "s.json")


def test_an_id_may_be_used_once() -> None:
    with pytest.raises(UsageError, match=r"^s:3: the id 'task_1' is taken"):
        load_seeds(lines(standard(0), standard(1), standard(1)), "s")
    with pytest.raises(UsageError, match=r"^s: item 1: the id '5' is taken"):
        load_seeds(json.dumps([{**ROW, "id": 5}, {**ROW, "id": "5"}]).encode(), "s")


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\n", b"\xed\xa0\x80", "ü".encode("latin-1")])
def test_what_is_not_utf8_is_refused_with_its_line(bad: bytes) -> None:
    content = lines(standard(0), standard(1)) + b'{"instruction": "' + bad + b'"}\n'
    with pytest.raises(UsageError, match=r"^s:3: not UTF-8"):
        load_seeds(content, "s")


def test_a_byte_order_mark_does_not_shift_the_line() -> None:
    with pytest.raises(UsageError, match=r"^s:3: not UTF-8"):
        load_seeds(b"\xef\xbb\xbf" + lines(standard(0), standard(1)) + b"\xff\n", "s")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(UsageError, match=r"^s:"):
        load_seeds(lines(ROW).decode().encode(encoding), "s")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"[]", b" [ ] "])
def test_a_file_without_tasks_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match=r"^s: no seed task"):
        load_seeds(content, "s")


def test_text_that_no_request_can_carry_is_refused() -> None:
    """A lone surrogate has no UTF-8: the SDK cannot send it, whatever the server."""
    row = b'{"instruction": "Name a \\ud800 river.", "input": "", "output": "Nile."}\n'
    with pytest.raises(UsageError, match=r"^s:2: "):
        load_seeds(lines(standard(0)) + row, "s")


def seeds_or_refusal(content: bytes) -> tuple[Seed, ...] | str:
    try:
        return load_seeds(content, "the-file")
    except UsageError as error:
        return str(error)


def check_loaded(found: tuple[Seed, ...] | str) -> None:
    if isinstance(found, str):
        assert found.startswith("the-file:")
    else:
        assert found
        assert all(seed.task.instruction and seed.task.output for seed in found)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_load_or_are_refused_by_name(content: bytes) -> None:
    check_loaded(seeds_or_refusal(content))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "instruction", "input", "output", "instances"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(JSON_VALUES, min_size=1, max_size=4), st.booleans())
def test_json_loads_or_is_refused_by_name(rows: list[object], array: bool) -> None:
    check_loaded(seeds_or_refusal(json.dumps(rows).encode() if array else lines(*rows)))
