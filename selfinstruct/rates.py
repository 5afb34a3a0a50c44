"""What one language's requests give and take: assumed from published rows, or measured by a probe.

Enters: a Track; the replies that a probe bought. Leaves: Rates, each with its basis. Pure. Knows no
price, no clock and no journal.

Without a probe the figures rest on what was measured once, on the 52,002 published Alpaca rows and
their Chinese translation, in their order (../shared/data): a `Judge` with our seeds over
`Candidate(request, 0, Task(...))` of each row. English rows have 353 characters (60 instruction, 23
input, 270 output), Chinese ones 110 (17, 8, 84). `_FALL` is the share kept of the Chinese rows by
pool size; 0.99 of the English rows were kept at every size, since they had passed the same ROUGE-L
rule when they were made: they cannot say how novelty gets scarcer. What a model really gives is an
assumption, with a wide range: a probe is worth its price.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from selfinstruct.plan import Track
from selfinstruct.records import Reply

# Prompts that are really built to see how long they are.
_SAMPLE = 50
# Where a step of the pool's growth ends does not matter much: 200 of them.
_STEPS = 200
# Two standard deviations of a normal distribution hold 95 %.
_Z = 1.96


class Range(NamedTuple):
    """From the cheapest run to the dearest one; inf where there is no telling."""

    low: float
    likely: float
    high: float


# Tokens for a character, likely: OpenAI's rule of thumb of 4 English characters a token, and one
# token an ideograph (GPT-4's tokenizer). low: 4.9 characters (SmolLM2's tokenizer on 72 of the
# published rows) and 1.4 ideographs a token (GPT-4o's, openai.com/index/hello-gpt-4o).
_PER_LETTER = Range(1 / 4.9, 1 / 4, 1 / 3.5)
_PER_IDEOGRAPH = Range(1 / 1.4, 1.0, 1.3)
_PLAIN = "characters ÷ 4, ideographs ÷ 1"
# Characters of a published row, and tokens of labels or JSON around it (22 and 15 by SmolLM2's).
_ROW = {False: 353, True: 110}
_AROUND = {False: 22, True: 15}
# Later models write longer answers than text-davinci-003: an assumption.
_LONGER = Range(0.8, 1.0, 1.6)
# An answer in another language has about as many tokens: 353 ÷ 4 and 110 for the same rows.
_TRANSLATION = Range(0.8, 1.1, 1.6)
# The share of the tasks asked for that a reply really holds: an assumption.
_GIVEN = Range(1.0, 0.9, 0.6)
# The share of the candidates that is kept while the pool is small: at best that of the published
# rows, else an assumption.
_KEPT = {False: Range(0.99, 0.85, 0.6), True: Range(0.91, 0.8, 0.6)}
_TRANSLATED = Range(0.98, 0.9, 0.7)
# Pool size → share kept of the published Chinese rows around it.
_FALL = (
    (500, 0.909), (1500, 0.903), (3500, 0.864), (7500, 0.849), (15_000, 0.839), (27_500, 0.827),
    (43_500, 0.808),
)  # fmt: skip
# They had no duplicates in English. How many times as steep a model's own rows fall is before.
_STEEPER = Range(1.0, 2.0, 4.0)
_LEAST_SHARE = 0.02


def tokens_of(text: str) -> Range:
    """Estimated from characters.

    >>> tokens_of("Four score and seven years ago, ").likely, tokens_of("三原色是什么？").likely
    (8.0, 6.25)
    """
    ideographs = sum(_is_ideograph(c) for c in text)
    letters = len(text) - ideographs
    return each(lambda a, b: a * letters + b * ideographs, _PER_LETTER, _PER_IDEOGRAPH)


def _is_ideograph(c: str) -> bool:
    # CJK unified, with extension A, and kana and hangul, which take about as many tokens.
    return "\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3"


def each(function: Callable[..., float], *ranges: Range) -> Range:
    """The function of all low ends, of all likely ones, of all high ends."""
    return Range(*(function(*ends) for ends in zip(*ranges, strict=True)))


def wilson(hits: int, trials: int) -> Range:
    """A share with its 95 % interval (Wilson 1927), the high end of the share first."""
    if not trials:
        return Range(1.0, 0.0, 0.0)
    share, square = hits / trials, _Z**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    spread = math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    spread *= _Z / (1 + square / trials)
    return Range(min(1.0, middle + spread), share, max(0.0, middle - spread))


def novelty(pool: float) -> float:
    """The share kept of the published Chinese rows at a pool of so many, 1.0 at the smallest; in
    between and beyond on straight lines over the logarithm."""
    sizes = [math.log(size) for size, _share in _FALL]
    at = math.log(max(pool, _FALL[0][0]))
    right = min(max(1, bisect_left(sizes, at)), len(_FALL) - 1)
    (x, y), (x2, y2) = ((sizes[i], _FALL[i][1]) for i in (right - 1, right))
    share = y + (y2 - y) * (at - x) / (x2 - x)
    return max(share, _LEAST_SHARE) / _FALL[0][1]


@dataclass(frozen=True)
class Rates:
    """What one language's requests give and take. Every Range is from cheap to dear: that of
    tasks and kept falls.

    wanted: rows. most: requests there can be, None for no end. kept: share of the candidates at a
    pool of `pool` rows. prompt, completion: tokens a request. falls: novelty gets scarcer.
    requests, prompt_so_far, completion_so_far, pool: what is there already.
    """

    lang: str
    wanted: int
    most: int | None
    tasks: Range
    tasks_basis: str
    kept: Range
    kept_basis: str
    falls: bool
    prompt: Range
    prompt_basis: str
    completion: Range
    completion_basis: str
    pool: int = 0
    requests: int = 0
    prompt_so_far: int = 0
    completion_so_far: int = 0

    def more(self) -> Range:
        """Requests still to be sent."""
        if self.most is not None and self.wanted >= self.most:
            rest = float(max(0, self.most - self.requests))
            return Range(rest, rest, rest)
        found = each(self._needed, self.tasks, self.kept, _STEEPER)
        if self.most is None:
            return found
        return each(lambda needed: min(needed, float(self.most or 0) - self.requests), found)

    def _needed(self, tasks: float, kept: float, steeper: float) -> float:
        missing = max(0, self.wanted - self.pool)
        if not missing:
            return 0.0
        if not tasks or not kept:
            return math.inf
        if not self.falls:
            return math.ceil(missing / (tasks * kept))
        step, start = missing / _STEPS, novelty(self.pool)
        candidates = 0.0
        for index in range(_STEPS):
            fallen = (novelty(self.pool + (index + 0.5) * step) / start) ** steeper
            candidates += step / max(kept * fallen, min(kept, _LEAST_SHARE))
        return math.ceil(candidates / tasks)


def assumed(track: Track) -> Rates:
    """From the prompts as they will be sent, and what was measured on published rows."""
    config = track.config
    translated = track.recipe.requests is not None
    most = track.recipe.requests
    count = min(_SAMPLE, most or _SAMPLE)
    asked = [track.prompt(index * (most or count) // count).text for index in range(count)]
    prompt = _mean(map(tokens_of, asked))
    ideographs = sum(map(_is_ideograph, "".join(asked))) > 0.2 * sum(map(len, asked))
    around = _AROUND[config.structured]
    if translated:
        rows = [track.source[index * len(track.source) // count].task for index in range(count)]
        row = _mean(tokens_of(task.instruction + task.input + task.output) for task in rows)
        task_tokens = each(lambda a, b: a * b + around, row, _TRANSLATION)
        tasks, kept = Range(1.0, 1.0, 1.0), _TRANSLATED
        tasks_basis = "one row of the source a request"
        kept_basis = "assumed: what checks of the translation leave"
        basis = "as many tokens as the rows of the source"
    else:
        size = _ROW[ideographs]
        unit = _PER_IDEOGRAPH if ideographs else _PER_LETTER
        task_tokens = each(lambda a, b: size * a * b + around, unit, _LONGER)
        # What does not fit into --max-tokens is cut off.
        tasks = each(
            lambda share, tokens: min(track.tasks * share, config.max_tokens / tokens),
            _GIVEN,
            task_tokens,
        )
        tasks_basis = f"assumed: 60 to 100 % of the {track.tasks} asked for"
        kept, kept_basis = _KEPT[ideographs], "assumed; falls as the pool grows"
        basis = f"published rows have {size} characters; {_PLAIN}"
    completion = each(lambda a, b: min(config.max_tokens, a * b), tasks, task_tokens)
    choices = 1 if translated else config.choices
    return Rates(
        lang=track.lang,
        wanted=track.wanted,
        most=most,
        tasks=each(lambda a: a * choices, tasks),
        tasks_basis=tasks_basis + (f", {choices} answers each" if choices > 1 else ""),
        kept=kept,
        kept_basis=kept_basis,
        falls=not translated,
        prompt=prompt,
        prompt_basis=f"{count} prompts built: {_PLAIN}",
        completion=each(lambda a: a * config.choices, completion),
        completion_basis=basis,
    )


def _mean(ranges: Iterable[Range]) -> Range:
    return Range(*(statistics.fmean(ends) for ends in zip(*ranges, strict=True)))


def measured(track: Track, replies: Sequence[Reply], counts: Mapping[str, int]) -> Rates:
    """From what was bought: the language's replies, and its counts in the manifest."""
    kept, candidates, decided = (counts[name] for name in ("kept", "candidates", "requests"))
    tasks = candidates / decided if decided else 0.0
    before = assumed(track)
    said = [r for r in replies if r.prompt_tokens is not None and r.completion_tokens is not None]
    prompts = [float(r.prompt_tokens or 0) for r in said]
    completions = [float(r.completion_tokens or 0) for r in said]
    spread = 0.0
    if len(completions) > 1:
        spread = _Z * statistics.stdev(completions) / math.sqrt(len(completions))
    mean = statistics.fmean(completions) if said else 0.0
    prompt = statistics.fmean(prompts) if said else 0.0
    so_far = f"measured on {len(said):,} replies"
    unsaid = "; the endpoint counts no tokens"
    return Rates(
        lang=track.lang,
        wanted=track.wanted,
        most=before.most,
        tasks=Range(tasks, tasks, tasks),
        tasks_basis=f"measured: {candidates:,} in {decided:,} replies",
        kept=wilson(kept, candidates),
        kept_basis=f"measured: {kept:,} of {candidates:,}, Wilson 95 %"
        + ("; falls as the pool grows" if before.falls else ""),
        falls=before.falls,
        prompt=Range(prompt, prompt, prompt) if said else before.prompt,
        prompt_basis=so_far if said else before.prompt_basis + unsaid,
        completion=Range(max(0.0, mean - spread), mean, mean + spread)
        if said
        else before.completion,
        completion_basis=so_far if said else before.completion_basis + unsaid,
        pool=kept,
        requests=len(replies),
        prompt_so_far=round(sum(prompts)),
        completion_so_far=round(sum(completions)),
    )
