"""The live table of a terminal: progress, time left, the best and the running trials, and a plot if there is room."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment, SegmentLines
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from results import RunState, TrialState
from results.ranking.intervals import interval_text
from results.wording import counted
from search.config.views import Budgets, Ladder
from search.driver.display.columns import Differences, Row, table_of
from search.driver.display.endings import Endings
from search.driver.display.plot import FEWEST_COLUMNS, FEWEST_LINES, accuracy_plot
from search.driver.display.progress import Expectation, Pace, awaited, expected
from search.runs.ranking import ranked, rung_counts, status_counts
from search.text import clock, fitted, wrapped

MIN_INTERVAL_S = 0.25
"""At most four updates per second: a render costs milliseconds, which would slow down trials on the same cores."""
RENDER_SHARE = 10
"""A render is followed by a pause of at least this many times its duration, which limits its cost for large tables."""
IDLE_INTERVAL_S = 1.0
"""Seconds between two updates if only the clock has changed."""
WITH_PLOT = 120
"""Fewest columns of a terminal in which the plot is shown."""
MOST_PLOT_COLUMNS, MOST_PLOT_LINES, MOST_BAR_COLUMNS = 90, 24, 60
BESIDE = 4
"""Spaces between the table and the plot."""


class LiveDisplay:
    """A table redrawn in place; above it the ended trials stay, and at its end the table itself."""

    def __init__(self, budgets: Budgets, ladder: Ladder, max_params: int, console: Console) -> None:
        self.budgets, self.ladder, self.max_params, self.console = budgets, ladder, max_params, console
        self.val_images: int | None = None
        self._created = time.monotonic()
        self._live: Live | None = None
        self._widths: list[int] = []
        """Columns of each line as last drawn."""
        self._size = console.size
        self._drawn = self._due = 0.0
        self._shown = (0, 0)
        self._open(RunState(), 0, self._created)

    def _open(self, state: RunState, concurrency: int, started: float) -> None:
        self._concurrency, self._started, self._epochs = concurrency, started, state.epochs
        self._endings, self._pace, self._differences = Endings(state), Pace(state, concurrency), Differences()

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Shows what is awaited and for how long the command has run, until the body of the `with` ends."""
        spinner = Spinner("line" if self.console.options.ascii_only else "dots")

        def shown() -> RenderableType:
            spinner.update(text=Text(f"{clock(time.monotonic() - self._created)} waiting for {what}", no_wrap=True))
            return spinner

        with Live(get_renderable=shown, console=self.console, transient=True):
            yield

    @contextmanager
    def live(self, state: RunState, concurrency: int, started: float) -> Iterator[None]:
        """Draws the table during the body of the `with`; its last state remains."""
        self._open(state, concurrency, started)
        with Live(console=self.console, auto_refresh=False) as self._live:
            try:
                self._draw(state)
                yield
            finally:
                self._draw(state, over=True)
        self._live = None

    def update(self, state: RunState) -> None:
        """Prints what has ended and redraws the table, at most four times a second."""
        now = time.monotonic()
        if self._live is None or now < self._due:
            return
        self._due = now + MIN_INTERVAL_S
        reached = (len(state.trials), sum(trial.epochs for trial in state.trials.values()))
        if reached != self._shown or self.console.size != self._size or now - self._drawn >= IDLE_INTERVAL_S:
            self._drawn, self._shown = now, reached
            self._draw(state)
            self._due = now + max(MIN_INTERVAL_S, (1 + RENDER_SHARE) * (time.monotonic() - now))

    def note(self, sentence: str) -> None:
        """Prints the sentence above the table."""
        self._erase_what_wrapped()
        self._print(wrapped(sentence, self.console.width))

    def _print(self, lines: list[str]) -> None:
        """Prints lines above the table, which Rich draws again."""
        self.console.print("\n".join(lines), highlight=False, markup=False)

    def _draw(self, state: RunState, *, over: bool = False) -> None:
        """Draws the table of `state` in place of the last one, below the trials that have ended since."""
        assert self._live is not None
        self._erase_what_wrapped()
        lines = self.console.render_lines(self.render(state, over=over), pad=False)
        ended = self._ended_lines(state)
        self._size, self._widths = self.console.size, [Segment.get_line_length(line) for line in lines]
        with self.console:  # one write, else the ended trials would be seen above the old table
            if ended:
                self._print(ended)
            self._live.update(SegmentLines(lines, new_lines=True), refresh=True)

    def _ended_lines(self, state: RunState) -> list[str]:
        lines, width = list[str](), self.console.width
        for number, trial in self._endings.take(state):
            lines.append(fitted(_ending(trial, f"{number}/{self.budgets.trials}", self.val_images), width))
            if trial.error and trial.error.strip():
                lines += wrapped(f"  {trial.error.strip().splitlines()[-1]}", width)
        return lines

    def _erase_what_wrapped(self) -> None:
        """Erases the lines that the table has gained by a narrower terminal: Rich erases as many as it has drawn."""
        width = self.console.width
        if self._live is None or width >= self._size.width:
            return
        added = sum(math.ceil(drawn / width) - 1 for drawn in self._widths if drawn)
        erase = (ControlType.ERASE_IN_LINE, 2)
        self.console.control(Control(ControlType.CARRIAGE_RETURN, erase, *((ControlType.CURSOR_UP, 1), erase) * added))
        self._size, self._widths = self.console.size, [min(drawn, width) for drawn in self._widths]

    def render(self, state: RunState, *, over: bool = False) -> RenderableType:
        """The table of `state` in the size of the terminal; `over` if the session has ended."""
        width, height = self.console.size
        best = ranked(state)
        head = self._head(state, best, width, over)
        lines = max(3, height - len(head) - 2)
        differing = self._differences.take(state)
        titles = max((len(name.split("_")) for name in differing), default=1)
        rows = _rows(state, best, lines - titles)
        if not rows:
            return Group(*head)
        measured = [(t.params, t.val_accuracy) for t in best if t.val_accuracy is not None and t.val_accuracy >= 0]
        plotted = width >= WITH_PLOT and lines >= FEWEST_LINES and bool(measured)
        room = width - (FEWEST_COLUMNS + BESIDE if plotted else 0)
        table, columns = table_of(rows, differing, self.ladder.max_epochs, room, self.val_images)
        body = Table.grid(padding=(0, BESIDE, 0, 0))
        if plotted:
            size = min(MOST_PLOT_COLUMNS, width - columns - BESIDE), min(MOST_PLOT_LINES, lines)
            plot = accuracy_plot(measured, self.max_params, *size, ascii=self.console.options.ascii_only)
            body.add_row(table, Group(*plot))
        else:
            body.add_row(table)
        return Group(*head, Text(), body)

    def _head(self, state: RunState, best: Sequence[TrialState], width: int, over: bool) -> list[RenderableType]:
        """The lines above the table."""

        def line(parts: Sequence[str], style: str = "", between: str = "  ") -> Text:
            return Text(fitted(parts, width, between), style=style, no_wrap=True, overflow="crop")

        left = expected(state, self.ladder, self.budgets)
        done = sum(trial.epochs for trial in state.trials.values())
        finished = sum(trial.ended for trial in state.trials.values())
        counts = status_counts(state)
        if over:
            counts = {"interrupted": counts.pop("running", 0) + counts.pop("interrupted", 0)} | counts
        statuses = [f"{number} {status}" for status, number in counts.items() if number]
        reached = zip(self.ladder.rungs, rung_counts(state, len(self.ladder.rungs)), strict=True)
        rungs = [f"{number} at {epochs}" for epochs, number in reached]
        lines: list[RenderableType] = [
            line([f"{finished}/{counted(self.budgets.trials, 'trial')}", *statuses]),
            _bar(done, left.epochs, width),
            line(self._times(state, left, over)),
        ]
        if best:
            accuracy = interval_text(best[0].val_accuracy or 0.0, self.val_images)
            parts = [f"best {accuracy}", f"trial {best[0].trial}", counted(best[0].params, "parameter")]
            lines.append(line(parts, "bold"))
        lines.append(line([f"rungs reached: {rungs[0]} epochs", *rungs[1:]], between=", "))
        if not over and (what := awaited(state, self._epochs)):
            lines.append(line([f"waiting for {what}"], "yellow"))
        return lines

    def _times(self, state: RunState, left: Expectation, over: bool) -> list[str]:
        elapsed = time.monotonic() - self._started
        parts = [f"{clock(elapsed)} elapsed"]
        if over:
            return parts
        seconds, budget = self._pace.left_s(state, left, time.time()), self.budgets.time_s
        if budget is not None and (seconds is None or seconds > budget - elapsed):
            return [*parts, f"at most {clock(max(0.0, budget - elapsed))} left", f"time budget {clock(budget)}"]
        known = "time left not known yet" if seconds is None else f"about {clock(seconds)} left"
        return [*parts, known, *([f"time budget {clock(budget)}"] if budget else [])]


def _bar(done: int, left: float, width: int) -> RenderableType:
    text = f"{done:,} of about {done + left:,.0f} epochs" if left else counted(done, "epoch")
    columns = max(5, min(MOST_BAR_COLUMNS, width - len(text) - 2))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(ProgressBar(total=(done + left) or 1, completed=done, width=columns), text)
    return grid


def _rows(state: RunState, best: Sequence[TrialState], lines: int) -> list[Row]:
    """The `best` trials and those at work, each once, at most `lines`; the best get at least half of them."""
    at_work = {trial.trial for trial in state.trials.values() if trial.status in ("running", "suggested")}
    shown = best[: max(lines - len(at_work), lines - lines // 2)]
    others = sorted(at_work - {trial.trial for trial in shown})[: lines - len(shown)]
    rows = [Row(rank, t, t.trial in at_work, t.val_accuracy) for rank, t in enumerate(shown, start=1)]
    for trial in map(state.trials.__getitem__, others):
        reports = state.reports[trial.trial]
        rows.append(Row(None, trial, True, trial.val_accuracy or (reports[-1].val_accuracy if reports else None)))
    return rows


def _ending(trial: TrialState, number: str, val_images: int | None) -> list[str]:
    """The parts of the line that stays on the screen, the most important first."""
    accuracy = [] if trial.val_accuracy is None else [interval_text(trial.val_accuracy, val_images)]
    first = f"{number} trial {trial.trial} {trial.status}"
    return [first, *accuracy, counted(trial.epochs, "epoch"), f"{trial.params:,} params", trial.layout_id]
