"""`selfinstruct clean`: its speed beside rouge-score's, its decisions, its growth.

    python -m benchmarks.clean                          # the whole files, seconds and memory
    python -m benchmarks.clean --slices 3               # beside brute force; 20 minutes
    python -m benchmarks.clean --grow 50000 1000000     # made rows with planted duplicates

Needs the rows in ../shared/data.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rouge_score import rouge_scorer

from selfinstruct.languages import get_language

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
FILES = {"en": "alpaca_en_52k.jsonl.gz", "zh": "alpaca_zh_52k.jsonl.gz"}
THRESHOLD = 0.7
SLICE = 5000
SAMPLED = 4000
# One row in so many is a near copy of an earlier one.
PLANTED = 100


@dataclass(frozen=True)
class Cleaned:
    """seconds: wall. cpu: seconds. memory: peak of the process in MiB. rejected: by row number,
    the row that it repeats."""

    seconds: float
    cpu: float
    memory: int
    rows: int
    rejected: dict[int, int]


def instructions(lang: str) -> list[str]:
    with gzip.open(DATA / FILES[lang], "rt", encoding="utf-8") as lines:
        return [json.loads(line)["instruction"] for line in lines]


def clean(path: Path, *arguments: str) -> Cleaned:
    """Run the command in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "selfinstruct", "clean", str(path), "--out", out]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        begun = time.perf_counter()
        process = subprocess.Popen([*command, "--quiet", *arguments], cwd=ROOT, env=environment,
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        _pid, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit("clean failed")
        seconds = time.perf_counter() - begun
        rows: int = json.loads((Path(out) / "summary.json").read_bytes())["rows"]
        with (Path(out) / "rejected.jsonl").open("rb") as lines:
            verdicts = [json.loads(line) for line in lines]
    rejected = {one["row"]: one.get("neighbour", {}).get("row", -1) for one in verdicts}
    return Cleaned(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss >> 10, rows, rejected)


def whole(lang: str) -> None:
    """The published file: dedup alone, then everything."""
    texts = instructions(lang)
    microseconds = rouge_microseconds(texts, lang)
    done = clean(DATA / FILES[lang], "--only", "dedup", "--lang", lang)
    kept = 0
    pairs = 0
    for number in range(done.rows):
        pairs += kept
        kept += number not in done.rejected
    ratio = microseconds * pairs / 1e6 / done.cpu
    print(f"{lang}: {done.rows:,} rows, {kept:,} kept")
    print(f"  --only dedup        {done.seconds:.1f} s wall, {done.cpu:.1f} s CPU, all included")
    print(f"  pairs decided       {pairs:,} ({pairs / done.cpu:.3g} a CPU second)")
    print(f"  memory              {done.memory} MiB peak of the process")
    print(f"  rouge-score         {microseconds:.1f} µs a pair: {ratio:,.0f} x the CPU time")
    done = clean(DATA / FILES[lang])
    share = done.seconds / done.rows * 1e6
    print(f"  everything          {done.seconds:.1f} s wall, {share:.0f} µs a row, "
          f"{done.memory} MiB, {len(done.rejected):,} rejected")  # fmt: skip


def rouge_microseconds(texts: Sequence[str], lang: str) -> float:
    """CPU time of rouge-score's score() for a pair."""
    rng = random.Random(11)
    pairs = [rng.sample(texts, 2) for _ in range(SAMPLED)]
    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=_Tokenizer(lang))
    begun = time.process_time()
    for target, prediction in pairs:
        scorer.score(target, prediction)
    return (time.process_time() - begun) / SAMPLED * 1e6


class _Tokenizer:
    """A language's tokens in the shape that RougeScorer takes."""

    def __init__(self, lang: str) -> None:
        self.tokenize = get_language(lang).tokenize


def brute_force(job: tuple[str, list[str]]) -> list[int]:
    """Rows that rouge-score rejects, each compared with every earlier kept one, except where the
    lengths alone rule it out: 2·min(m, n) / (m + n) <= 0.7 cannot be above 0.7."""
    lang, texts = job
    tokenize = get_language(lang).tokenize
    kept: list[list[str]] = []
    rejected = []
    for number, text in enumerate(texts):
        tokens = list(tokenize(text))
        n = len(tokens)
        if any(
            2 * min(len(other), n) > THRESHOLD * (len(other) + n) * (1 - 1e-9)
            and rouge_scorer._score_lcs(other, tokens).fmeasure > THRESHOLD
            for other in kept
        ):
            rejected.append(number)
        else:
            kept.append(tokens)
    return rejected


def slices(lang: str, count: int) -> bool:
    """Random slices through the command and through rouge-score; whether all decisions agree."""
    texts = instructions(lang)
    rng = random.Random(17)
    starts = [rng.randrange(len(texts) - SLICE) for _ in range(count)]
    parts = [texts[start : start + SLICE] for start in starts]
    agreed = True
    with ProcessPoolExecutor(2) as pool, tempfile.TemporaryDirectory() as folder:
        references = pool.map(brute_force, [(lang, part) for part in parts])
        for start, part, reference in zip(starts, parts, references, strict=True):
            path = Path(folder) / "slice.jsonl"
            path.write_text("".join(_line(text) for text in part), "utf-8")
            ours = sorted(clean(path, "--only", "dedup", "--lang", lang).rejected)
            agreed &= ours == reference
            print(f"{lang} rows {start:,}–{start + SLICE:,}: rouge-score rejects {len(reference)}, "
                  f"we {len(ours)}, {'the same' if ours == reference else 'NOT THE SAME'}",
                  flush=True)  # fmt: skip
    return agreed


def _line(text: str) -> str:
    return json.dumps({"instruction": text, "input": "", "output": "x"}) + "\n"


def made(count: int, planted: dict[int, int]) -> Iterator[str]:
    """Rows recombined from the published ones, novel by their count of words of their own: with
    n shared words and more than 0.45 n others F stays below 0.7. Near copies go into `planted`."""
    word = re.compile(r"[a-z0-9]+")
    base = [word.findall(text.lower()) for text in instructions("en")]
    rng = random.Random(1)
    serial = 0
    earlier: list[tuple[int, list[str]]] = []
    for number in range(count):
        if number % PLANTED == PLANTED - 1:
            original, words = rng.choice(earlier)
            words = list(words)
            words[rng.randrange(len(words))] = f"n{serial}"
            serial += 1
            planted[number] = original
        else:
            first, second = rng.choice(base), rng.choice(base)
            words = first[: (len(first) + 1) // 2] + second[len(second) // 2 :]
            for _ in range(int(0.45 * len(words)) + 1):
                words.insert(rng.randrange(len(words) + 1), f"n{serial}")
                serial += 1
            # A sample is enough, and what is short is no near copy with a word changed.
            if len(words) >= 8 and number % 7 == 0:
                earlier.append((number, words))
        yield _line(" ".join(words))


def grow(count: int) -> bool:
    """Whether exactly the planted rows of a made file are found."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.jsonl"
        planted: dict[int, int] = {}
        with path.open("w") as file:
            file.writelines(made(count, planted))
        done = clean(path, "--only", "dedup", "--lang", "en")
    right = done.rejected == planted
    print(f"{count:>9,} rows: {done.seconds:7.1f} s, {done.seconds / count * 1e6:5.0f} µs a row, "
          f"{done.memory:,} MiB, {len(planted):,} planted, {len(done.rejected):,} found"
          f"{'' if right else ': NOT THE SAME'}", flush=True)  # fmt: skip
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=0)
    parser.add_argument("--grow", type=int, nargs="+", default=[])
    options = parser.parse_args()
    if not all((DATA / name).exists() for name in FILES.values()):
        print(f"{DATA} is not here: nothing to measure with")
        return 0
    if options.slices:
        return 0 if all(list(map(partial(slices, count=options.slices), FILES))) else 1
    if options.grow:
        return 0 if all(list(map(grow, options.grow))) else 1
    for lang in FILES:
        whole(lang)
    return 0


if __name__ == "__main__":
    sys.exit(main())
