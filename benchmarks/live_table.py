"""Makes the picture of the live table in the README: a real search on digits, recorded midway as SVG.

Usage: python -m benchmarks.live_table [--output docs/live-table.svg] [--after 8]

Runs the default search on digits (about 40 s on two cores) in a temporary folder. It records the table once --after
trials have ended, every slot runs a trial that has been validated, and one of these has passed the first rung. The
picture does not refer to fonts or other files.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from results import RunState
from search.config import RunConfig, compose
from search.driver.disk_watch import PatientRecord
from search.driver.display import LiveDisplay
from search.driver.session import run_session
from search.planning.preparation import prepare
from search.runs.folder import write_run_file
from search.runs.reuse import ReusableResults
from trainables.data import load_training_set

WIDTH, HEIGHT = 120, 26
"""The size of the terminal in the picture; from 120 columns on there is a plot beside the table."""
TITLE = "python -m search.run"
FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Rich's reference to a font on a server, which GitHub does not load; a monospaced font replaces it."""


class RecordedDisplay(LiveDisplay):
    """A live table that is not drawn but recorded once as a picture, after `after` trials have ended."""

    def __init__(self, config: RunConfig, after: int) -> None:
        screen = Console(file=io.StringIO(), width=WIDTH, height=HEIGHT)
        super().__init__(config.budgets, config.ladder, config.space.max_params, screen)
        self.after = after
        self.svg: str | None = None
        """The picture; None until it has been recorded."""

    def update(self, state: RunState) -> None:
        """Records the table of `state` if it is the first one with enough to show."""
        ended = sum(trial.ended for trial in state.trials.values())
        epochs = [trial.epochs for trial in state.trials.values() if trial.status == "running" and trial.epochs > 0]
        busy = len(epochs) == self._concurrency and max(epochs) > self.ladder.rungs[0]
        if self.svg is None and ended >= self.after and busy:
            recorder = Console(
                file=io.StringIO(),
                width=WIDTH,
                height=HEIGHT,
                record=True,
                force_terminal=True,
                color_system="truecolor",
            )
            recorder.print(self.render(state))
            self.svg = FONT_FACE.sub("", recorder.export_svg(title=TITLE))


def record_table(folder: Path, after: int) -> str:
    """Runs a search in `folder`, which must not exist, and returns its picture after `after` trials.

    Raises:
        ValueError: the search ended before that.
    """
    config = compose(None, None, {}, [])
    images = load_training_set(**config.data_arguments)
    data = images.identity
    write_run_file(folder, config, [], data)
    display = RecordedDisplay(config, after)
    display.val_images = len(images.val_indices)
    prepared = prepare(config, folder, RunState(), folder.parent, None, say=_say)
    with PatientRecord(folder) as record:
        run_session(prepared, record, None, ReusableResults(config, data, {}), display, _ray_died)
    if display.svg is None:
        raise ValueError(f"after: {after} given, but the search of {config.trials} trials ended first; give fewer")
    return display.svg


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def _ray_died(process: str) -> None:
    sys.stderr.write(f"error: {process} died\n")
    os._exit(1)


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_table")
    parser.add_argument("--output", type=Path, default=Path("docs/live-table.svg"))
    parser.add_argument("--after", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        svg = record_table(Path(temporary) / "live", given.after)
    given.output.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
