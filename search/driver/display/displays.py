"""What every display does, and the two without a table: lines for logs and pipes, or notes alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from rich.console import Console

from results import RunState, TrialState
from results.ranking.intervals import interval_text
from results.wording import counted
from search.driver.display.endings import Endings
from search.driver.display.progress import awaited
from search.text import clock

PATIENCE_S = 1.0
"""Seconds after which a line says what is awaited before the session."""


class Display(Protocol):
    """Shows a running search; the driver calls every method between two of its steps."""

    val_images: int | None
    """Validation images, on which the interval of an accuracy depends; None until they are known."""

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Shows that the body of the `with`, which may take seconds, waits for `what`."""
        ...

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
        self.val_images: int | None = None

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Shows nothing."""
        return nullcontext()

    def live(self, state: RunState, concurrency: int, started: float) -> AbstractContextManager[None]:
        """Shows nothing."""
        return nullcontext()

    def update(self, state: RunState) -> None:
        """Shows nothing."""

    def note(self, sentence: str) -> None:
        """Prints the sentence."""
        self.console.print(sentence, highlight=False, soft_wrap=True, markup=False)


class LineDisplay:
    """One line for each thing that is awaited at the start and for each finished trial, for logs and pipes."""

    def __init__(self, trials: int, console: Console) -> None:
        self.trials, self.console = trials, console
        self.val_images: int | None = None
        self._created = time.monotonic()
        self._said: set[str] = set()
        self._endings, self._epochs, self._confirmed = Endings(RunState()), 0, 0

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Says after a second what is awaited, once for each thing; what is there or refused at once needs no line."""
        late = threading.Timer(PATIENCE_S, self._say_awaited, [what])
        late.daemon = True
        late.start()
        try:
            yield
        finally:
            late.cancel()
            late.join()

    @contextmanager
    def live(self, state: RunState, concurrency: int, started: float) -> Iterator[None]:
        """Starts with the finished trials of `state` counted as already shown."""
        self._endings, self._epochs, self._confirmed = Endings(state), state.epochs, state.confirmed
        yield

    def update(self, state: RunState) -> None:
        """Prints the trials that ended since the last update, and before the first epoch what is awaited."""
        if what := awaited(state, self._epochs):
            self._say_awaited(what)
        ended = self._endings.take(state)
        best = self._endings.best
        ahead = f", best {best.val_accuracy:.2%} (trial {best.trial})" if best and best.val_accuracy is not None else ""
        for number, trial in ended:
            error = f" [{trial.error.strip().splitlines()[-1]}]" if trial.error and trial.error.strip() else ""
            self.note(f"{number}/{self.trials} {_ending(trial, self.val_images)}{ahead}{error}")
        if (more := state.confirmed - self._confirmed) > 0:
            self._confirmed = state.confirmed
            self.note(f"within noise of the best, and now trained to the end: {counted(more, 'stopped trial')}")

    def note(self, sentence: str) -> None:
        """Prints the sentence."""
        self.console.print(sentence, highlight=False, soft_wrap=True, markup=False)

    def _say_awaited(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self.note(f"{clock(time.monotonic() - self._created)} waiting for {what}")


def _ending(trial: TrialState, val_images: int | None) -> str:
    unknown = "no validation" if trial.status == "completed" else "-"
    accuracy = interval_text(trial.val_accuracy, val_images) if trial.val_accuracy is not None else unknown
    return (
        f"trial {trial.trial} {trial.status} after {counted(trial.epochs, 'epoch')}: {accuracy}, {trial.layout_id}, "
        f"{trial.params:,} parameters"
    )
