"""A comparison as one HTML page that needs nothing else: no script, no font, no address.

Enters: a Comparison. Leaves: HTML. Generated text is data: all of it is escaped, and the page's own
policy forbids whatever would be loaded or run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import PurePath

from selfinstruct.formats.format import question
from selfinstruct.train.comparison import Comparison, Loss, Pair, Side, printable

_STYLE = """\
:root { color-scheme: light dark; --back: #f6f6f4; --card: #fff; --ink: #1d1d1f; --dim: #6b6b70;
  --line: #dededb; --good: #1a7f4b; --bad: #b3372f; --soft: #eef6f0; }
@media (prefers-color-scheme: dark) { :root { --back: #161618; --card: #202023; --ink: #ececee;
  --dim: #9a9aa2; --line: #36363b; --good: #5fcf92; --bad: #f0857c; --soft: #1d2a23; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC",
  "PingFang SC", "Microsoft YaHei", sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
.facts { margin: 0 0 1.5rem; color: var(--dim); font-size: .9rem; overflow-wrap: anywhere; }
.facts code { font-size: .95em; }
table { border-collapse: collapse; margin: 0 0 1.5rem; font-variant-numeric: tabular-nums; }
.over { margin: 0 0 .2rem; color: var(--dim); font-size: .9rem; }
th, td { padding: .35rem 1.5rem .35rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 500; font-size: .85rem; }
th:first-child, td:first-child { text-align: left; }
.good { color: var(--good); } .bad { color: var(--bad); }
.filter { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 0 1rem; padding: 0; border: 0; }
.filter label { padding: .2rem .8rem; border: 1px solid var(--line); border-radius: 1rem;
  cursor: pointer; font-size: .9rem; }
.filter input { position: absolute; opacity: 0; }
.filter label:has(:checked) { background: var(--ink); color: var(--back); }
.filter label:has(:focus-visible) { outline: 2px solid var(--good); outline-offset: 2px; }
article { margin: 0 0 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; overflow: hidden; }
.asked { padding: .9rem 1rem .8rem; }
.id { margin: 0 0 .3rem; color: var(--dim); font-size: .8rem; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 1rem; line-height: 1.5; font-weight: 600; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.input, .earlier { margin: .5rem 0 0; padding: 0 0 0 .8rem; border-left: 3px solid var(--line); }
.earlier { margin: 0 0 .5rem; color: var(--dim); }
.sides { display: grid; grid-template-columns: 1fr 1fr; border-top: 1px solid var(--line); }
.side { padding: .7rem 1rem .9rem; min-width: 0; }
.side + .side { border-left: 1px solid var(--line); background: var(--soft); }
h3 { display: flex; flex-wrap: wrap; gap: 0 .6rem; margin: 0 0 .3rem; font-size: .8rem;
  font-weight: 600; }
h3 span { color: var(--dim); font-weight: 400; }
.none { color: var(--dim); font-style: italic; }
details { border-top: 1px solid var(--line); padding: .5rem 1rem; font-size: .9rem; }
summary { color: var(--dim); cursor: pointer; }
details .text { margin-top: .4rem; }
@media (max-width: 40rem) { .sides { grid-template-columns: 1fr; }
  .side + .side { border-left: 0; border-top: 1px solid var(--line); }
  th, td { padding-right: .9rem; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def html(comparison: Comparison) -> str:
    """The page."""
    name = escape(PurePath(comparison.tuned).name or comparison.tuned)
    langs = comparison.langs
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}: before and after</title>",
            f"<style>\n{_STYLE}{_filter_rules(langs)}</style>",
            "<main>",
            f"<h1>{name}: before and after</h1>",
            f'<p class="facts">before: <code>{escape(comparison.base)}</code> · after: '
            f"<code>{escape(comparison.tuned)}</code> · template {escape(comparison.template)} · "
            f"{len(comparison.pairs):,} questions, "
            f"{escape(comparison.how)}</p>",
            *_losses(comparison.losses, comparison.over),
            *_filter(langs),
            *(_article(pair, langs.index(pair.row.lang)) for pair in comparison.pairs),
            "</main>",
            "</html>",
            "",
        ]
    )


def _losses(losses: Sequence[Loss], over: str) -> Iterable[str]:
    if not losses:
        return
    yield f'<p class="over">Loss of an answer\'s token, over {escape(over)}</p><table>'
    yield "<tr><th>language<th>rows<th>before<th>after<th>change</tr>"
    for loss in losses:
        change = loss.after - loss.before
        yield (
            f"<tr><td>{escape(loss.lang)}<td>{loss.rows:,}<td>{loss.before:.4f}"
            f'<td>{loss.after:.4f}<td class="{_kind(change)}">{_signed(change)}</tr>'
        )
    yield "</table>"


def _signed(change: float) -> str:
    return f"{change:+.4f}".replace("-", "\N{MINUS SIGN}")


def _kind(change: float) -> str:
    return "good" if change < 0 else "bad"


def _filter(langs: Sequence[str]) -> Iterable[str]:
    """Buttons that show one language alone; pure CSS. None for one language."""
    if len(langs) < 2:
        return
    yield '<fieldset class="filter" aria-label="language">'
    yield '<label><input type="radio" name="lang" checked>all</label>'
    for number, lang in enumerate(langs):
        said = escape(lang or "no language")
        yield f'<label><input type="radio" name="lang" id="l{number}">{said}</label>'
    yield "</fieldset>"


def _filter_rules(langs: Sequence[str]) -> str:
    if len(langs) < 2:
        return ""
    rules = [
        f"main:has(#l{number}:checked) article:not(.l{number}) {{ display: none; }}\n"
        for number in range(len(langs))
    ]
    return "".join(rules)


def _article(pair: Pair, lang: int) -> str:
    example, task = pair.row.example, pair.row.example.task
    tag = f' lang="{escape(pair.row.lang)}"' if pair.row.lang else ""
    earlier = [example.system] if example.system else []
    earlier += [text for turn in example.history for text in turn]
    about = escape(" · ".join(part for part in (pair.row.id, pair.row.lang) if part))
    return "\n".join(
        [
            f'<article class="l{lang}"{tag}>',
            f'<div class="asked"><p class="id" lang="en">{about}</p>',
            *(_text("div", text, "earlier") for text in earlier),
            _text("h2", task.instruction if task.input else question(task)),
            *([_text("div", task.input, "input")] if task.input else []),
            '</div><div class="sides">',
            _side("before", pair.before),
            _side("after", pair.after),
            "</div>",
            '<details><summary lang="en">the row\'s own answer</summary>',
            _text("div", task.output),
            "</details></article>",
        ]
    )


def _side(name: str, side: Side) -> str:
    facts = [f"loss {side.loss:.2f}"]
    if not side.ended:
        facts.append(f"cut at {side.tokens} tokens")
    said = _text("div", side.text) if side.text else '<div class="none" lang="en">no answer</div>'
    return (
        f'<section class="side"><h3 lang="en">{name}<span>{" · ".join(facts)}</span></h3>'
        f"{said}</section>"
    )


def _text(element: str, text: str, more: str = "") -> str:
    """Text as it is, in its own direction."""
    classes = f"text {more}".strip()
    return f'<{element} class="{classes}" dir="auto">{escape(printable(text))}</{element}>'
