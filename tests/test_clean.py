"""`selfinstruct clean` and `explain` as users run them, on small files of our own."""

from __future__ import annotations

import gzip
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Done, environment, rows, run
from tests.scripted_server import ROOT

PLACES = ["harbour", "library", "orchard", "station", "museum", "bakery", "lighthouse", "stadium"]
THINGS = ["ladder", "violin", "compass", "teapot", "blanket", "lantern", "barometer", "bicycle"]


def row(number: int) -> dict[str, str]:
    """A good row; no two of the first 64 are near each other."""
    place, thing = PLACES[number % 8], THINGS[number // 8 % 8]
    words = [f"{thing}{number}", f"{place}{number}", f"visitor{number}", f"morning{number}"]
    return {
        "instruction": f"Explain why {' and '.join(words)} belong together.",
        "input": "",
        "output": f"They belong together because the {thing} was first used at the {place}.",
    }


GOOD = [row(number) for number in range(12)]


def write(path: Path, items: Iterable[Any]) -> Path:
    """JSON Lines; a string goes in as it is."""
    lines = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in items]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def clean(out: Path, *arguments: str | Path) -> Done:
    return run("clean", *arguments, "--out", out, "--quiet")


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def summary(out: Path) -> dict[str, Any]:
    """summary.json, whose counts must add up and agree with the files."""
    stated: dict[str, Any] = json.loads((out / "summary.json").read_bytes())
    assert stated["rows"] == stated["kept"] + sum(stated["rejected"].values())
    assert stated["rows"] == sum(stated["languages"].values())
    assert stated["kept"] == len(rows(out / "kept.jsonl"))
    rejected = rows(out / "rejected.jsonl")
    assert sum(stated["rejected"].values()) == len(rejected)
    numbers = [one["row"] for one in rejected]
    assert numbers == sorted(set(numbers))
    return stated


def reasons(out: Path) -> dict[int, str]:
    return {one["row"]: one["reason"] for one in rows(out / "rejected.jsonl")}


def test_every_row_is_kept_as_it_was_or_rejected_with_its_reason(tmp_path: Path) -> None:
    near = {**GOOD[2], "instruction": GOOD[2]["instruction"].replace("together", "in one room")}
    odd = {"output": GOOD[5]["output"], "note": [1, {"a": None}], **GOOD[5]}
    items = [*GOOD[:4], near, {**GOOD[4], "output": ""}, odd, GOOD[0]]
    source = write(tmp_path / "in.jsonl", items)
    done = clean(tmp_path / "out", source)
    assert done.code == 0, done.err
    near_duplicate = "near_duplicate"
    assert reasons(tmp_path / "out") == {4: near_duplicate, 5: "empty_output", 7: near_duplicate}
    given = source.read_bytes().splitlines(keepends=True)
    kept = b"".join(given[number] for number in (0, 1, 2, 3, 6))
    assert (tmp_path / "out/kept.jsonl").read_bytes() == kept
    first, _, copy = rows(tmp_path / "out/rejected.jsonl")
    assert first["neighbour"]["row"] == 2
    assert 0.7 < first["neighbour"]["score"] < 1
    assert first["place"] == f"{source}:5"
    assert first["fields"] == near
    assert copy["neighbour"] == {"row": 0, "score": 1.0}
    assert summary(tmp_path / "out")["rejected"] == {"empty_output": 1, "near_duplicate": 2}
    assert "near_duplicate" in done.out


def test_it_is_the_same_twice_and_its_own_output_is_clean(tmp_path: Path) -> None:
    near = [{**one, "instruction": one["instruction"][:-1] + "!"} for one in GOOD]
    source = write(tmp_path / "in.jsonl", [*GOOD, *near, "not json", {**GOOD[3], "output": "N/A"}])
    for name in ("one", "two", "two"):
        assert clean(tmp_path / name, source).code == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
    again = clean(tmp_path / "again", tmp_path / "one/kept.jsonl")
    assert again.code == 0
    stated = summary(tmp_path / "again")
    assert (stated["kept"], stated["rejected"]) == (12, {})
    assert files(tmp_path / "again")["kept.jsonl"] == files(tmp_path / "one")["kept.jsonl"]


def test_rows_of_several_files_and_kinds_are_numbered_on(tmp_path: Path) -> None:
    array = tmp_path / "a.json"
    array.write_text(json.dumps(GOOD[:3], indent=1))
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "b.jsonl", GOOD[2:6]).read_bytes()))
    done = clean(tmp_path / "out", array, packed)
    assert done.code == 0
    assert reasons(tmp_path / "out") == {3: "near_duplicate"}
    (rejected,) = rows(tmp_path / "out/rejected.jsonl")
    assert rejected["place"] == f"{packed}:1"
    assert rows(tmp_path / "out/kept.jsonl") == GOOD[:6]


def test_stdin(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "selfinstruct", "clean", "-", "--out", tmp_path / "out", "-q"],
        input=write(tmp_path / "in.jsonl", GOOD).read_bytes(),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        check=True,
    )
    assert not done.stderr
    assert summary(tmp_path / "out")["kept"] == 12


def turns(who: str, what: str, user: str, assistant: str) -> list[dict[str, str]]:
    """The first good row as two turns."""
    return [
        {who: user, what: GOOD[0]["instruction"]},
        {who: assistant, what: GOOD[0]["output"]},
    ]


@pytest.mark.parametrize(
    ("layout", "fields"),
    [
        (
            "belle-0.5m",
            {"input": "请写出三种常见的水果，并说明颜色。", "target": "苹果红，香蕉黄，葡萄紫。"},
        ),
        ("sharegpt", {"id": "x", "conversations": turns("from", "value", "human", "gpt")}),
        ("messages", {"messages": turns("role", "content", "user", "assistant")}),
    ],
)
def test_layouts_are_recognised(tmp_path: Path, layout: str, fields: dict[str, Any]) -> None:
    source = write(tmp_path / "in.jsonl", [fields, fields])
    assert clean(tmp_path / "out", source).code == 0
    assert reasons(tmp_path / "out") == {1: "near_duplicate"}
    assert summary(tmp_path / "out")["layouts"] == {layout: 2}
    assert rows(tmp_path / "out/kept.jsonl") == [fields]


def test_what_cannot_be_read_is_listed_with_its_place(tmp_path: Path) -> None:
    items = [GOOD[0], '{"instruction": "a\\x"}', {"question": "Who?"}, {"instruction": 5}, GOOD[1]]
    source = write(tmp_path / "in.jsonl", items)
    done = clean(tmp_path / "out", source)
    assert done.code == 0
    assert reasons(tmp_path / "out") == dict.fromkeys((1, 2, 3), "malformed")
    assert summary(tmp_path / "out")["kept"] == 2
    for line in (2, 3, 4):
        assert f"{source}:{line}" in done.out
    strict = clean(tmp_path / "strict", source, "--strict")
    assert strict.code == 2
    assert f"{source}:2" in strict.complaint
    assert not list((tmp_path / "strict").glob("*.jsonl"))
    assert not list((tmp_path / "strict").glob(".*.part"))


def test_what_is_not_asked_of_one_layout_is_asked_of_the_next(tmp_path: Path) -> None:
    talk = {"conversations": turns("from", "value", "human", "gpt")}
    items = [talk, {**GOOD[1], "instruction": ""}, GOOD[2]]
    source = write(tmp_path / "in.jsonl", items)
    assert clean(tmp_path / "out", source).code == 0
    assert reasons(tmp_path / "out") == {1: "instruction_length"}


def test_languages_are_told_apart_and_judged_by_their_own_rules(tmp_path: Path) -> None:
    chinese = {
        "instruction": "请介绍一下长江的源头和它流经的省份。",
        "input": "",
        "output": "长江发源于青藏高原的唐古拉山脉，流经青海、四川等地。",
    }
    same = {**chinese, "instruction": "请介绍一下长江的源头和它流经的各省份。"}
    source = write(tmp_path / "in.jsonl", [GOOD[0], chinese, same, GOOD[1]])
    assert clean(tmp_path / "out", source).code == 0
    assert reasons(tmp_path / "out") == {2: "near_duplicate"}
    assert summary(tmp_path / "out")["languages"] == {"en": 2, "zh": 2}


# ------------------------------------------------------------------------------ evaluation files


def test_rows_that_repeat_evaluation_files_are_rejected(tmp_path: Path) -> None:
    sentence = "the seventeen grey geese that crossed the frozen river at dawn were never seen by"
    question = {"question": f"Is it true that {sentence} anyone?", "answer": "Yes"}
    exam = write(tmp_path / "exam.jsonl", [question])
    seeds = write(tmp_path / "seeds.jsonl", [GOOD[7]])
    leaking = {**GOOD[3], "output": f"It is said that {sentence} the people of the village."}
    source = write(tmp_path / "in.jsonl", [GOOD[1], leaking, GOOD[7]])
    done = clean(tmp_path / "out", source, "--against", exam, seeds)
    assert done.code == 0, done.err
    assert reasons(tmp_path / "out")[1] == "contaminated"
    assert set(reasons(tmp_path / "out")) == {1, 2}
    first = rows(tmp_path / "out/rejected.jsonl")[0]
    assert f"{exam}:1" in first["evidence"]
    assert "geese" in first["evidence"]
    pattern = tmp_path / "*s.jsonl"
    only = clean(tmp_path / "only", source, "--only", "dedup", "--against", pattern)
    assert only.code == 0, only.err
    (rejected,) = rows(tmp_path / "only/rejected.jsonl")
    assert rejected["row"] == 2
    assert rejected["neighbour"] == {"against": f"{seeds}:1", "score": 1.0}


@pytest.mark.parametrize("of_known_layout", [True, False])
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Explique pourquoi le ciel est bleu pendant la journée.", "La lumière est diffusée."),
        ("12 * 12 + 7 = ?", "The result of the two steps is 151."),
        ("什么是 HTTP？", "它是网页所用的协议。"),
    ],
)
def test_a_row_is_known_in_evaluation_files_whatever_its_language(
    tmp_path: Path, question: str, answer: str, of_known_layout: bool
) -> None:
    one = {"instruction": question, "input": "", "output": answer}
    exam = one if of_known_layout else {"id": 1, "question": question, "answer": answer}
    source = write(tmp_path / "in.jsonl", [GOOD[0], one])
    against: list[str | Path] = ["--against", write(tmp_path / "exam.jsonl", [exam])]
    assert clean(tmp_path / "out", source, "--only", "dedup", *against).code == 0
    assert reasons(tmp_path / "out") == {1: "near_duplicate"}


def test_a_conversation_that_ends_in_thanks_has_the_language_of_what_was_said(
    tmp_path: Path,
) -> None:
    talk = turns("from", "value", "human", "gpt")
    thanks = [{"from": "human", "value": "Thx!"}, {"from": "gpt", "value": "Welcome!"}]
    source = write(tmp_path / "in.jsonl", [{"conversations": talk + thanks}])
    assert clean(tmp_path / "out", source).code == 0
    assert summary(tmp_path / "out")["languages"] == {"en": 1}


def test_against_needs_a_file(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", GOOD)
    assert run("clean", source, "--out", tmp_path / "out", "--against").code == 2
    missing = clean(tmp_path / "out", source, "--against", "nowhere/*.jsonl")
    assert missing.code == 2
    assert "nowhere/*.jsonl" in missing.complaint


# ---------------------------------------------------------------------------------- other choices


def test_only_dedup_asks_no_filter(tmp_path: Path) -> None:
    empty = {**GOOD[4], "output": ""}
    source = write(tmp_path / "in.jsonl", [GOOD[0], empty, GOOD[0]])
    assert clean(tmp_path / "out", source, "--only", "dedup", "--lang", "en").code == 0
    assert reasons(tmp_path / "out") == {2: "near_duplicate"}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("filters", {1: "empty_output"}),
        ("contamination", {3: "contaminated"}),
        ("dedup", {2: "near_duplicate"}),
    ],
)
def test_only_one_step(tmp_path: Path, step: str, expected: dict[int, str]) -> None:
    secret = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    exam = write(tmp_path / "exam.jsonl", [{"question": secret, "answer": "No"}])
    leaking = {**GOOD[3], "output": f"They say {secret} at the museum."}
    items = [GOOD[0], {**GOOD[4], "output": ""}, GOOD[0], leaking]
    source = write(tmp_path / "in.jsonl", items)
    against: list[str | Path] = [] if step == "filters" else ["--against", exam]
    assert clean(tmp_path / "out", source, "--only", step, *against).code == 0
    assert reasons(tmp_path / "out") == expected


def test_threshold(tmp_path: Path) -> None:
    near = {**GOOD[2], "instruction": GOOD[2]["instruction"].replace("belong together", "fit in")}
    source = write(tmp_path / "in.jsonl", [GOOD[2], near])
    for threshold, expected in (("0.95", {}), ("0.5", {1: "near_duplicate"})):
        out = tmp_path / threshold
        assert clean(out, source, "--only", "dedup", "--threshold", threshold).code == 0
        assert reasons(out) == expected


def test_exact_finds_copies_only(tmp_path: Path) -> None:
    near = {**GOOD[2], "instruction": GOOD[2]["instruction"].replace("together", "in one room")}
    shouted = {**GOOD[2], "instruction": GOOD[2]["instruction"].upper()}
    source = write(tmp_path / "in.jsonl", [GOOD[2], near, shouted])
    assert clean(tmp_path / "out", source, "--only", "dedup", "--dedup", "exact").code == 0
    assert reasons(tmp_path / "out") == {2: "near_duplicate"}


def test_personal_data_is_flagged_or_masked_only_when_asked(tmp_path: Path) -> None:
    mail = "anna.petrova@mailbox-lindgren.se"
    letter = {**GOOD[1], "output": f"Write to {mail} before the end of the week, please."}
    source = write(tmp_path / "in.jsonl", [GOOD[0], letter])
    for choice in ("off", "flag", "mask"):
        assert clean(tmp_path / choice, source, "--pii", choice).code == 0
    assert (tmp_path / "off/kept.jsonl").read_bytes() == source.read_bytes()
    assert not (tmp_path / "off/flagged.jsonl").exists()
    assert (tmp_path / "flag/kept.jsonl").read_bytes() == source.read_bytes()
    (flagged,) = rows(tmp_path / "flag/flagged.jsonl")
    (finding,) = flagged["findings"]
    assert (flagged["row"], finding["field"]) == (1, "output")
    assert letter["output"][finding["start"] : finding["end"]] == mail
    masked = rows(tmp_path / "mask/kept.jsonl")
    assert masked[0] == GOOD[0]
    assert mail not in masked[1]["output"]
    assert masked[1]["output"].startswith("Write to [")
    for name in ("flag", "mask"):
        assert mail.encode() not in (tmp_path / name / "flagged.jsonl").read_bytes()
        assert summary(tmp_path / name)["flagged"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dedup", "magic"], "--dedup"),
        (["--threshold", "7"], "--threshold"),
        (["--only", "everything"], "--only"),
        (["--pii", "maybe"], "--pii"),
        (["--format", "magic"], "magic"),
        (["--lang", "klingon"], "klingon"),
        (["--profile", "magic"], "magic"),
        (["--profile", "no/such.toml"], "no/such.toml"),
        (["--dedup", "semantic"], "--embed"),
        (["--ngram", "0"], "--ngram"),
        (["--ngram", "9"], "--against"),
        (["--only", "contamination"], "--against"),
        (["--only", "filters", "--threshold", "0.5"], "--threshold"),
        (["--only", "filters", "--dedup", "exact"], "--dedup"),
        (["--only", "filters", "--against", "README.md"], "--against"),
        (["-", "--against", "-"], "twice"),
    ],
)
def test_wrong_options_end_in_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    source = write(tmp_path / "in.jsonl", GOOD)
    done = clean(tmp_path / "out", source, *arguments)
    assert done.code == 2
    assert words in done.complaint
    assert not (tmp_path / "out/kept.jsonl").exists()


def test_inputs_that_are_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    for path in (empty, tmp_path / "missing.jsonl", tmp_path):
        done = clean(tmp_path / "out", path)
        assert done.code == 2
        assert str(path) in done.complaint


def test_it_writes_over_no_input_and_into_no_run(tmp_path: Path) -> None:
    source = write(tmp_path / "kept.jsonl", GOOD)
    before = source.read_bytes()
    done = clean(tmp_path, source)
    assert done.code == 2
    assert source.read_bytes() == before
    (tmp_path / "run").mkdir()
    (tmp_path / "run/journal.jsonl").touch()
    assert clean(tmp_path / "run", source).code == 2


# -------------------------------------------------------------------------------------- explain


def test_explain_says_what_happened_to_a_row(tmp_path: Path) -> None:
    near = {**GOOD[2], "instruction": GOOD[2]["instruction"].replace("together", "in one room")}
    broken = "{never mind"
    source = write(tmp_path / "in.jsonl", [*GOOD[:4], near, {**GOOD[5], "output": ""}, broken])
    assert clean(tmp_path / "out", source).code == 0

    kept = run("explain", tmp_path / "out", "3", "--json").json
    assert (kept["kept"], kept["fields"]) == (True, GOOD[3])
    assert kept["nearest"]["row"] in (0, 1, 2)
    assert all(evidence is None for _name, evidence in kept["filters"])

    repeated = run("explain", tmp_path / "out", "4", "--json").json
    assert repeated["reason"] == "near_duplicate"
    assert repeated["nearest"]["row"] == 2
    assert repeated["nearest_fields"] == GOOD[2]

    empty = run("explain", tmp_path / "out", "5")
    assert empty.code == 0
    assert "empty_output" in empty.out
    unreadable = run("explain", tmp_path / "out", "6")
    assert unreadable.code == 0
    assert "malformed" in unreadable.out
    assert broken in unreadable.out
    for number in ("7", "-1"):
        assert run("explain", tmp_path / "out", number).code == 2
    assert run("explain", tmp_path, "0").code == 2


def test_explain_shows_any_row_and_says_which_filters_were_off(tmp_path: Path) -> None:
    talk = [*turns("from", "value", "human", "gpt"), {"from": "human", "value": "*Thanks* a lot!"}]
    talk.append({"from": "gpt", "value": "It was a pleasure."})
    odd = {**GOOD[2], "output": "Red \x1b[31m and broken \ud800."}
    source = write(tmp_path / "in.jsonl", [json.dumps({"conversations": talk}), json.dumps(odd)])
    assert clean(tmp_path / "out", source).code == 0
    kept = run("explain", tmp_path / "out", "0", "--json").json
    assert kept["kept"]
    assert {name for name, evidence in kept["filters"] if evidence} <= set(kept["off"])
    assert "opening" in kept["off"]
    shown = run("explain", tmp_path / "out", "1")
    assert shown.code == 0, shown.err
    assert "control_characters" in shown.out
    assert "\x1b[31m" not in shown.out


def test_explain_reads_no_evaluation_file_and_says_if_the_profile_has_changed(
    tmp_path: Path,
) -> None:
    exam = write(tmp_path / "exam[1].jsonl", [GOOD[3]])
    profile = tmp_path / "mine.toml"
    profile.write_text('filters = ["empty_output"]\n')
    source = write(tmp_path / "in.jsonl", GOOD)
    settings: list[str | Path] = ["--only", "dedup", "--profile", profile]
    done = clean(tmp_path / "out", source, *settings, "--against", exam)
    assert done.code == 0, done.err
    exam.unlink()
    found = run("explain", tmp_path / "out", "3", "--json").json
    assert found["nearest"] == {"against": f"{exam}:1", "score": 1.0}
    assert found["profile_changed"] is False
    profile.write_text('filters = ["echo"]\n')
    changed = run("explain", tmp_path / "out", "3")
    assert changed.code == 0
    assert "has changed" in changed.out


# ------------------------------------------------------------------------------------ interrupted


def many(path: Path, count: int = 9000) -> Path:
    """More rows than are judged at once; every fifth repeats an earlier one."""
    items = []
    for number in range(count):
        one = row(number) if number % 5 else row(number // 2 // 5 * 5 + 1)
        items.append({**one, "output": f"{one['output']} Number {number}."})
    return write(path, items)


CHILD = """
import os, signal, sys
from selfinstruct.cleaning import corridor
from selfinstruct.cleaning.parts import Parts
checkpoint, publish, write = Parts.checkpoint, Parts.publish, Parts.write
count, moment = 0, sys.argv[1]
corridor._CHECKPOINT = 1e9 if moment == "unsaved" else 0.0
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def checkpointed(self, state):
    global count
    checkpoint(self, state)
    count += 1
    if str(count) == moment:
        # What is written after the checkpoint is not vouched for.
        self.write("kept.jsonl", b'{"half": ')
        for file in self._files.values():
            file.flush()
        die()
Parts.checkpoint = checkpointed
if moment in ("publish", "unsaved"):
    Parts.publish = die
sys.argv = ["selfinstruct", *sys.argv[2:]]
from selfinstruct.cli import app
app()
"""


@pytest.mark.parametrize("moment", ["1", "3", "publish"])
def test_killed_it_goes_on_and_gives_the_same_bytes(tmp_path: Path, moment: str) -> None:
    source = many(tmp_path / "in.jsonl")
    assert clean(tmp_path / "whole", source).code == 0
    command = ["clean", str(source), "--out", str(tmp_path / "out"), "--quiet"]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, moment, *command], cwd=ROOT, env=environment(), check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "out/kept.jsonl").exists()
    done = run("clean", source, "--out", tmp_path / "out")
    assert done.code == 0
    assert "going on after" in done.err
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_checkpoint_of_another_input_is_not_gone_on_from(tmp_path: Path) -> None:
    source = many(tmp_path / "in.jsonl")
    command = ["clean", str(source), "--out", str(tmp_path / "out"), "--quiet"]
    subprocess.run([sys.executable, "-c", CHILD, "2", *command], cwd=ROOT, env=environment())
    write(source, GOOD)
    assert clean(tmp_path / "out", source).code == 0
    assert clean(tmp_path / "whole", source).code == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def killed_at(moment: str, *arguments: str | Path) -> None:
    """Run the command until it kills itself there."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, moment, *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        check=False,
    )
    assert child.returncode == -signal.SIGKILL


def test_a_checkpoint_does_not_vouch_for_what_another_clean_wrote(tmp_path: Path) -> None:
    first, out = many(tmp_path / "first.jsonl"), tmp_path / "out"
    longer = [{**one, "note": "x" * 300} for one in rows(first)]
    second = write(tmp_path / "second.jsonl", longer)
    killed_at("1", "clean", first, "--out", out, "--quiet")
    killed_at("unsaved", "clean", second, "--out", out, "--quiet")
    assert clean(out, first).code == 0
    assert clean(tmp_path / "whole", first).code == 0
    assert files(out) == files(tmp_path / "whole")


def test_files_of_an_earlier_clean_do_not_stay_beside_new_ones(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in.jsonl", GOOD), tmp_path / "out"
    assert clean(out, source, "--pii", "flag").code == 0
    assert (out / "flagged.jsonl").exists()
    assert clean(out, source).code == 0
    assert sorted(files(out)) == ["kept.jsonl", "rejected.jsonl", "summary.json"]


@pytest.mark.parametrize("arguments", [["no/such.jsonl"], ["{}", "--against", "no/such.jsonl"]])
def test_a_refused_clean_leaves_no_directory(tmp_path: Path, arguments: list[str]) -> None:
    source = write(tmp_path / "in.jsonl", GOOD)
    given = [one.replace("{}", str(source)) for one in arguments]
    assert clean(tmp_path / "out", *given).code == 2
    assert not (tmp_path / "out").exists()


def test_rows_are_compared_as_they_are_kept_with_personal_data_masked(tmp_path: Path) -> None:
    """Also by a process that goes on, which sees only what is kept."""
    mails = ("max.moe.of.the.north@mail.uni-bonn.de", "li@gmail.com")
    first, last = ({**GOOD[0], "instruction": f"Write to {mail} and ask."} for mail in mails)
    source = write(tmp_path / "in.jsonl", [first, *rows(many(tmp_path / "many.jsonl")), last])
    command: list[str | Path] = [source, "--pii", "mask", "--lang", "en"]
    assert clean(tmp_path / "whole", *command).code == 0
    killed_at("1", "clean", *command, "--out", tmp_path / "out", "--quiet")
    assert clean(tmp_path / "out", *command).code == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert reasons(tmp_path / "out")[9001] == "near_duplicate"
    again = ["--pii", "mask", "--lang", "en"]
    assert clean(tmp_path / "again", tmp_path / "out/kept.jsonl", *again).code == 0
    assert summary(tmp_path / "again")["rejected"] == {}


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    source = many(tmp_path / "in.jsonl", 3000)

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = run("clean", source, "--out", tmp_path / "out", before=small_disk)
    assert done.code == 4
    assert "space" in done.complaint
    assert not (tmp_path / "out").exists()
    assert clean(tmp_path / "out", source).code == 0


def garbage() -> Sequence[bytes]:
    deep = b'{"instruction": ' + b"[" * 100_000 + b"]" * 100_000 + b', "input": "", "output": "x"}'
    long = json.dumps({**GOOD[0], "output": "a b c d " * 300_000}).encode()
    return [
        b"\xef\xbb\xbf" + json.dumps(GOOD[1]).encode() + b"\r",
        deep,
        long,
        b"\xff\xfe\x00garbage",
        json.dumps({**GOOD[2], "input": "\x00\ud800\u2028"}).encode(),
        json.dumps({**GOOD[3], "output": "你好".encode("gbk").decode("latin-1")}).encode(),
        '{"instruction": "你好"'.encode("gbk"),
        b"[]",
        b"null",
        b'"text"',
        b"",
        b'{"instruction": NaN, "input": "", "output": ""}',
        json.dumps(GOOD[4]).encode(),
    ]


def test_garbage_in_every_field(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\n".join(garbage()))
    done = clean(tmp_path / "out", source)
    assert done.code == 0, done.err
    stated = summary(tmp_path / "out")
    assert stated["rows"] == len(garbage()) - 1  # A blank line is no row.
    kept = rows(tmp_path / "out/kept.jsonl")
    assert GOOD[1] in kept
    assert GOOD[4] in kept
    assert clean(tmp_path / "again", tmp_path / "out/kept.jsonl").code == 0
    assert summary(tmp_path / "again")["rejected"] == {}
