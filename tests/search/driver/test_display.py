"""What a running search shows, on terminals of every size, in a pipe and while it starts."""

from __future__ import annotations

import io
import itertools
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from results import Record, RunState
from results.ranking.intervals import wilson_interval
from search.config import RunConfig, compose
from search.driver.display import LineDisplay, LiveDisplay, displays, live_table
from search.driver.display.live_table import MIN_INTERVAL_S
from search.text import clock
from tests.support.results_fixtures import report, run_trial, start_session, suggestion, write_run
from tests.support.terminal import Terminal

SIZES = [(40, 12), (40, 24), (60, 24), (80, 24), (120, 40), (200, 50)]


@pytest.fixture
def config() -> RunConfig:
    return compose(
        None,
        None,
        {"trials": 7, "max_epochs": 4, "grace_epochs": 2, "time_budget_s": 3600.0},
        ["space.max_params=5_000_000"],
    )


def drawn(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def screen(width: int, height: int = 24, encoding: str = "utf-8") -> Console:
    """A terminal without colours."""
    file = type("Screen", (io.StringIO,), {"encoding": encoding})()
    return Console(file=file, width=width, height=height, force_terminal=True, color_system=None)


def live_display(config: RunConfig, console: Console) -> LiveDisplay:
    return LiveDisplay(config.budgets, config.ladder, config.space.max_params, console)


def shown(state: RunState, config: RunConfig, width: int, height: int = 24, *, over: bool = False) -> list[str]:
    """The lines of the table of `state`, whose session has just started."""
    console = screen(width, height)
    display = live_display(config, console)
    display.val_images = 100
    console.print(display.render(state, over=over))
    return [line.rstrip() for line in drawn(console).splitlines()]


def table(lines: list[str]) -> list[list[str]]:
    """The cells of the table's rows, without the plot beside them."""
    body = lines[lines.index("") + 1 :]
    return [re.split(r" {4,}\S+ [│|]", row)[0].split() for row in body if re.match(r" {0,2}\d+\.[~ ] |   ~ ", row)]


def searched(folder: Path, trials: int, **recipes: list[Any]) -> RunState:
    """A run of which every third trial is being trained; recipes differ in `recipes`, or layouts in their blocks."""
    with Record(folder) as record:
        start_session(record)
        for trial in range(trials):
            recipe = {name: values[trial % len(values)] for name, values in recipes.items()}
            blocks = (1, 2) if recipes else (1 + trial % 4, 2, 1)
            seed = {"seed": 7}
            record.append("suggested", **suggestion(trial, blocks, 4_000_000 + 9_999 * trial, **recipe) | seed)
            record.append("started", trial=trial, session=1)
            last = 1 if trial % 3 == 2 else 2
            for epoch in range(1, last + 1):
                record.append("report", **report(trial, epoch, {2: 1}.get(epoch), 0.5 + 0.4 * trial / trials))
            if trial % 3 == 0:
                record.append("ended", trial=trial, status="stopped", error=None)
        return record.state


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


def test_a_trial_that_is_trained_on_gets_a_line_at_both_ends(tmp_path: Path, config: RunConfig) -> None:
    console = Console(file=io.StringIO(), width=40)
    display = LineDisplay(config.trials, console)
    with Record(tmp_path / "run") as record, display.live(record.state, 2, time.monotonic()):
        start_session(record)
        run_trial(record, 0, {2: 0.6}, "stopped")
        display.update(record.state)
        run_trial(record, 1, {2: 0.7}, "stopped")
        record.append("confirmed", trials=[0], epochs=4)
        display.update(record.state)
        record.append("report", **report(0, 4, 2, 0.8))
        record.append("ended", trial=0, status="completed", error=None)
        display.update(record.state)
    assert [line.partition(" after")[0] for line in drawn(console).splitlines()] == [
        "1/7 trial 0 stopped",
        "2/7 trial 1 stopped",
        "within noise of the best, and now trained to the end: 1 stopped trial",
        "2/7 trial 0 completed",
    ]


def test_a_pipe_is_told_once_what_is_awaited(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    console, said = Console(file=io.StringIO(), width=40), threading.Event()

    class Heard(LineDisplay):
        def note(self, sentence: str) -> None:
            super().note(sentence)
            said.set()

    display = Heard(config.trials, console)
    with display.waiting("what is there at once"):
        pass
    monkeypatch.setattr(displays, "PATIENCE_S", 0.0)
    for what in ("digits to be loaded", "Ray to start"):
        said.clear()
        with display.waiting(what):
            assert said.wait(30)
    with display.waiting("Ray to start"):
        pass
    with Record(tmp_path / "run") as record, display.live(record.state, 2, time.monotonic()):
        start_session(record)
        for trial in (0, 1):
            record.append("suggested", **suggestion(trial))
            display.update(record.state)
        for trial in (0, 1):
            record.append("started", trial=trial, session=1)
            display.update(record.state)
        record.append("report", **report(0, 1, None))
        display.update(record.state)
    assert drawn(console).splitlines() == [
        f"0:00 waiting for {what}"
        for what in ("digits to be loaded", "Ray to start", "the workers to import torch", "the first epoch")
    ]


def test_a_resumed_search_does_not_repeat_its_lines(tmp_path: Path, config: RunConfig) -> None:
    console = Console(file=io.StringIO())
    display = LineDisplay(config.trials, console)
    with Record(write_run(tmp_path / "run")) as record, display.live(record.state, 2, time.monotonic()):
        display.update(record.state)
    assert drawn(console) == "0:00 waiting for the workers to import torch\n"


@pytest.mark.parametrize("recipes", [{}, {"learning_rate": [0.001, 0.02, 0.1], "muon_rate_factor": [1.0, 2.0]}])
@pytest.mark.parametrize("trials", [1, 4, 60])
def test_the_live_table_fits_the_terminal(tmp_path: Path, config: RunConfig, trials: int, recipes: Any) -> None:
    state = searched(tmp_path / "run", trials, **recipes)
    figures = [{f"{trial.params:,}", f"{trial.val_accuracy or 0.0:.2%}"} for trial in state.trials.values()]
    for (width, height), encoding in itertools.product(SIZES, ("utf-8", "ascii")):
        console = screen(width, height, encoding)
        console.print(live_display(config, console).render(state))
        lines = [line.rstrip() for line in drawn(console).splitlines()]
        assert len(lines) < height
        assert max(map(len, lines)) <= width
        assert "…" not in "".join(lines)
        assert encoding == "utf-8" or "".join(lines).isascii()
        assert all(any(whole & set(row) for whole in figures) for row in table(lines)), "the figures of a row are whole"


def test_rows_use_the_height_of_the_terminal(tmp_path: Path, config: RunConfig) -> None:
    state = searched(tmp_path / "run", 60)
    heights = {height: len(table(shown(state, config, 80, height))) for height in (12, 24, 50)}
    assert [height - rows for height, rows in heights.items()] == [8, 8, 8]


def test_a_trial_has_one_row_and_one_accuracy(tmp_path: Path, config: RunConfig) -> None:
    state = searched(tmp_path / "run", 60)
    for width, height in SIZES:
        rows = table(shown(state, config, width, height))
        numbers = [row[1] for row in rows]
        assert len(numbers) == len(set(numbers))
        assert {"58", "2"} <= set(numbers)
        assert all(sum(cell.endswith("%") for cell in row) == 1 for row in rows)


def test_every_running_trial_has_its_epoch_of_how_many(tmp_path: Path, config: RunConfig) -> None:
    rows = table(shown(searched(tmp_path / "run", 6), config, 80))
    halves = {row[5]: row.pop() for row in rows}
    assert [row for row in rows if row[0] == "~"] == [
        ["~", "2", "3-2-1", "4,019,998", "1/4", "63.33%"],
        ["~", "5", "2-2-1", "4,049,995", "1/4", "83.33%"],
    ]
    assert ["1.~", "4", "1-2-1", "4,039,996", "2/4", "76.67%"] in rows
    assert ["2.", "3", "4-2-1", "4,029,997", "2", "70.00%"] in rows
    low, high = wilson_interval(0.7, 100)
    assert halves["70.00%"] == f"{50 * (high - low):.1f}"


def test_columns_are_what_differs(tmp_path: Path, config: RunConfig) -> None:
    layouts = shown(searched(tmp_path / "layouts", 6), config, 80)
    assert "      trial  blocks     params  epochs     val    ±" in layouts
    rates = shown(searched(tmp_path / "rates", 6, learning_rate=[0.001, 0.1]), config, 80)
    assert "      trial     params      rate  epochs     val    ±" in rates
    assert " " * 24 + "learning" in rates
    one = shown(searched(tmp_path / "one", 1), config, 80)
    assert "      trial  blocks  channels     params  epochs     val    ±" in one


def test_the_head_has_progress_time_and_the_best_with_its_interval(tmp_path: Path, config: RunConfig) -> None:
    write_run(tmp_path / "run")
    with Record(tmp_path / "run") as record:
        start_session(record, 2)
        record.append("started", trial=5, session=2)
        console = screen(100)
        display = live_display(config, console)
        display.val_images = 100
        with display.live(record.state, 2, time.monotonic() - 65):
            console.print(display.render(record.state))
    lines = [line.rstrip() for line in drawn(console).splitlines()]
    assert "5/7 trials  1 running  2 completed  1 stopped  1 diverged  1 failed" in lines
    assert any(re.search(r"^1:0[5-9] elapsed  at most 58:5\d left  time budget 1:00:00$", line) for line in lines)
    assert "best 90.00% [82.6, 94.5]  trial 2  20,000 parameters" in lines
    assert "rungs reached: 4 at 2 epochs, 2 at 4" in lines
    assert "waiting for the first epoch" in lines


def test_wide_terminals_have_a_plot(tmp_path: Path, config: RunConfig) -> None:
    state = searched(tmp_path / "run", 20)
    for width in (80, 119, 120, 200):
        text = "\n".join(shown(state, config, width, 40))
        assert ("accuracy by parameters" in text) == ("budget 5,000,000" in text) == (width >= 120)


def fed(terminal: Terminal, console: Console) -> None:
    """Shows what the console has written since the last call."""
    terminal.feed(drawn(console))
    assert isinstance(console.file, io.StringIO)
    console.file.seek(0)
    console.file.truncate()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every update draws."""
    monkeypatch.setattr(live_table, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(live_table, "RENDER_SHARE", -1)
    monkeypatch.setattr(live_table, "IDLE_INTERVAL_S", 0.0)


@pytest.mark.usefixtures("unhurried")
def test_ended_trials_and_the_last_table_stay_on_the_screen(tmp_path: Path, config: RunConfig) -> None:
    console, terminal = screen(80), Terminal(80)
    display = live_display(config, console)
    with Record(tmp_path / "run") as record, display.live(record.state, 2, time.monotonic()):
        start_session(record)
        run_trial(record, 0, {2: 0.6, 4: 0.8}, params=10_000)
        display.update(record.state)
        run_trial(record, 1, {2: 0.1}, "failed", blocks=(2, 2), error="Traceback\nValueError: no " + "room " * 20)
        display.update(record.state)
        display.note("the disk is full")
        record.append("suggested", **suggestion(2))
        record.append("started", trial=2, session=1)
        display.update(record.state)
    fed(terminal, console)
    assert terminal.lines[:5] == [
        "1/7 trial 0 completed, 80.00%, 4 epochs, 10,000 params, 1-2x16-32",
        "2/7 trial 1 failed, 10.00%, 2 epochs, 1,000 params, 2-2x16-32",
        "  ValueError: no room room room room room room room room room room room room",
        "    room room room room room room room room",
        "the disk is full",
    ]
    assert terminal.lines[5] == "2/7 trials  1 interrupted  1 completed  1 failed", "nothing runs after the end"
    assert sum("elapsed" in line for line in terminal.lines) == 1
    assert terminal.lines[-1] == "", "what comes next begins a line"
    assert any(line.startswith("  1.") for line in terminal.lines)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("widths", [(40, 130), (130, 41, 60), (200, 40, 200), (80, 79)])
@pytest.mark.parametrize("by_note", [False, True])
def test_a_resize_leaves_no_line_behind(
    tmp_path: Path, config: RunConfig, widths: tuple[int, ...], by_note: bool
) -> None:
    console, terminal = screen(120, 30), Terminal(120)
    terminal.feed("$ python -m search.run\n")
    display = live_display(config, console)
    state = searched(tmp_path / "run", 9)
    with display.live(state, 2, time.monotonic()):
        fed(terminal, console)
        for width in widths:
            terminal.resize(width)
            console.size = (width, 30)
            if by_note:
                display.note("note")
            display.update(state)
            fed(terminal, console)
            assert "".join(terminal.lines[: (width < 22) + 1]).startswith("$ python -m search.run")
            counts = [sum(word in line for line in terminal.lines) for word in ("elapsed", "rungs", "   trial")]
            assert counts == [1, 1, 1]
            assert len("\n".join(terminal.lines).strip().splitlines()) <= 30 + len(widths)


def test_the_live_table_is_drawn_at_most_four_times_a_second(tmp_path: Path, config: RunConfig) -> None:
    console = screen(80)
    with Record(write_run(tmp_path / "run")) as record:
        display = live_display(config, console)
        with display.live(record.state, 2, time.monotonic()):
            started = time.monotonic()
            before = drawn(console).count("rungs reached")
            for _ in range(200):
                display.update(record.state)
            draws = drawn(console).count("rungs reached") - before
            elapsed = time.monotonic() - started
    assert 1 <= draws <= 1 + elapsed / MIN_INTERVAL_S


def test_a_terminal_shows_what_is_awaited_until_it_is_there(config: RunConfig) -> None:
    console, terminal = screen(80), Terminal(80)
    with live_display(config, console).waiting("Ray to start"):
        pass
    assert "0:00 waiting for Ray to start" in drawn(console)
    fed(terminal, console)
    assert terminal.lines == [""] or not any(terminal.lines)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.9, "1:05"), (3600, "1:00:00"), (36_061, "10:01:01")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
