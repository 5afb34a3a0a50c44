"""The Alpaca recipe: what it asks, and that it reads all and only what a reply holds."""

from __future__ import annotations

import random
import re
from string import Template

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from selfinstruct.errors import UsageError
from selfinstruct.languages import get_language
from selfinstruct.recipes import RECIPES, get_recipe
from selfinstruct.recipes.alpaca import Alpaca
from selfinstruct.recipes.blocks import Block, escape, split_blocks
from selfinstruct.recipes.recipe import Ingredients
from selfinstruct.records import Candidate, Prompt, Reply, Seed, Task
from selfinstruct.sampler import request_rng

EN = get_language("en")
HEAD = "Write $count tasks:\n\n"
PROMPT = Prompt(text="", stop=(), example_ids=("a", "b"), first=4, asked=17, seed=0)


def read(text: str, finish_reason: str = "stop") -> list[Block]:
    return split_blocks(text, EN, finish_reason=finish_reason)


def rows(text: str, finish_reason: str = "stop") -> list[Task]:
    """The tasks without a defect."""
    return [block.task for block in read(text, finish_reason) if not block.defect]


def recipe(seeds: list[Seed], **changes: int) -> Alpaca:
    sizes = {"tasks": 17, "examples": 3, "example_chars": 2000, **changes}
    shape = (sizes["tasks"], sizes["examples"], sizes["example_chars"])
    return Alpaca(Ingredients(EN, seeds, Template(HEAD), *shape))


def some_seeds(count: int) -> list[Seed]:
    return [
        Seed(str(i), Task(f"Name river number {i}.", f"The {i}" * (i % 2), f"River {i}"))
        for i in range(count)
    ]


# ── the prompt ───────────────────────────────────────────────────────────────────────────────


def test_the_prompt_is_the_published_layout() -> None:
    seeds = [
        Seed("with", Task("Add\n the  numbers:", "1 and 2", "3")),
        Seed("without", Task("Name a river.", "", "Nile")),
    ]
    prompt = recipe(seeds, tasks=5, examples=2).prompt(0, random.Random(1))
    blocks = {
        "with": "Instruction: Add the numbers\n{i}. Input:\n1 and 2\n{i}. Output:\n3\n",
        "without": "Instruction: Name a river.\n{i}. Input:\n<noinput>\n{i}. Output:\nNile\n",
    }
    shown = "".join(
        f"###\n{i}. " + blocks[id].replace("{i}", str(i))
        for i, id in enumerate(prompt.example_ids, start=1)
    )
    assert prompt.text == f"Write 7 tasks:\n\n{shown}###\n3. Instruction:"
    assert sorted(prompt.example_ids) == ["with", "without"]
    assert (prompt.first, prompt.asked) == (3, 5)


def test_the_stop_is_anchored_on_the_separator() -> None:
    prompt = recipe(some_seeds(9)).prompt(0, random.Random(0))
    assert prompt.stop == ("\n###\n21.", "\n21. Instruction:")
    assert not any("costs 21. Or 20. And 19." in stop for stop in prompt.stop)
    assert all(stop.startswith("\n") for stop in prompt.stop)


def test_a_prompt_depends_on_its_rng_alone() -> None:
    made = recipe(some_seeds(50))
    again = [made.prompt(0, request_rng(7, "en", k)) for k in (5, 3, 5)]
    assert again[0] == again[2] != again[1]
    assert again[0].seed != again[1].seed
    assert all(0 <= prompt.seed < 2**31 for prompt in again)


def test_all_of_a_head_is_shared_by_all_prompts() -> None:
    made = recipe(some_seeds(50))
    texts = {made.prompt(0, request_rng(0, "en", k)).text for k in range(30)}
    assert len(texts) == 30
    assert all(text.startswith("Write 20 tasks:\n\n###\n1. Instruction: ") for text in texts)


def test_long_seeds_are_not_shown() -> None:
    seeds = [*some_seeds(3), Seed("long", Task("Copy this text.", "x" * 200, "y"))]
    for k in range(20):
        prompt = recipe(seeds, example_chars=100).prompt(0, request_rng(0, "en", k))
        assert "long" not in prompt.example_ids


def test_too_few_short_seeds_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^2 of 2 seed tasks .* 3 are shown .*example_chars"):
        recipe(some_seeds(2))


def test_recipes_are_found_by_name() -> None:
    assert get_recipe("alpaca") is RECIPES["alpaca"] is Alpaca
    with pytest.raises(UsageError, match="unknown recipe 'llama'; known: alpaca"):
        get_recipe("llama")


# ── the parser, case by case ─────────────────────────────────────────────────────────────────

RIVER = Task("Name a river.", "", "Nile.")
HILL = Task("Name a hill in this list.", "K2, Oslo", "K2")
TWO = (
    " Name a river.\n4. Input:\n<noinput>\n4. Output:\nNile.\n"
    "###\n5. Instruction: Name a hill in this list.\n5. Input:\nK2, Oslo\n5. Output:\nK2\n"
)
SAME_ROWS = {
    "as asked": TWO,
    "crlf": TWO.replace("\n", "\r\n"),
    "trailing separator": TWO + "###\n",
    "next label left open": TWO + "###\n6. Instruction:",
    "blank lines": TWO.replace("\n", "\n\n"),
    "no separators": TWO.replace("###\n", ""),
    "separator of four": TWO.replace("###", "####"),
    "separator of dashes": TWO.replace("###", "---"),
    "separator indented": TWO.replace("###", "  ### "),
    "separator twice": TWO.replace("###\n", "###\n###\n"),
    "label after separator": TWO.replace("###\n5.", "### 5."),
    "bold labels": re.sub(r"(\d\. \w+:)", r"**\1**", TWO),
    "bold names": re.sub(r"^(\d)\. (\w+):", r"\1. **\2:**", TWO, flags=re.MULTILINE),
    "full-width colon": re.sub(r"(\d\. \w+):", r"\1：", TWO),
    "space before colon": re.sub(r"(\d\. \w+):", r"\1 :", TWO),
    "parenthesis": re.sub(r"(\d)\. (\w+):", r"\1) \2:", TWO),
    "colon after number": re.sub(r"(\d)\. (\w+):", r"\1: \2:", TWO),
    "no space after number": re.sub(r"(\d)\. (\w+):", r"\1.\2:", TWO),
    "lower case": TWO.replace("Instruction:", "instruction:").replace("Output:", "OUTPUT:"),
    "indented": re.sub(r"^(\d\. )", r"  \1", TWO, flags=re.MULTILINE),
    "fields on the label's line": TWO.replace("put:\n", "put: "),
    "number slips between blocks": TWO.replace("5.", "7."),
    "number repeated": TWO.replace("5.", "4."),
    "number slips in a block": TWO.replace("5. Input", "6. Input").replace(
        "4. Output", "5. Output"
    ),
    "all numbers one": re.sub(r"\d\. ", "1. ", TWO),
    "unnumbered fields": re.sub(r"\d\. (Input|Output)", r"\1", TWO),
    "unnumbered labels": re.sub(r"\d\. (\w+:)", r"\1", TWO),
    "input label left out": TWO.replace("4. Input:\n<noinput>\n", ""),
    "input left blank": TWO.replace("<noinput>", ""),
    "chat, own first label": "4. Instruction:" + TWO,
    "chat, counted from one": "1. Instruction:" + TWO,
    "chat, bold": "**4. Instruction:**" + TWO,
    "in a fence": f"```\n4. Instruction:{TWO}```",
    "in a fence, talk around": f"Sure!\n\n```text\n###\n4. Instruction:{TWO}```\nEnjoy them!",
    "in a fence, separators": f"```\n###\n4. Instruction:{TWO}###\n```\n",
    "titles": f"Task 4:\n4. Instruction:{TWO.replace('###', '###{nl}Task 5:')}".replace(
        "{nl}", "\n"
    ),
    "titles for separators": f"Task 4\n4. Instruction:{TWO.replace('###', '**Task 5:**')}",
    "titles as headings": f"### Task 4\n4. Instruction:{TWO.replace('###', '### Task 5')}",
    "titles, all numbers one": re.sub(
        r"(\d)\. ", "1. ", f"Task 1:\n4. Instruction:{TWO.replace('###', 'Task 2:')}"
    ),
    "titles, unnumbered labels": re.sub(
        r"\d\. (\w+:)", r"\1", f"Task 1:\n4. Instruction:{TWO.replace('###', 'Task 2:')}"
    ),
    "farewell": f"{TWO}###\nLet me know if you want more!",
    "farewell, polite": f"{TWO}\n###\n\nI hope these tasks are useful. Would you like more?\n",
    "farewell, Chinese": f"{TWO}###\n希望这些任务对您有帮助！",
}


@pytest.mark.parametrize("text", SAME_ROWS.values(), ids=SAME_ROWS)
def test_the_same_two_rows(text: str) -> None:
    assert rows(text) == [RIVER, HILL]
    assert [block.defect for block in read(text)] == ["", ""]


@pytest.mark.parametrize(
    "marker",
    [
        "<noinput>", "<NoInput>", "noinput", "<no input>", "No input", "<no_input>", "[no-input]",
        "(noinput)", "`<noinput>`", '"noinput"', "<noinput>.", "\n <noinput> \n",
    ],
)  # fmt: skip
def test_ways_to_say_no_input(marker: str) -> None:
    assert rows(TWO.replace("<noinput>", marker)) == [RIVER, HILL]


@pytest.mark.parametrize(
    "given_input", ["No input voltage is named.", "noinputs", "no", "x <noinput>"]
)
def test_an_input_that_only_resembles_the_marker_is_kept(given_input: str) -> None:
    assert rows(TWO.replace("<noinput>", given_input))[0].input == given_input


INSIDE_AN_ANSWER = {
    "20.": "It costs 20. That is cheap.",
    "20. at a line's start": "20. May is the day.\n21. May is the day after.",
    "numbered list": "1. Bread\n2. Milk\n4. Salt\n5. Oil\n20. Soap",
    "heading": "## Bread\n\n### Flour\nOne cup.\n\n### Water\nHalf a cup.",
    "heading first": "### Flour\nOne cup.",
    "separator line": "Above\n###\nBelow",
    "separator lines": "Above\n###\n###\n\nBelow\n---\nEnd",
    "hashes in a line": "Use ### for a heading.",
    "python": "def f():\n    # 3. Input: none\n    return '###'",
    "label later in a line": "Read step 5. Input: a number. Output: its square.",
    "unnumbered labels": "Input: 3\nOutput: 9\nInstruction: none",
    "another number's label": "9. Output: is printed",
    "numbered Inputs": "4. Inputs: flour\n4. Output of the day: bread",
    "table": "| a | b |\n|---|---|\n| 1 | 2 |",
    "line separators": "one\u2028two\x85three\x0cfour",
    "dashes inside": "Title\n-----\nText",
    "fence": "```python\nx = 1\n```",
    "fence and text": "Run this:\n```\nls\n```\nThen that.",
    "fences": "```\na\n```\nor\n```\nb\n```",
    "title inside": "Task 1: rise.\nTask 2:\nwash.",
    "farewell in a letter": "Dear Bob,\nlet me know if you want more!",
}


@pytest.mark.parametrize("output", INSIDE_AN_ANSWER.values(), ids=INSIDE_AN_ANSWER)
@pytest.mark.parametrize("end", ["", "###\n", "###\n6. Instruction:"])
def test_an_answer_is_not_split(output: str, end: str) -> None:
    text = TWO.replace("Nile.", output) + end
    assert rows(text) == [Task("Name a river.", "", output), HILL]


def test_the_next_task_is_cut_off_an_answer() -> None:
    text = (
        TWO.replace("\n###\n5.", "\n5.") + "\n\n6. Instruction: Name a lake.\n6. Output: Victoria"
    )
    assert rows(text) == [RIVER, HILL, Task("Name a lake.", "", "Victoria")]


def test_a_last_answer_keeps_what_follows_a_separator_in_it() -> None:
    for output in ("Above\n###\nBelow", "Above\n###\nHope floats.", "```\nx\n```"):
        assert rows(TWO.replace("\nK2\n", f"\n{output}\n"))[1].output == output


def test_a_fence_around_the_list_that_is_cut_off_closes_nothing() -> None:
    text = f"```\n4. Instruction:{TWO}"
    assert [block.defect for block in read(text, "length")] == ["", "unclosed"]
    code = text.replace("\nK2\n", "\nRun:\n```\nls\n")
    assert [block.defect for block in read(code, "length")] == ["", "unclosed"]
    assert rows(f"{text}```", "length") == [RIVER, HILL]
    unfinished = " Write code:\n```\nx\n```\n5. Instruction: Name a lake.\n5. Output:\nVictoria"
    assert rows(unfinished) == [Task("Name a lake.", "", "Victoria")]


def test_a_fenced_list_may_hold_fences() -> None:
    output = "```python\nx = 1\n```"
    text = f"```\n4. Instruction:{TWO.replace('Nile.', output)}```\n"
    assert rows(text) == [Task("Name a river.", "", output), HILL]


def test_an_input_may_look_like_a_list() -> None:
    text = TWO.replace("K2, Oslo", "4. K2\n5. Oslo\n\n### Note\nOslo is a town")
    assert rows(text)[1].input == "4. K2\n5. Oslo\n\n### Note\nOslo is a town"


def test_an_instruction_may_have_lines() -> None:
    assert rows(TWO.replace("Name a river.", "Name a river.\nIn Africa."))[0].instruction == (
        "Name a river.\nIn Africa."
    )


def test_a_chat_preamble_is_no_task() -> None:
    assert rows("Sure! Here are the tasks:\n\n4. Instruction:" + TWO) == [RIVER, HILL]
    assert len(read("Sure! Here are the tasks:\n\n4. Instruction:" + TWO)) == 2
    assert rows("Sure! Here are the tasks:\n\n###\n4. Instruction:" + TWO) == [RIVER, HILL]


@pytest.mark.parametrize("start", ["###\n", "\n###\n", " \n###\n\n", "###\n###\n"])
def test_a_separator_before_the_first_label_is_no_task(start: str) -> None:
    assert [block.task for block in read(f"{start}4. Instruction:{TWO}")] == [RIVER, HILL]


def test_a_bare_label_begins_a_block_only_after_a_separator() -> None:
    bare = "###\nInstruction: Name a lake.\nInput:\nnoinput\nOutput:\nVictoria\n"
    assert rows(TWO + bare) == [RIVER, HILL, Task("Name a lake.", "", "Victoria")]
    merged = TWO + bare.removeprefix("###\n")
    assert len(rows(merged)) == 2


def test_candidates_carry_where_they_come_from() -> None:
    reply = Reply(
        request=6, text=TWO + "###\n6. Instruction: Na", finish_reason="length", model="m"
    )
    found = recipe(some_seeds(3)).parse(reply, PROMPT)
    assert [candidate.position for candidate in found] == [0, 1, 2]
    assert found[1] == Candidate(6, 1, HILL, example_ids=("a", "b"), model="m")
    assert found[2].defect == "unclosed"
    assert found[2].detail
    assert found[2].task == Task("Na", "", "")


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\r\n \t"])
def test_an_empty_reply_has_no_candidates(text: str) -> None:
    assert recipe(some_seeds(3)).parse(Reply(0, text, "stop"), PROMPT) == []


@pytest.mark.parametrize(
    ("finish_reason", "end", "kept"),
    [
        ("stop", "", 2),
        ("stop", "###\n", 2),
        ("length", "", 1),
        ("length", "###", 2),
        ("length", "###\n", 2),
        ("length", "\n###\n\n", 2),
        ("length", "###\n6. Instruction:", 2),
        ("length", "###\n6. Instruction: Name", 2),
        ("length", "##", 1),
        ("", "", 1),
        ("", "###", 2),
        ("", "###\n6. Instruction:", 2),
        ("content_filter", "", 1),
    ],
)
def test_the_last_block_counts_only_when_closed(finish_reason: str, end: str, kept: int) -> None:
    found = read(TWO + end, finish_reason)
    assert [block.task for block in found if not block.defect] == [RIVER, HILL][:kept]
    assert all(block.defect == "unclosed" for block in found if block.defect)


INCOMPLETE = {
    "no labels at all": "I would rather talk about rivers.",
    "no output label": " Name a river.\n4. Input:\n<noinput>\n",
    "blank instruction": " \n4. Input:\nx\n4. Output:\ny\n",
}


@pytest.mark.parametrize("text", INCOMPLETE.values(), ids=INCOMPLETE)
def test_half_a_task_is_seen_and_named(text: str) -> None:
    (block,) = read(text)
    assert block.defect == "incomplete"
    assert block.detail
    (cut,) = read(text, "length")
    assert cut.defect == "unclosed"


def test_evidence_of_half_a_task_stays_short() -> None:
    (block,) = read("x" * 10_000)
    assert 0 < len(block.task.instruction) < 1000


def test_an_empty_output_is_a_row_for_the_filters() -> None:
    assert rows(TWO.replace("Nile.", ""))[0] == Task("Name a river.", "", "")


# ── against the published script ─────────────────────────────────────────────────────────────


def published(text: str, finish_reason: str, shown: int = 3) -> list[Task]:
    """What generate_instruction.py documents: split at "###", then at the labels numbered by
    place; seven parts make a row; a reply cut by length loses its last block."""
    blocks = re.split("###", f"{shown + 1}. Instruction:" + text)
    if finish_reason == "length":
        blocks.pop()
    tasks = []
    for number, block in enumerate(blocks, start=shown + 1):
        parts = re.split(rf"{number}\.\s+(?:Instruction|Input|Output):", block)
        if len(parts) == 4:
            instruction, given_input, output = (part.strip() for part in parts[1:])
            no_input = given_input.lower() == "<noinput>"
            tasks.append(Task(instruction, "" if no_input else given_input, output))
    return tasks


WORDS = st.sampled_from(
    ["river", "Add", "2", "the", "# note", "a.", "ü", "—", "(x)", "3, 4", "K2:"]
)
LINE = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)
# Ends in a word, since a line of "#" alone is scaffolding to us and text to the published script.
FIELD = st.lists(LINE, min_size=1, max_size=3).map(lambda found: "\n".join([*found, "end"]))
TASKS = st.lists(
    st.builds(Task, LINE, st.just("") | FIELD, FIELD),
    min_size=1,
    max_size=6,
)


def transcript(tasks: list[Task]) -> str:
    """A text-davinci-003 reply to three examples, up to where its stop sequence was cut off."""
    text = "".join(
        f"###\n{i}. Instruction: {task.instruction}\n{i}. Input:\n{task.input or '<noinput>'}\n"
        f"{i}. Output:\n{task.output}\n"
        for i, task in enumerate(tasks, start=4)
    )
    return text.removeprefix("###\n4. Instruction:")


@settings(deadline=None)
@given(TASKS, st.sampled_from(["", "###", "###\n", "\n"]))
def test_well_formed_transcripts_give_the_published_rows(tasks: list[Task], end: str) -> None:
    text = transcript(tasks) + end
    assert rows(text) == published(text, "stop") == tasks
    number = len(tasks) + 4
    opened = f"{transcript(tasks)}###\n{number}. Instruction:"
    assert rows(opened) == published(opened, "length") == tasks


@settings(deadline=None)
@given(TASKS, st.integers(0, 80))
def test_transcripts_cut_by_length_give_the_published_rows(tasks: list[Task], cut: int) -> None:
    whole = transcript(tasks)
    text = whole[: max(0, len(whole) - cut)]
    last_line = text.rpartition("\n")[2]
    # Cuts inside a block's first label have their own test, below.
    assume(not f"{len(tasks) + 3}. Instruction:".startswith(last_line or "-"))
    assert rows(text, "length") == published(text, "length")


@pytest.mark.parametrize("label", ["6", "6.", "6. ", "6. I", "6. Instruct", "6. Instruction"])
def test_a_cut_inside_the_next_label_does_not_cost_the_row_before(label: str) -> None:
    """A separator has closed that row, whatever of the next label was still written."""
    assert published(f"{TWO}###\n{label}", "length") == [RIVER, HILL]
    assert rows(f"{TWO}###\n{label}", "length") == [RIVER, HILL]


# ── for any text ─────────────────────────────────────────────────────────────────────────────

PIECES = st.sampled_from(
    [
        "###", "###\n", "\n###\n", "####", "#", "---", "***", "**", "===", ";", "\n", "\n\n",
        "\r\n", "\r", " ", "\t", "Instruction:", "Input:", "Output:", "instruction：", "4. ", "5. ",
        "4) ", "44.", "4. Instruction: ", "4. Input:\n", "4. Output:\n", "5. Instruction:",
        "5. Output:", "\n5. Instruction: ", "\n4. Output: ", "<noinput>", "no input", "20.",
        "a", "Name it.", "\u2028", "\x85", "\x0b", "：", ":", "٤. Output:", "> ",
    ]
)  # fmt: skip
TEXTS = st.text(max_size=80) | st.lists(PIECES | st.text(max_size=4), max_size=30).map("".join)
FINISHES = st.sampled_from(["stop", "length", "", "content_filter"])


@settings(max_examples=400, deadline=None)
@given(TEXTS, FINISHES)
def test_the_parser_never_raises_and_never_invents(text: str, finish_reason: str) -> None:
    said = text.replace("\r\n", "\n")
    for block in read(text, finish_reason):
        for field in (block.task.instruction, block.task.input, block.task.output):
            assert field in said
            assert field == field.strip()
        assert block.defect in ("", "unclosed", "incomplete")
        assert bool(block.detail) == bool(block.defect)
        assert block.defect or block.task.instruction
    assert recipe(some_seeds(3)).parse(Reply(0, text, finish_reason), PROMPT) is not None


@settings(deadline=None)
@given(TEXTS, FINISHES)
def test_blocks_are_disjoint_pieces_in_order(text: str, finish_reason: str) -> None:
    """Nothing is read twice: the fields' characters are never more than the reply's."""
    blocks = read(text, finish_reason)
    fields = sum(len(b.task.instruction + b.task.input + b.task.output) for b in blocks)
    assert fields <= len(text)


# ── round trip ───────────────────────────────────────────────────────────────────────────────

SCAFFOLDS = st.lists(PIECES | st.text(max_size=6), max_size=8).map("".join)
SEED_TEXTS = (st.text(max_size=30) | SCAFFOLDS).map(lambda text: text.strip())
SEED_TASKS = st.builds(Task, SEED_TEXTS, SEED_TEXTS, SEED_TEXTS)
_CLOSERS = re.compile(r"#{1,6}|\*{3,}|-{3,}|_{3,}|/{3,}|=+|;+|")


def ends_in_scaffolding(text: str) -> bool:
    """Its last line is what models leave between two tasks, which the parser takes off."""
    return _CLOSERS.fullmatch(text.rpartition("\n")[2].strip()) is not None


def as_shown(text: str) -> str:
    return escape(text, EN).replace("\r\n", "\n").strip()


@settings(max_examples=300, deadline=None)
@given(st.lists(SEED_TASKS, min_size=1, max_size=4))
@example([Task("Name it.", "###\n2. Instruction: x", "1. Output: y\n###\n3. Instruction: z")])
@example([Task("Name it.", "Instruction: x", "Above ###\nInstruction: z")])
@example([Task("Name it.", "", "Use this:\n###\nInstruction: say hello\nOutput: hello")])
@example([Task("1. Input: a", "**1. Output:** b", "### 1. Output: c\n1) instruction： d")])
def test_what_a_prompt_shows_is_read_back(tasks: list[Task]) -> None:
    """The examples of a prompt, seen as a reply, are the seed tasks again (as shown)."""
    for task in tasks:
        assume(re.sub(r"\s+", " ", task.instruction).strip().rstrip(":：").strip())
        assume(not EN.no_input_pattern.fullmatch(as_shown(task.input)))
        assume(task.output and not ends_in_scaffolding(as_shown(task.output)))
    seeds = [Seed(str(i), task) for i, task in enumerate(tasks)]
    made = recipe(seeds, examples=len(seeds))
    prompt = made.prompt(0, random.Random(0))
    text = prompt.text.partition("\n\n")[2].removeprefix("###\n")
    found = made.parse(Reply(0, text, "length"), prompt)
    assert [candidate.defect for candidate in found] == [""] * len(tasks)
    for id, candidate in zip(prompt.example_ids, found, strict=True):
        task = tasks[int(id)]
        assert candidate.task == Task(
            re.sub(r"\s+", " ", task.instruction).strip().rstrip(":：").strip(),
            as_shown(task.input),
            as_shown(task.output),
        )


@settings(deadline=None)
@given(SCAFFOLDS)
def test_escaping_twice_changes_nothing_more(text: str) -> None:
    once = escape(text, EN)
    assert escape(once, EN) == once
    assert once.replace("\n> ", "\n").removeprefix("> ") == text.replace("\n> ", "\n").removeprefix(
        "> "
    )


@pytest.mark.parametrize(
    "text", ["Nile.", "1. Bread\n2. Milk", "### Title\ntext", "Input: x", "> a"]
)
def test_ordinary_texts_are_not_touched(text: str) -> None:
    assert escape(text, EN) == text


# ── linear time ──────────────────────────────────────────────────────────────────────────────

MEGABYTE = 1_000_000
LONG_TEXTS = {
    "blanks": " " * MEGABYTE,
    "tabs": "\t" * MEGABYTE,
    "newlines": "\n" * MEGABYTE,
    "digits": "4" * MEGABYTE,
    "hashes": "#" * MEGABYTE,
    "hash lines": "#\n" * (MEGABYTE // 2),
    "separators": "###\n" * (MEGABYTE // 4),
    "numbers": "4. " * (MEGABYTE // 3),
    "number lines": "4.\n" * (MEGABYTE // 3),
    "stars": "*" * MEGABYTE,
    "blank lines": (" " * 99 + "\n") * (MEGABYTE // 100),
    "instructions": "4. Instruction:\n" * (MEGABYTE // 16),
    "instruction lines": "###\nInstruction:\n" * (MEGABYTE // 17),
    "outputs": "4. Output:\n" * (MEGABYTE // 11),
    "inputs": "4. Input:\n" * (MEGABYTE // 10),
    "crlf": "\r\n" * (MEGABYTE // 2),
    "one long input": " a\n4. Input:\n" + "<no" * (MEGABYTE // 3) + "\n4. Output: x",
    "blank input": " a\n4. Input:\n" + " \n" * (MEGABYTE // 2) + "4. Output: x",
    "trailing scaffolding": TWO + "---\n" * (MEGABYTE // 4),
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_a_megabyte_is_read_in_one_pass(text: str) -> None:
    """Quadratic work would take hours here."""
    assert len(read(text, "length")) <= len(text)
    assert len(escape(text, EN)) >= len(text)
