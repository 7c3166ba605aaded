"""What a running search shows, on a terminal, in a pipe and in a narrow window."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from results import Record
from search.config import RunConfig, compose
from search.driver.display import MIN_INTERVAL_S, LineDisplay, LiveDisplay
from search.text import clock
from tests.support.results_fixtures import run_trial, start_session, write_run


@pytest.fixture
def config() -> RunConfig:
    return compose(None, None, {"trials": 7, "max_epochs": 4, "grace_epochs": 2, "time_budget_s": 3600.0}, [])


def drawn(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_pipe_gets_one_line_per_finished_trial(tmp_path: Path, config: RunConfig) -> None:
    console = Console(file=io.StringIO(), width=40)
    display = LineDisplay(config.trials, console)
    with Record(tmp_path / "run") as record, display.live(record.state, 2, time.monotonic()):
        start_session(record)
        run_trial(record, 0, {2: 0.6, 4: 0.8}, params=10_000)
        display.update(record.state)
        display.update(record.state)
        run_trial(record, 1, {2: 0.1}, "failed", blocks=(2, 2), error="Traceback\nValueError: no")
        display.update(record.state)
    lines = drawn(console).splitlines()
    assert [line.partition(", best ")[0] for line in lines] == [
        "1/7 trial 0 completed after 4 epochs: 80.00%, 1-2x16-32, 10,000 parameters",
        "2/7 trial 1 failed after 2 epochs: 10.00%, 2-2x16-32, 1,000 parameters",
    ]
    assert lines[0].endswith("best 80.00% (trial 0)")
    assert lines[1].endswith("best 80.00% (trial 0) [ValueError: no]")


def test_a_resumed_search_does_not_repeat_its_lines(tmp_path: Path, config: RunConfig) -> None:
    console = Console(file=io.StringIO())
    display = LineDisplay(config.trials, console)
    with Record(write_run(tmp_path / "run")) as record, display.live(record.state, 2, time.monotonic()):
        display.update(record.state)
    assert drawn(console) == ""


@pytest.mark.parametrize("width", [40, 60, 100])
def test_the_live_table_fits_the_terminal(tmp_path: Path, config: RunConfig, width: int) -> None:
    write_run(tmp_path / "run")
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    with Record(tmp_path / "run") as record:
        start_session(record, 2)
        record.append("started", trial=5, session=2)
        display = LiveDisplay(config.budgets, config.ladder, console)
        with display.live(record.state, 2, time.monotonic() - 65):
            console.print(display.render(record.state))
    text = drawn(console)
    lines = text.splitlines()
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("5/7 trials")
    assert "rungs reached: 4 at 2, 2 at 4 epochs"[:width] in text
    best = next(line for line in lines if line.startswith("1."))
    assert best.split() == ["1.", "2", "2-2", *(["16-32"] if width >= 60 else []), "20,000", "4", "90.00%"]
    assert any(line.startswith("~") and "7-1" in line for line in lines)
    assert re.search(r"1:[0-5]\d of 1:00:00", lines[0])


def test_the_live_table_is_drawn_at_most_four_times_a_second(tmp_path: Path, config: RunConfig) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with Record(write_run(tmp_path / "run")) as record:
        display = LiveDisplay(config.budgets, config.ladder, console)
        with display.live(record.state, 2, time.monotonic()):
            started = time.monotonic()
            before = drawn(console).count("rungs reached")
            for _ in range(200):
                display.update(record.state)
            draws = drawn(console).count("rungs reached") - before
            elapsed = time.monotonic() - started
    assert 1 <= draws <= 1 + elapsed / MIN_INTERVAL_S


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.9, "1:05"), (3600, "1:00:00"), (36_061, "10:01:01")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
