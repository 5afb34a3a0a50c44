"""The translate recipe: what it asks, what it keeps, what it calls lost, and whole runs of it."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.languages import get_language
from selfinstruct.recipes import Ingredients
from selfinstruct.recipes.translate import MARKER, Translate, lost
from selfinstruct.records import Candidate, Reply, SourceRow, Task
from tests.cli import Done, run
from tests.scripted_server import Script, ServerProcess

CODE = "```python\nprint(1 + 2)  # three\n```"
SOURCE = Task("Add 3 and 4.", "", f"It is 7: see https://a.example/x and {CODE} or `sum`.")
GOOD = Task(
    "把 3 和 4 相加。",
    "",
    "得 7，见 https://a.example/x ，或 ```python\nprint(1 + 2)  # 三\n``` 或 `sum`。",
)


def recipe(task: Task = SOURCE, lang: str = "zh") -> Translate:
    return Translate(
        Ingredients(
            language=get_language(lang),
            seeds=(),
            template=Template("Translate or say $marker.\n\n"),
            tasks=1,
            examples=3,
            example_chars=2000,
            source=(SourceRow("en-000000-00", task),),
        )
    )


def parse(text: str, finish_reason: str = "stop", task: Task = SOURCE) -> Candidate:
    made = recipe(task)
    prompt = made.prompt(0, random.Random(0))
    (candidate,) = made.parse(Reply(0, text, finish_reason, lang="zh"), prompt)
    return candidate


def answer(task: Task) -> str:
    return f" {task.instruction}\n2. 输入：\n{task.input or '<无输入>'}\n2. 输出：\n{task.output}"


def test_the_prompt_shows_the_source_and_leaves_the_translation_open() -> None:
    made = recipe()
    prompt = made.prompt(0, random.Random(0))
    assert made.requests == 1
    assert prompt.text.startswith(f"Translate or say {MARKER}.\n\n###\n1. 指令: Add 3 and 4.\n")
    assert prompt.text.endswith("\n###\n2. 指令:")
    assert prompt.example_ids == ("en-000000-00",)
    assert prompt == made.prompt(0, random.Random(0))


def test_a_good_answer_is_the_row() -> None:
    candidate = parse(answer(GOOD))
    assert candidate.task == GOOD
    assert (candidate.defect, candidate.source_id) == ("", "en-000000-00")


@pytest.mark.parametrize(
    ("text", "finish", "defect"),
    [
        (f" {MARKER} 押韵无法保留", "stop", "untranslatable"),
        (" <不可翻译> 双关", "stop", "untranslatable"),
        (answer(GOOD), "length", "unclosed"),
        (" 把 3 和 4 相加。", "stop", "incomplete"),
        (answer(Task(GOOD.instruction, "3 和 4", GOOD.output)), "stop", "input_differs"),
        (answer(Task(SOURCE.instruction, "", GOOD.output)), "stop", "untranslated"),
        (answer(Task("把 3 和 5 相加。", "", GOOD.output)), "stop", "numbers_differ"),
        (
            answer(Task(GOOD.instruction, "", GOOD.output.replace("/x", "/y"))),
            "stop",
            "urls_differ",
        ),
        (
            answer(Task(GOOD.instruction, "", GOOD.output.replace("print", "打印"))),
            "stop",
            "code_differs",
        ),
    ],
)
def test_what_is_lost_is_named(text: str, finish: str, defect: str) -> None:
    candidate = parse(text, finish)
    assert candidate.defect == defect
    assert candidate.detail or defect == "incomplete"


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("Name three of 12 rivers.", "说出12条河中的三条。"),
        ("It sold 1,000 on March 5, 2021.", "2021年3月5日卖出1000件。"),
        ("About 50% agree.", "约有百分之五十的人同意。"),
        ("1.5 million people", "150万人"),
    ],
)
def test_the_same_number_said_otherwise_is_kept(english: str, chinese: str) -> None:
    assert lost(Task(english, "", "Yes."), Task(chinese, "", "是。")) == ("", "")
    assert lost(Task(chinese, "", "是。"), Task(english, "", "Yes.")) == ("", "")


@given(st.text(), st.sampled_from(["stop", "length", ""]))
def test_any_reply_is_one_candidate(text: str, finish_reason: str) -> None:
    made = recipe()
    prompt = made.prompt(0, random.Random(0))
    assert len(made.parse(Reply(0, text, finish_reason, lang="zh"), prompt)) == 1


# ---------------------------------------------------------------- whole runs

WORDS = [
    "amber",
    "bread",
    "cloud",
    "delta",
    "eagle",
    "flute",
    "grape",
    "hotel",
    "igloo",
    "jelly",
    "kayak",
    "lemon",
    "mango",
    "noble",
]
# Characters that simplified and traditional writing share.
HAN = list(
    "天地人山水火木金土日月星雨雪花草春夏秋冬早中晚上下左右前古今老少大小多高低白青石玉田禾米竹牛羊犬"
)


def english(prompt: str, rng: random.Random) -> str:
    """A scripted reply with English tasks: see Script.reply_hook."""
    first = int(prompt.rsplit("###\n", 1)[1].split(".")[0])
    blocks = [
        f"{number}. Instruction: Say {' '.join(rng.sample(WORDS, 7))}.\n{number}. Input:\n<noinput>\n"
        f"{number}. Output:\nVery well."
        for number in range(first, first + 6)
    ]
    return "\n###\n".join(blocks).split(":", 1)[1] + "\n###\n"


def translator(prompt: str, rng: random.Random) -> str:
    """A scripted translation; one source in four is called untranslatable."""
    source = prompt.rsplit("###\n1. 指令:", 1)[1]
    if zlib.crc32(source.encode()) % 4 == 0:
        return f" {MARKER} 离开英语就不成立"
    return f"说说{''.join(rng.sample(HAN, 9))}\n2. 输入：\n<无输入>\n2. 输出：\n好的。"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(Script()) as process:
        yield process


def generate(server: ServerProcess, out: Path, *more: str | Path) -> Done:
    where = ("--out", out, "--base-url", server.base_url, "--model", "m", "--api", "completions")
    return run("generate", *where, *more)


def test_every_kept_row_is_translated_once(server: ServerProcess, tmp_path: Path) -> None:
    source, one, many = tmp_path / "en", tmp_path / "one", tmp_path / "many"
    server.reset(Script(reply_hook="tests.test_translate:english"))
    assert generate(server, source, "--n", "30").code == 0
    server.reset(Script(reply_hook="tests.test_translate:translator", latency=0.01, jitter=1.0))
    translate = ("--recipe", "translate", "--from", source, "--lang", "zh")
    assert generate(server, one, *translate, "--concurrency", "1").code == 0
    assert generate(server, many, *translate, "--concurrency", "16").code == 0
    for name in ("belle.zh.jsonl", "records.jsonl", "rejected.jsonl"):
        assert (one / name).read_bytes() == (many / name).read_bytes()
    kept = [json.loads(line) for line in (one / "records.jsonl").read_text().splitlines()]
    rejected = [json.loads(line) for line in (one / "rejected.jsonl").read_text().splitlines()]
    ids = [json.loads(line)["id"] for line in (source / "records.jsonl").read_text().splitlines()]
    assert sorted(row["source_id"] for row in kept + rejected) == sorted(ids)
    assert {row["reason"] for row in rejected} == {"untranslatable"}
    assert run("verify", one).code == 0
    # The directory needs its source no more, and a second command buys nothing.
    (source / "records.jsonl").rename(source / "elsewhere")
    before = server.ledger().requests
    assert run("resume", one).code == 0
    assert server.ledger().requests == before


def test_more_rows_than_the_source_gives(server: ServerProcess, tmp_path: Path) -> None:
    source, out = tmp_path / "en", tmp_path / "zh"
    server.reset(Script(reply_hook="tests.test_translate:english"))
    assert generate(server, source, "--n", "12").code == 0
    server.reset(Script(reply_hook="tests.test_translate:translator"))
    translate = ("--recipe", "translate", "--from", source, "--lang", "zh")
    done = generate(server, out, *translate, "--n", "12")
    assert done.code == 5
    assert "12 rows of the source are decided" in done.err
    few = generate(server, tmp_path / "few", *translate, "--n", "3")
    assert few.code == 0
    assert len((tmp_path / "few" / "belle.zh.jsonl").read_bytes().splitlines()) == 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--recipe", "translate", "--lang", "zh"), "--from is needed"),
        (("--from", "x", "--lang", "zh", "--n", "3"), "--from is for --recipe translate"),
        (("--recipe", "translate", "--from", "nowhere", "--lang", "zh"), "cannot read nowhere"),
    ],
)
def test_translate_asked_wrongly(
    server: ServerProcess, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    done = generate(server, tmp_path / "out", *flags)
    assert done.code == 2
    assert said in done.err


# ── what is lost, and what only looks so ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "translation", "defect"),
    [
        (("See it.", "", "Go to https://a.com/x."), ("看看。", "", "去https://a.com/x看看。"), ""),
        (("See it.", "", "Go to https://a.com/x"), ("看看。", "", "去 https://a.com/y"), "urls_differ"),
        (("Name two.", "", "- tea\n- rice"), ("说两个。", "", "1. 茶\n2. 米"), ""),
        (("Write.", "", "```\nDear Bob\n```"), ("写。", "", "```\n亲爱的鲍勃\n```"), ""),
        (("Fix.", "", "```py\nx = 1  # a\n```"), ("改。", "", "```py\nx = 1  # 甲\n```"), ""),
        (("Fix.", "", "```py\nx = 1\n```"), ("改。", "", "```py\ny = 1\n```"), "code_differs"),
        (("Greet us.", "", "Good morning to all"), ("打招呼。", "", "Good morning to all"), "untranslated"),
        (("写一句问候。", "", "大家早上好"), ("Greet us.", "", "大家早上好"), "untranslated"),
        (("List the names.", "", "Barack Obama"), ("列出人名。", "", "Barack Obama"), ""),
        (("Put it into French.", "good day all", "bonjour à tous"),
         ("译成法语。", "good day all", "bonjour à tous"), ""),
        (("Write a loop for me.", "", "for i in x(3): print(i)"),
         ("写一个循环。", "", "for i in x(3): print(i)"), ""),
    ],
)  # fmt: skip
def test_close_calls(
    source: tuple[str, str, str], translation: tuple[str, str, str], defect: str
) -> None:
    assert lost(Task(*source), Task(*translation))[0] == defect


def test_a_row_whose_request_gives_nothing_is_rejected_by_name(
    server: ServerProcess, tmp_path: Path
) -> None:
    source, out = tmp_path / "en", tmp_path / "zh"
    server.reset(Script(reply_hook="tests.test_translate:english"))
    assert generate(server, source, "--n", "12").code == 0
    hook = "tests.test_translate:translator"
    server.reset(Script(reply_hook=hook, faults={"content_filter_400": 0.5}))
    translate = ("--recipe", "translate", "--from", source, "--lang", "zh")
    assert generate(server, out, *translate).code == 0
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    kept = (out / "belle.zh.jsonl").read_text().splitlines()
    assert "content_filter" in {row["reason"] for row in rejected}
    assert len(kept) + len(rejected) == 12
    # Fewer rows than it holds are not taken away from it.
    fewer = generate(server, out, *translate, "--n", "1")
    assert fewer.code == 2


def test_a_lone_surrogate_in_a_source_row_is_no_obstacle(
    server: ServerProcess, tmp_path: Path
) -> None:
    source = tmp_path / "en"
    source.mkdir()
    row = {"id": "a", "lang": "en", "instruction": "Say \ud800.", "input": "", "output": "x\u2028y"}
    (source / "records.jsonl").write_text(json.dumps(row) + "\n")
    server.reset(Script(reply_hook="tests.test_translate:translator"))
    out = tmp_path / "zh"
    done = generate(server, out, "--recipe", "translate", "--from", source, "--lang", "zh")
    assert done.code == 0, done.err


def test_lines_of_an_instruction_are_kept_in_the_prompt() -> None:
    task = Task("Explain:\n```python\nfor i in x:\n    print(i)\n```", "", "It prints.")
    assert "for i in x:\n    print(i)\n" in recipe(task).prompt(0, random.Random(0)).text
