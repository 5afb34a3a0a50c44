"""What the novelty pool costs, beside rouge-score, and whether the two decide alike.

Enters: --rows N; instructions of ../shared/data where that folder is present, else made-up ones.
Leaves: printed figures; exit code 1 when a decision differs from rouge-score's. Writes nothing.
English tokens are rouge-score's; Chinese ones are those of the package's own language.

    python -m benchmarks.novelty --rows 5000
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from rouge_score import rouge_scorer
from rouge_score import tokenize as rouge_tokenize

from selfinstruct.dedup import NoveltyPool
from selfinstruct.languages import get_language
from selfinstruct.records import Neighbour

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
THRESHOLD = 0.7
CHECKED = 300  # rows compared with a greedy pass of rouge-score
SAMPLED = 5_000  # pairs that rouge-score is timed on
LAST = 2_000  # candidates whose times stand for "at full pool"

Tokenize = Callable[[str], Sequence[str]]


def english(text: str) -> list[str]:
    """rouge-score's default tokens, no stemmer."""
    tokens: list[str] = rouge_tokenize.tokenize(text, None)
    return tokens


def chinese(text: str) -> Sequence[str]:
    """The package's own Chinese tokens."""
    return get_language("zh").tokenize(text)


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer in the shape that RougeScorer takes."""

    tokenize: Tokenize


@dataclass(frozen=True)
class Pass:
    """One streaming pass. seconds: wall; cpu: seconds; each: seconds a candidate, in order."""

    seconds: float
    cpu: float
    each: list[float]
    pairs: int
    kept: list[str]


def instructions(name: str, count: int, vocabulary: Sequence[str], joint: str) -> list[str]:
    """The first `count` instructions of a shared file, or as many made-up ones."""
    path = DATA / name
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line)["instruction"] for line in islice(lines, count)]
    print(f"{path} is not here: made-up rows")
    rng = random.Random(7)
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    rows: list[str] = []
    while len(rows) < count:
        words = rng.choices(vocabulary, weights, k=rng.randint(4, 20))
        if rows and rng.random() < 0.1:  # a near-duplicate, so that both verdicts occur
            words = [rng.choice(rows), words[0]]
        rows.append(joint.join(words))
    return rows


def stream(rows: Sequence[str], tokenize: Tokenize) -> Pass:
    """nearest, then add if it is not a duplicate, for each row in turn."""
    pool = NoveltyPool(tokenize, THRESHOLD)
    each: list[float] = []
    kept: list[str] = []
    pairs = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for i, row in enumerate(rows):
        pairs += len(pool)
        start = time.perf_counter()
        found = pool.nearest(row)
        if found is None or not pool.is_duplicate(found.rouge_l):
            pool.add(str(i), row)
            kept.append(row)
        each.append(time.perf_counter() - start)
    return Pass(time.perf_counter() - wall, time.process_time() - cpu, each, pairs, kept)


def peak_megabytes(kept: Sequence[str], tokenize: Tokenize) -> float:
    """Peak of a rebuilt pool and a few look-ups in it, in MB of traced allocations.

    A pass of its own: tracing would slow the timed one. The texts themselves are not counted,
    since the pool does not hold them.
    """
    tracemalloc.start()
    pool = NoveltyPool(tokenize, THRESHOLD)
    for i, row in enumerate(kept):
        pool.add(str(i), row)
    for row in kept[:100]:
        pool.nearest(row)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def rouge_microseconds(rows: Sequence[str], tokenize: Tokenize) -> tuple[float, float]:
    """rouge-score's CPU time a pair in µs: (score(), its LCS alone on ready tokens)."""
    rng = random.Random(11)
    pairs = [rng.sample(rows, 2) for _ in range(SAMPLED)]
    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Tokenizer(tokenize))
    start = time.process_time()
    for target, prediction in pairs:
        scorer.score(target, prediction)
    whole = time.process_time() - start
    ready = [(tokenize(target), tokenize(prediction)) for target, prediction in pairs]
    start = time.process_time()
    for tokens in ready:
        rouge_scorer._score_lcs(*tokens)
    return whole / SAMPLED * 1e6, (time.process_time() - start) / SAMPLED * 1e6


def differences(rows: Sequence[str], tokenize: Tokenize) -> tuple[int, int, int]:
    """(rows compared, duplicates among them, rows with another neighbour or score).

    Half of the rows follow each other from a random place and half are the same ones cut short,
    because rows that were published after deduplication hold no duplicates.
    """
    rng = random.Random(13)
    start = rng.randrange(max(1, len(rows) - CHECKED // 2))
    part = list(rows[start : start + CHECKED // 2])
    part += [row[: -rng.randint(1, max(1, len(row) // 2))] for row in part]
    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Tokenizer(tokenize))
    pool, kept = NoveltyPool(tokenize, THRESHOLD), list[tuple[str, str]]()
    duplicates = wrong = 0
    for i, row in enumerate(part):
        scores = [scorer.score(text, row)["rougeL"].fmeasure for _, text in kept]
        best = max(scores, default=0.0)
        expected = Neighbour(kept[scores.index(best)][0], best) if kept else None
        wrong += pool.nearest(row) != expected
        if best > THRESHOLD:
            duplicates += 1
        else:
            kept.append((str(i), row))
            pool.add(str(i), row)
    return len(part), duplicates, wrong


def measure(title: str, rows: Sequence[str], tokenize: Tokenize) -> bool:
    """Print every figure for one language; whether all decisions agreed."""
    done = stream(rows, tokenize)
    milliseconds = np.array(done.each) * 1e3
    middle, high = np.percentile(milliseconds[-LAST:], [50, 99])
    scored, lcs = rouge_microseconds(rows, tokenize)
    compared, duplicates, wrong = differences(rows, tokenize)
    print(f"{title}: {len(rows):,} rows, {len(done.kept):,} kept")
    print(f"  pass                {done.seconds:.2f} s wall, {done.cpu:.2f} s CPU")
    print(f"  a candidate         {milliseconds.mean():.3f} ms mean")
    print(f"  the last {LAST:,}      {middle:.3f} ms p50, {high:.3f} ms p99")
    print(f"  pairs decided       {done.pairs:,} ({done.pairs / done.seconds:.3g} a second)")
    print(f"  memory of the pool  {peak_megabytes(done.kept, tokenize):.1f} MB peak")
    for name, each in [("rouge-score", scored), ("its LCS alone", lcs)]:
        hours = each * done.pairs / 1e6 / 3600
        ratio = each * done.pairs / 1e6 / done.cpu
        print(f"  {name:<18}  {each:.1f} µs a pair: {hours:.1f} CPU-hours, {ratio:,.0f}x the pass")
    print(f"  against rouge-score {compared} rows, {duplicates} duplicates, {wrong} differ")
    return wrong == 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The novelty pool beside rouge-score.")
    parser.add_argument("--rows", type=int, default=52_002, help="rows of each file")
    count: int = parser.parse_args(arguments).rows
    if count < 2:
        parser.error("--rows must be at least 2")
    words = [f"w{i}" for i in range(14_000)]
    ideographs = [chr(0x4E00 + i) for i in range(3_000)]
    en = instructions("alpaca_en_52k.jsonl.gz", count, words, " ")
    zh = instructions("alpaca_zh_52k.jsonl.gz", count, ideographs, "")
    agreed = [measure("English", en, english), measure("Chinese", zh, chinese)]
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    sys.exit(main())
