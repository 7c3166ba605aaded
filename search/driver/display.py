"""What a running search shows: a live table on a terminal, one line per finished trial elsewhere, or nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from results import RunState, TrialState
from results.wording import counted
from search.config.views import Budgets, Ladder
from search.runs.ranking import Leaders, ranked, rung_counts, status_counts, training_time_s
from search.runs.standings import has_rank, rank_key
from search.text import clock

MIN_INTERVAL_S = 0.25
"""At most four updates per second: a render costs 24 ms, which would slow down trials on the same cores."""
RENDER_SHARE = 10
"""A render is followed by a pause of at least this many times its duration, which limits its cost for large tables."""
IDLE_INTERVAL_S = 1.0
"""Seconds between two updates if only the clock has changed."""
BEST_ROWS = 5
WIDE = 56
"""Fewest columns of a terminal in which the channels are shown too."""


class Display(Protocol):
    """Shows a running search; the driver calls every method between two of its steps."""

    def live(self, state: RunState, concurrency: int, started: float) -> AbstractContextManager[None]:
        """Shows the search for the body of the `with`; `started` is the session's start on the monotonic clock."""
        ...

    def update(self, state: RunState) -> None:
        """Shows `state`, unless the last update is too recent."""
        ...

    def note(self, sentence: str) -> None:
        """Shows a sentence that stays on the screen."""
        ...


class SilentDisplay:
    """Shows only notes, without which a search that waits would look like one that hangs."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def live(self, state: RunState, concurrency: int, started: float) -> AbstractContextManager[None]:
        """Shows nothing."""
        return nullcontext()

    def update(self, state: RunState) -> None:
        """Shows nothing."""

    def note(self, sentence: str) -> None:
        """Prints the sentence."""
        self.console.print(sentence, highlight=False, soft_wrap=True, markup=False)


class LineDisplay:
    """One line per finished trial, for logs and pipes."""

    def __init__(self, trials: int, console: Console) -> None:
        self.trials, self.console = trials, console
        self._begin(RunState())

    @contextmanager
    def live(self, state: RunState, concurrency: int, started: float) -> Iterator[None]:
        """Starts with the finished trials of `state` counted as already shown."""
        self._begin(state)
        yield

    def _begin(self, state: RunState) -> None:
        self._open: dict[int, TrialState] = {t.trial: t for t in state.trials.values() if not t.ended}
        self._seen, self._finished = len(state.trials), len(state.trials) - len(self._open)
        self._confirmed, self._leaders = state.confirmed, Leaders(state, 1)

    def update(self, state: RunState) -> None:
        """Prints the trials that ended since the last update."""
        self._open |= {trial.trial: trial for trial in itertools.islice(state.trials.values(), self._seen, None)}
        self._seen = len(state.trials)
        ended = sorted((t for t in self._open.values() if t.ended), key=lambda t: t.ended_s or 0.0)
        for trial in ended:
            del self._open[trial.trial]
            self._leaders.take(trial)
        at_rungs = [trial for trial in self._open.values() if has_rank(trial)]
        best = min([*self._leaders.trials, *at_rungs], key=rank_key, default=None)
        for trial in ended:
            self._finished += 1
            self.console.print(self._line(trial, self._finished, best), highlight=False, soft_wrap=True)
        if state.confirmed != self._confirmed:
            self._begin(state)  # trials that had ended are trained on

    def note(self, sentence: str) -> None:
        """Prints the sentence."""
        self.console.print(sentence, highlight=False, soft_wrap=True, markup=False)

    def _line(self, trial: TrialState, finished: int, best: TrialState | None) -> str:
        accuracy = f"{trial.val_accuracy:.2%}" if trial.val_accuracy is not None else "-"
        ahead = f", best {best.val_accuracy:.2%} (trial {best.trial})" if best and best.val_accuracy is not None else ""
        error = f" [{trial.error.strip().splitlines()[-1]}]" if trial.error else ""
        return (
            f"{finished}/{self.trials} trial {trial.trial} {trial.status} after "
            f"{counted(trial.epochs, 'epoch')}: {accuracy}, {trial.layout_id}, "
            f"{trial.params:,} parameters{ahead}{error}"
        )


class LiveDisplay:
    """A table redrawn in place: progress, rungs, the best trials and the running ones."""

    def __init__(self, budgets: Budgets, ladder: Ladder, console: Console) -> None:
        self.budgets, self.ladder, self.console = budgets, ladder, console
        self._live: Live | None = None
        self._drawn = self._due = 0.0
        self._shown = (0, 0)
        self._concurrency = 0
        self._started = 0.0

    @contextmanager
    def live(self, state: RunState, concurrency: int, started: float) -> Iterator[None]:
        """Draws the table during the body of the `with`, and removes it at the end."""
        self._concurrency, self._started = concurrency, started
        with Live(self.render(state), console=self.console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def update(self, state: RunState) -> None:
        """Redraws the table, at most four times a second."""
        now = time.monotonic()
        if self._live is None or now < self._due:
            return
        self._due = now + MIN_INTERVAL_S
        reached = (sum(t.ended for t in state.trials.values()), sum(t.epochs for t in state.trials.values()))
        if reached != self._shown or now - self._drawn >= IDLE_INTERVAL_S:
            self._drawn, self._shown = now, reached
            self._live.update(self.render(state), refresh=True)
            drawn_s = time.monotonic() - now
            self._due = now + max(MIN_INTERVAL_S, (1 + RENDER_SHARE) * drawn_s)

    def note(self, sentence: str) -> None:
        """Prints the sentence above the table."""
        self.console.print(sentence, highlight=False, soft_wrap=True, markup=False)

    def render(self, state: RunState) -> RenderableType:
        """The table of `state`, for a console of any width."""
        running = [trial for trial in state.trials.values() if trial.status == "running"]
        finished = sum(trial.ended for trial in state.trials.values())
        wide = self.console.width >= WIDE
        table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0))
        for column in ("", "trial", "blocks", *(["channels"] if wide else [])):
            table.add_column(column, no_wrap=True)
        for column in ("params", "epochs", "val"):
            table.add_column(column, justify="right", no_wrap=True)
        for rank, trial in enumerate(ranked(state)[:BEST_ROWS], start=1):
            table.add_row(
                f"{rank}.",
                *_cells(trial, trial.rung_epoch, trial.val_accuracy, wide),
                style="bold" if rank == 1 else "",
            )
        for trial in running:
            reports = state.reports.get(trial.trial)
            table.add_row(
                "~", *_cells(trial, trial.epochs, reports[-1].val_accuracy if reports else None, wide), style="cyan"
            )
        bar = Table.grid()  # a bar outside a grid ends without a line break
        bar.add_row(ProgressBar(total=self.budgets.trials, completed=finished, width=min(40, self.console.width)))
        return Group(
            self._headline(state, finished), bar, Text(self._rungs(state), no_wrap=True, overflow="ellipsis"), table
        )

    def _headline(self, state: RunState, finished: int) -> Text:
        elapsed = time.monotonic() - self._started
        budget = f" of {clock(self.budgets.time_s)}" if self.budgets.time_s else ""
        counts = ", ".join(f"{n} {status}" for status, n in status_counts(state).items())
        text = f"{finished}/{counted(self.budgets.trials, 'trial')}  {clock(elapsed)}{budget}  {counts or 'starting'}"
        return Text(f"{text}  training {clock(training_time_s(state))}", no_wrap=True, overflow="ellipsis")

    def _rungs(self, state: RunState) -> str:
        counts = rung_counts(state, len(self.ladder.rungs))
        steps = ", ".join(f"{n} at {epochs}" for epochs, n in zip(self.ladder.rungs, counts, strict=True))
        return f"rungs reached: {steps} epochs"


def _cells(trial: TrialState, epochs: int | None, accuracy: float | None, wide: bool) -> list[str]:
    """The cells of a row; `accuracy` was measured after `epochs` epochs."""
    shape = ("-".join(map(str, trial.layout[name])) for name in ("blocks", *(["channels"] if wide else [])))
    value = f"{accuracy:.2%}" if accuracy is not None else ""
    return [str(trial.trial), *shape, f"{trial.params:,}", str(epochs or 0), value]
