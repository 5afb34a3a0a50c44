"""The card of a dataset on the Hugging Face Hub: README.md, whose head `datasets` reads too.

Enters: what an export wrote. Leaves: Markdown. Everything in it is from the manifest and from the
counts of the files; where rows were generated stays unsaid (addresses, paths).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from selfinstruct.exporting.choice import RULE
from selfinstruct.exporting.exporter import MARK, Written
from selfinstruct.manifest import Manifest

_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
# What of a config tells where it ran, or nothing of the data.
_UNSAID = frozenset(
    {
        "base_url", "concurrency", "timeout", "durability", "patience", "rpm", "tpm", "max_cost",
        "max_total_tokens", "price_in", "price_out", "batch_api",
    }
)  # fmt: skip
_PATHS = ("seeds", "source")


def card(written: Written) -> str:
    """The whole README.md."""
    lines = [*_head(written), f"<!-- {MARK} -->", "", "# Instruction data", ""]
    lines += [*_counts(written), *_made(written.manifest), *_limits(written)]
    return "\n".join(lines) + "\n"


def _head(written: Written) -> Iterator[str]:
    """YAML that `datasets` and the Hub read. JSON's texts are YAML's."""
    rows = sum(rows for _name, rows in written.parts.values())
    yield "---"
    if written.license:
        yield f"license: {json.dumps(written.license)}"
    # The Hub's `language` takes ISO 639 codes alone; a script goes into language_bcp47.
    yield f"language: {json.dumps(list(dict.fromkeys(c.partition('-')[0] for c in written.langs)))}"
    if scripts := [code for code in written.langs if "-" in code]:
        yield f"language_bcp47: {json.dumps(scripts)}"
    yield 'task_categories: ["text-generation"]'
    yield f"size_categories: [{json.dumps(size_category(rows))}]"
    made_here = written.manifest is not None and not written.manifest.imported
    yield f"tags: {json.dumps(['instruction-tuning', *(['synthetic'] if made_here else [])])}"
    yield "configs:"
    configs = {"default": written.langs}
    if len(written.langs) > 1:
        configs |= {lang: (lang,) for lang in written.langs}
    for name, langs in configs.items():
        yield f"- config_name: {json.dumps(name)}"
        yield "  data_files:"
        for split in written.choice.splits:
            keys = [(lang, split) for lang in langs if (lang, split) in written.parts]
            if files := [written.parts[key][0] for key in keys]:
                yield f"  - {{split: {split}, path: {json.dumps(files)}}}"
    yield "---"
    yield ""


def size_category(rows: int) -> str:
    """
    >>> size_category(999), size_category(52_002), size_category(10**9)
    ('n<1K', '10K<n<100K', 'n>100M')
    """
    names = ("1K", "10K", "100K", "1M", "10M", "100M")
    for index, most in enumerate(_SIZES):
        if rows < most:
            return f"{names[index - 1]}<n<{names[index]}" if index else "n<1K"
    return "n>100M"


def _counts(written: Written) -> Iterator[str]:
    splits = written.choice.splits
    yield f"| language | {' | '.join(splits)} |"
    yield "|---" * (len(splits) + 1) + "|"
    for lang in written.langs:
        rows = [f"{written.parts.get((lang, split), ('', 0))[1]:,}" for split in splits]
        yield f"| {lang} | {' | '.join(rows)} |"
    yield ""
    yield "Fields: `id`, `instruction`, `input` (may be empty), `output`"
    if written.conversations:
        yield "`history` (earlier exchanges as pairs, the oldest first), `system` (may be empty)"
    yield ""
    if written.choice.validation:
        yield f"The split: {RULE} {written.choice.validation:g}."
        yield ""
    if not written.license:
        yield "Licence: none was chosen yet. Whoever publishes this data chooses one."
        yield ""


def _made(manifest: Manifest | None) -> Iterator[str]:
    if manifest is None:
        return
    yield "## How it was made"
    yield ""
    if manifest.imported:
        yield from _imported(manifest)
    else:
        yield from _generated(manifest)
    if manifest.rejected:
        yield "| left out because of | rows |"
        yield "|---|---|"
        for reason, rows in sorted(manifest.rejected.items(), key=lambda item: -item[1]):
            yield f"| `{reason}` | {rows:,} |"
        yield ""


def _imported(manifest: Manifest) -> Iterator[str]:
    yield f"Imported with selfinstruct {manifest.versions.get('selfinstruct', '')} from:"
    yield ""
    for file in manifest.imported:
        name, rows = code(PurePath(file["file"]).name), file["rows"]
        yield f"- {name}, {rows:,} rows ({file['format']}), SHA-256 `{file['sha256']}`"
    yield ""


def _generated(manifest: Manifest) -> Iterator[str]:
    config = manifest.config
    models = config.get("model", ())
    named = ", ".join(map(code, [models] if isinstance(models, str) else models)) or "unknown"
    version = manifest.versions.get("selfinstruct", "")
    yield (
        f"Generated by {named} with selfinstruct {version}, recipe {code(config.get('recipe'))}, "
        f"begun {manifest.started_at[:10]}: {manifest.kept:,} rows kept of "
        f"{manifest.candidates:,} candidates, {manifest.requests.get('paid', 0):,} requests, "
        f"{manifest.tokens.get('completion', 0):,} completion tokens."
    )
    yield ""
    yield "The same again, with `selfinstruct generate --config FILE.toml --out DIR`:"
    yield ""
    yield "```toml"
    yield from toml_lines(config)
    yield "```"
    yield ""


def toml_lines(config: Mapping[str, Any]) -> Iterator[str]:
    """What of a config decides the data, as the TOML that `--config` reads. Paths lose their
    folders.

    >>> config = {"n": 5, "lang": ["zh"], "base_url": "http://gpu/v1", "seeds": "/me/s.jsonl"}
    >>> list(toml_lines(config))
    ['n = 5', 'lang = ["zh"]', 'seeds = "s.jsonl"']
    """
    for name, value in config.items():
        if name in _UNSAID or value in (None, "", [], {}):
            continue
        if name in _PATHS:
            value = PurePath(value).name
        yield f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # A text's escapes are the same in JSON and TOML, once surrogate pairs are written as they are.
    return json.dumps(value, ensure_ascii=False)


def code(value: object) -> str:
    """A text as code in Markdown, on one line.

    >>> code("a`b|c")
    '`a b c`'
    """
    text = " ".join(str(value).translate(dict.fromkeys(map(ord, "`|<>"), " ")).split())
    return f"`{text}`"


def _limits(written: Written) -> Iterator[str]:
    yield "## Limits"
    yield ""
    if written.manifest and not written.manifest.imported:
        yield (
            "The answers are a language model's: fluent, often wrong, with its biases, and bound "
            "by the terms of whoever offers it. Filters remove rows that are malformed, refused or "
            "near duplicates; nobody has checked facts."
        )
    else:
        yield "Nobody has checked these rows for facts, nor for what their sources permit."
    if written.left_out:
        yield ""
        yield f"{written.left_out:,} rows are not here because this layout has no place for them."
