"""Several languages in one run, and a language that another package adds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfinstruct import languages
from tests.cli import Done, environment, run
from tests.scripted_server import Script, ServerProcess

FILES = ("alpaca.en.jsonl", "belle.zh.jsonl", "records.jsonl", "rejected.jsonl")
MODEL = "scripted-model"

TOY = """
import re
from dataclasses import replace
from pathlib import Path

from selfinstruct.languages import get_language

TOY = replace(
    get_language("en"), code="toy", assets="toy", tasks=3, folder=Path(__file__).parent / "toydata"
)
"""


def chinese(prompt: str, rng: object) -> str:
    """A scripted reply in the language of the prompt: see Script.reply_hook."""
    import random

    assert isinstance(rng, random.Random)
    zh = "指令" in prompt
    first = int(prompt.rsplit("###\n", 1)[1].split(".")[0])
    blocks = []
    for number in range(first, first + rng.randint(3, 6)):
        if zh:
            pick = "".join(rng.sample(_HAN, 12))
            blocks.append(
                f"{number}. 指令：说说{pick}\n{number}. 输入：\n<无输入>\n{number}. 输出：\n好。"
            )
        else:
            words = " ".join(rng.sample(_WORDS, 9))
            blocks.append(
                f"{number}. Instruction: Tell {words}.\n{number}. Input:\n<noinput>\n"
                f"{number}. Output:\nVery well."
            )
    text = "\n###\n".join(blocks) + "\n###\n"
    return text.split(":", 1)[1] if not zh else text.split("：", 1)[1]


_HAN = [chr(0x4E00 + 7 * index) for index in range(400)]
_WORDS = [f"w{index}" for index in range(400)]


# (instruction, input, output, the reason that its rejection must name)
DEFECTS = [
    ("写诗", "<无输入>", "春眠不觉晓。", "instruction_length"),
    ("，请写一首关于雨的诗", "<无输入>", "春雨绵绵。", "opening"),
    ("描述下面这张图片的内容", "<无输入>", "一只猫。", "blocked_word"),
    ("解释立春这个节气的含义", "<无输入>", "", "empty_output"),
    ("概括下面这段话的大意", "［在此处插入文本］", "大意如此。", "placeholder"),
    ("改正下面这句话里的错字", "我在学教上课。", "我在学教上课。", "echo"),
    ("推荐三道适合夏天的凉菜", "<无输入>", "抱歉，我无法提供这方面的帮助。", "refusal"),
    ("说说你对加班文化的看法", "<无输入>", "作为一个人工智能语言模型，我没有看法。", "refusal"),
    ("列出三个GPT擅长的写作任务", "<无输入>", "写信、写诗、写稿。", "mentions_gpt"),
    ("Explain why the sky is blue to a child", "<无输入>", "天空散射蓝光。", "wrong_language"),
    (
        "介绍一种北京的传统小吃",
        "<无输入>",
        "豆汁儿是北京的小吃,味道酸,很多人爱喝,也有人怕,",
        "punctuation",
    ),
    ("用一句话写写老家的书房", "<无输入>", "這张桌子很旧，還有一把椅子。", "mixed_script"),
]


def defective(prompt: str, rng: object) -> str:
    """Every planted defect in one reply, each as a block of its own."""
    assert rng is not None
    first = int(prompt.rsplit("###\n", 1)[1].split(".")[0])
    blocks = [
        f"{number}. 指令：{instruction}\n{number}. 输入：\n{given}\n{number}. 输出：\n{output}"
        for number, (instruction, given, output, _reason) in enumerate(DEFECTS, start=first)
    ]
    return "\n###\n".join(blocks).split("：", 1)[1] + "\n###\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(script()) as process:
        yield process


def script() -> Script:
    return Script(reply_hook="tests.test_languages:chinese", latency=0.01, jitter=1.0)


def generate(
    server: ServerProcess, out: Path, *more: str, env: dict[str, str] | None = None
) -> Done:
    where = ("--out", str(out), "--base-url", server.base_url, "--model", MODEL)
    return run("generate", *where, "--api", "completions", *more, env=env)


def content(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in FILES}


def test_two_languages_in_one_directory(server: ServerProcess, tmp_path: Path) -> None:
    server.reset(script())
    both = ("--lang", "en", "--lang", "zh", "--n", "40")
    one, many = tmp_path / "one", tmp_path / "many"
    assert generate(server, one, *both, "--concurrency", "1").code == 0
    done = generate(server, many, *both, "--concurrency", "64")
    assert done.code == 0, done.err
    assert content(one) == content(many)
    manifest = json.loads((one / "manifest.json").read_text())
    assert {lang: counts["kept"] for lang, counts in manifest["languages"].items()} == {
        "en": 40,
        "zh": 40,
    }
    assert run("verify", one).code == 0
    # Neither language disturbs the other: each alone gives the same rows.
    for lang, name in (("en", "alpaca.en.jsonl"), ("zh", "belle.zh.jsonl")):
        alone = tmp_path / lang
        assert generate(server, alone, "--lang", lang, "--n", "40").code == 0
        assert (alone / name).read_bytes() == (one / name).read_bytes()


def test_two_languages_after_kills(server: ServerProcess, tmp_path: Path) -> None:
    server.reset(script())
    both = ("--lang", "zh", "--lang", "en", "--n", "40")
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert generate(server, whole, *both).code == 0
    journal = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    # What any crash leaves: a prefix of the facts, with half a line at its end.
    for share in (0.2, 0.5, 0.9):
        facts = journal[: max(2, int(share * len(journal)))]
        torn.mkdir(exist_ok=True)
        (torn / "journal.jsonl").write_bytes(b"".join(facts) + facts[-1][:20])
        done = generate(server, torn, *both, "--concurrency", "8")
        assert done.code == 0, done.err
        assert content(torn) == content(whole)
        for name in (*FILES, "manifest.json"):
            (torn / name).unlink()


def test_export_splits_languages(server: ServerProcess, tmp_path: Path) -> None:
    server.reset(script())
    out = tmp_path / "run"
    assert generate(server, out, "--lang", "en", "--lang", "zh", "--n", "5").code == 0
    done = run("export", out, "--format", "belle-0.5m")
    assert done.code == 0
    for lang in ("en", "zh"):
        lines = (out / "export" / f"belle-0.5m.{lang}.jsonl").read_text().splitlines()
        assert [sorted(json.loads(line)) for line in lines] == [["input", "target"]] * 5


def test_a_language_from_another_package(server: ServerProcess, tmp_path: Path) -> None:
    server.reset(script())
    site = tmp_path / "site"
    data = site / "toydata"
    (data / "prompts" / "alpaca").mkdir(parents=True)
    (data / "seeds").mkdir()
    (data / "prompts" / "alpaca" / "toy.txt").write_text("Write $count tasks in Toy.\n\n")
    seeds = [
        {
            "instruction": f"Tell me thing number {number}.",
            "input": "",
            "output": f"It is {number}.",
        }
        for number in range(4)
    ]
    (data / "seeds" / "toy.jsonl").write_text("\n".join(map(json.dumps, seeds)))
    (site / "toylanguage.py").write_text(TOY)
    metadata = site / "toylanguage-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toylanguage\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[selfinstruct.languages]\ntoy = toylanguage:TOY\n")
    env = environment(PYTHONPATH=str(site) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    out = tmp_path / "run"
    done = generate(server, out, "--lang", "toy", "--n", "6", env=env)
    assert done.code == 0, done.err
    assert len((out / "alpaca.toy.jsonl").read_bytes().splitlines()) == 6
    unknown = generate(server, tmp_path / "x", "--lang", "nope", "--n", "6", env=env)
    assert unknown.code == 2
    assert "toy" in unknown.err


def test_no_planted_chinese_defect_passes(server: ServerProcess, tmp_path: Path) -> None:
    server.reset(Script(reply_hook="tests.test_languages:defective"))
    config = tmp_path / "run.toml"
    config.write_text("max_barren = 2\n")
    out = tmp_path / "run"
    more = ("--tasks", str(len(DEFECTS)), "--config", str(config))
    done = generate(server, out, "--lang", "zh", "--n", "1", *more)
    assert done.code == 5, done.err
    rows = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    first = [row for row in rows if row["request"] == 0]
    assert [row["reason"] for row in first] == [reason for *_task, reason in DEFECTS]
    assert (out / "belle.zh.jsonl").read_bytes() == b""


def test_a_language_without_rules_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def entry_points(group: str) -> list[object]:
        looked.append(group)
        return []

    monkeypatch.setattr(languages, "entry_points", entry_points)
    assert {languages.judging_language("tlh").code for _ in range(5)} == {"und"}
    assert len(looked) == 1
