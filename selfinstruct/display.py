"""What a person sees while a run goes on, always on stderr.

Enters: Progress. Leaves: a live table on a terminal, plain lines elsewhere, nothing when quiet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from selfinstruct.prices import dollars
from selfinstruct.progress import Progress

# Seconds between two log lines when stderr is not a terminal.
_LOG_EVERY = 10.0


def span(seconds: float | None) -> str:
    """Seconds as people say them: 42s, 3m07s, 5h12m; "–" for None.

    >>> span(187.4), span(18720), span(None)
    ('3m07s', '5h12m', '–')
    """
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def visible(text: str) -> str:
    """The text without characters that could drive the reader's terminal.

    >>> visible("red \\x1b[31m")
    'red �[31m'
    """
    return "".join(
        c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def summary_line(progress: Progress) -> str:
    """One log line."""
    p = progress
    return (
        f"kept {_kept(p)}  yield {p.yield_share:.0%}  in flight {p.in_flight}  "
        f"{p.tokens_per_second:.0f} tokens/s  {_money(p)}elapsed {span(p.elapsed)}  "
        f"ETA {span(p.eta)}"
    )


def _money(progress: Progress) -> str:
    """What was spent, "" while no price is known."""
    if progress.cost is None:
        return ""
    allowed = "" if progress.budget is None else f" of {dollars(progress.budget)}"
    return f"{dollars(progress.cost)}{allowed}  "


def _kept(progress: Progress) -> str:
    """kept/wanted, language by language when there are several."""
    if len(progress.languages) < 2:
        return f"{progress.kept:,}/{progress.wanted:,}"
    parts = progress.languages.items()
    return ", ".join(f"{lang} {kept:,}/{wanted:,}" for lang, (kept, wanted) in parts)


def reasons_line(progress: Progress) -> str:
    """Rejections by reason, most common first."""
    return "  ".join(f"{reason} {count}" for reason, count in progress.rejected.most_common())


class Display:
    """A watcher on a console: use as a context manager around the run."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._look: Callable[[], Progress] = Progress
        self._live: Live | None = None
        self._logged_at = float("-inf")

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the last state on the screen and give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def notice(self, text: str) -> None:
        """Something worth a line of its own."""
        if not self._quiet:
            self._console.print(Text(text), soft_wrap=True)

    def watch(self, look: Callable[[], Progress]) -> None:
        """Show what `look` returns from now on."""
        self._look = look
        if self._quiet or not self._console.is_terminal:
            return
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def decided(self) -> None:
        """A request has been decided: time for a log line, perhaps."""
        if self._quiet or self._live is not None or self._console.is_terminal:
            return
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            self.notice(summary_line(self._look()))

    def _render(self) -> Group:
        progress = self._look()
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(f"{_kept(progress)} rows", style="bold"),
            ProgressBar(total=progress.wanted, completed=progress.kept, width=30),
            Text(f"{span(progress.elapsed)} elapsed, ETA {span(progress.eta)}"),
        )
        facts = (
            f"yield {progress.yield_share:.0%} of {progress.candidates:,} candidates · "
            f"{progress.requests:,} requests decided, {progress.in_flight} in flight · "
            f"{progress.tokens_per_second:,.0f} tokens/s"
        )
        if money := _money(progress).strip():
            facts += f" · {money}"
        lines: list[RenderableType] = [head, Text(facts)]
        if progress.rejected:
            lines.append(Text(f"rejected: {reasons_line(progress)}", style="dim"))
        return Group(*lines)
