"""What the cleaning filters find in the published rows, what they cost; samples to judge by eye.

Enters: ../shared/data, or --data. Leaves: printed figures and rows. Writes nothing. How
many of a sample are right is for a reader to say (docs/design/filters.md).

    python -m benchmarks.filters                       # hits and cost of every class
    python -m benchmarks.filters --sample 50 --class repetition --lang en
    python -m benchmarks.filters --known               # defects counted by other means: recall
    python -m benchmarks.filters --languages           # detection: accuracy and cost
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

from selfinstruct.assets import asset_path
from selfinstruct.detection import detect, row_language
from selfinstruct.filters import CLEANING
from selfinstruct.languages import Language, get_language
from selfinstruct.profiles import PROFILES, Profile, default_profile, load_profile
from selfinstruct.records import Task, Verdict

Row = TypeVar("Row")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEED = 7
# Defects as DESIGN §6 counts them, found without the filters: what it is, who should say so.
KNOWN: dict[str, tuple[Callable[[Task], object], tuple[str, ...]]] = {
    "empty output": (lambda task: not task.output.strip(), ("empty_output",)),
    "input == output": (
        lambda task: task.input.strip() and task.input.strip() == task.output.strip(),
        ("echo", "placeholder"),
    ),
    "next task in the output": (
        lambda task: re.search(r"\n\W*\d+\. ?Instruction", task.output),
        ("label_debris", "merged_task"),
    ),
    "placeholder output": (
        lambda task: re.fullmatch(
            r"\W*(?:no ?output\b.{0,20}|n/?a|none|insert\b.*)\W*", task.output.strip(), re.I
        ),
        ("placeholder", "attachment", "declined"),
    ),
    "placeholder input": (
        lambda task: re.fullmatch(
            r"[\[<(][^\])>]*(?:insert|link|attach|here|image|photo|picture)[^\])>]*[\])>]\.?",
            task.input.strip(),
            re.I,
        ),
        ("placeholder", "attachment", "linked_input"),
    ),
    "input with an address, little else": (
        lambda task: (
            re.search(r"https?://|www\.", task.input)
            and len(re.sub(r"(?:https?://|www\.)\S+", "", task.input).split()) <= 3
        ),
        ("url_input", "linked_input"),
    ),
}


def rows_of(folder: Path, lang: str) -> list[Task]:
    with gzip.open(folder / f"alpaca_{lang}_52k.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [Task(**json.loads(line)) for line in lines]


def checks_of(language: Language) -> dict[str, Callable[[Task], Verdict | None]]:
    """Every class that may reject a row in the language."""
    names = (*CLEANING, *(name for name in language.checks if name not in CLEANING))
    return {name: partial(_ask, name, language) for name in names}


def _ask(name: str, language: Language, task: Task) -> Verdict | None:
    common, own = CLEANING.get(name), language.checks.get(name)
    return (common and common(task, language)) or (own and own(task)) or None


def table(lang: str, tasks: Sequence[Task]) -> None:
    """Hits and microseconds a row of every class, then of the profiles."""
    language = get_language(lang)
    detect("Warum ist das so?")  # loads the model, which is no row's cost
    for name, check in checks_of(language).items():
        hits, each = _timed(check, tasks)
        print(f"{lang} {name:20} {hits:6,} hits {each:7.1f} µs a row")
    _, each = _timed(json.loads, [json.dumps(asdict(task)) for task in tasks])
    print(f"{lang} for scale, json.loads of a row: {each:.1f} µs")
    for name in PROFILES:
        profile = load_profile(asset_path("profiles", f"{name}.toml").read_bytes(), name)
        default = " (default)" if name == default_profile(lang) else ""
        hits, each = _timed(partial(_judge, profile, language), tasks)
        print(f"{lang} profile {name}{default}: {hits:,} hits, {each:.1f} µs a row")


def _judge(profile: Profile, language: Language, task: Task) -> Verdict | None:
    return profile.objection(task, language)


def _timed(check: Callable[[Row], object], tasks: Sequence[Row]) -> tuple[int, float]:
    check(tasks[0])
    start = time.process_time()
    hits = sum(check(task) is not None for task in tasks)
    return hits, (time.process_time() - start) / len(tasks) * 1e6


def sample(lang: str, tasks: Sequence[Task], name: str, count: int) -> None:
    """`count` rejected rows of one class, drawn with a fixed seed, in the file's order."""
    check = checks_of(get_language(lang))[name]
    found = [(i, verdict) for i, task in enumerate(tasks) if (verdict := check(task))]
    chosen = sorted(random.Random(SEED).sample(range(len(found)), min(count, len(found))))
    print(f"{lang} {name}: {len(found):,} hits, {len(chosen)} shown")
    for i, verdict in (found[k] for k in chosen):
        print(f"\n[{i}] {verdict.evidence}")
        for field in ("instruction", "input", "output"):
            text = getattr(tasks[i], field)
            print(f"  {field}: {text if len(text) <= 600 else f'{text[:300]} […] {text[-300:]}'!r}")


def known(lang: str, tasks: Sequence[Task]) -> None:
    """Of the defects that are counted without the filters: how many the filters find."""
    checks = checks_of(get_language(lang))
    for title, (is_defect, names) in KNOWN.items():
        defects = [task for task in tasks if is_defect(task)]
        found = sum(any(checks[name](task) for name in names) for task in defects)
        print(f"{lang} {title}: {found} of {len(defects)} found by {', '.join(names)}")


def languages(lang: str, tasks: Sequence[Task]) -> None:
    """Accuracy of the detection on instructions (of four words or more), and its cost."""
    texts = [task.instruction for task in tasks]
    if lang == "en":
        texts = [text for text in texts if len(text.split()) >= 4]
    detect("Warum ist das so?")
    for title, ask, given in (("detect", detect, texts), ("row_language", row_language, tasks)):
        start = time.process_time()
        said = Counter(map(ask, given))  # type: ignore[arg-type]
        each = (time.process_time() - start) / len(given) * 1e6
        right = said[lang] / len(given)
        common = dict(said.most_common(4))
        print(f"{lang} {title}: {len(given):,}, {right:.4%} right, {each:.1f} µs each, {common}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The cleaning filters on the published rows.")
    parser.add_argument("--lang", choices=("en", "zh"), action="append")
    parser.add_argument("--sample", type=int, default=50, help="rows shown of --class")
    parser.add_argument("--class", dest="name", help="show rejected rows of this class")
    parser.add_argument("--known", action="store_true")
    parser.add_argument("--languages", action="store_true")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the rows")
    given = parser.parse_args(arguments)
    if not given.data.exists():
        print(f"{given.data} is not here: nothing to measure")
        return 0
    for lang in given.lang or ("en", "zh"):
        tasks = rows_of(given.data, lang)
        if given.name:
            if given.name not in checks_of(get_language(lang)):
                parser.error(f"--class: known are {', '.join(checks_of(get_language(lang)))}")
            sample(lang, tasks, given.name, given.sample)
        elif given.known:
            known(lang, tasks)
        elif given.languages:
            languages(lang, tasks)
        else:
            table(lang, tasks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
