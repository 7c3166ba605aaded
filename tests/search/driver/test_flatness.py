"""A search of thousands of trials costs at each step what its first hundred cost: operations counted, not timed."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.flatness.zero_work import ZeroWork, accuracy_of
from results import Record, RunState, read_record
from results.ranking.rung_bar import bar
from search.config import RunConfig, compose
from search.config.views import Ladder
from search.driver import session
from search.driver.disk_watch import PatientRecord
from search.driver.display import LineDisplay, SilentDisplay
from search.planning.preparation import Prepared
from search.runs import standings
from search.runs.checkpoint_files import checkpoint_path, drop_checkpoints
from search.runs.folder import write_run_file
from search.runs.ranking import Leaders, ranked
from search.runs.reuse import ReusableResults
from search.runs.rungs import AshaRungs
from tests.support.results_fixtures import report, run_trial, start_session
from tests.support.simulated_sessions import searcher_over

WIDE = ["space.blocks=[1,6]", "space.max_params=400_000", "recipe.learning_rate={low=0.01,high=0.1}"]


@pytest.fixture
def config() -> RunConfig:
    flags = {"trials": 120, "max_epochs": 3, "grace_epochs": 1, "sampler": "random", "concurrency": 1}
    return compose(None, None, flags, WIDE)


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[Any]:
    """The first arguments of all calls of `owner`'s function `name` from now on."""
    calls: list[Any] = []
    function: Callable[..., Any] = getattr(owner, name)

    def counting(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments[0])
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, counting)
    return calls


class Compared(float):
    """A float that counts the comparisons in which it takes part."""

    count = 0

    def __lt__(self, other: float) -> bool:
        Compared.count += 1
        return float.__lt__(self, other)

    def __ge__(self, other: float) -> bool:
        Compared.count += 1
        return float.__ge__(self, other)


@given(
    values=st.lists(st.floats(0, 1) | st.sampled_from([k / 144 for k in range(145)]), min_size=1, max_size=60),
    factor=st.integers(2, 10),
)
def test_the_bar_of_a_rung_is_numpys_quantile_to_the_last_bit(values: list[float], factor: int) -> None:
    assert bar(sorted(values), factor) == float(np.quantile(values, 1 - 1 / factor))


def test_a_decision_compares_with_few_of_those_before() -> None:
    rungs = AshaRungs(Ladder((1, 3), 3))
    values = np.random.default_rng(0).random(4000)
    for trial, value in enumerate(values):
        Compared.count = 0
        goes_on = rungs.goes_on(trial, 1, Compared(value))
        assert Compared.count <= math.log2(trial + 1) + 2
        if trial in (1, 10, 3999):
            assert goes_on == (value >= np.quantile(values[:trial], 2 / 3))


def test_an_ending_removes_at_most_one_checkpoint_and_those_that_a_full_look_would(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = counted(monkeypatch, Path, "unlink")
    with Record(tmp_path) as record:
        start_session(record)
        searcher = searcher_over(config, record)
        checkpoint_path(tmp_path, 0).parent.mkdir()
        for number in range(config.trials):
            suggested = searcher.suggest(str(number))
            assert isinstance(suggested, dict)
            Path(suggested["checkpoint"]).touch()
            searcher.on_trial_start(str(number))
            outcome = "diverged" if number % 7 == 3 else "stopped"
            fields = report(number, 1, 1, accuracy_of(number, number % 5))
            searcher.on_trial_complete(str(number), {**fields, "outcome": outcome, "error": None})
            assert len(removed) == max(0, number + 1 - config.keep_checkpoints)
            best = [trial.trial for trial in ranked(record.state)[: config.keep_checkpoints]]
            left = sorted(path.name for path in checkpoint_path(tmp_path, 0).parent.iterdir())
            assert left == sorted(checkpoint_path(tmp_path, trial).name for trial in best)
        removed.clear()
        drop_checkpoints(tmp_path, record.state, config.keep_checkpoints)
        assert removed == []


@pytest.mark.parametrize("size", [1, 3])
def test_leaders_told_of_each_ending_are_those_of_a_full_ranking(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    with Record(tmp_path) as record:
        start_session(record)
        leaders = Leaders(record.state, size)
        for number in range(60):
            rungs = {2 * rung: float(generator.integers(4)) / 4 for rung in range(1, int(generator.integers(1, 4)))}
            status = str(generator.choice(["completed", "stopped", "diverged", "failed"]))
            run_trial(record, number, rungs, status, params=int(generator.integers(1000, 1003)))
            before = [trial.trial for trial in leaders.trials]
            left = leaders.take(record.state.trials[number])
            after = [trial.trial for trial in ranked(record.state) if trial.ended][:size]
            assert [trial.trial for trial in leaders.trials] == after
            assert {*before, number} - {*after} == {trial.trial for trial in left}
        assert [trial.trial for trial in Leaders(record.state, size).trials] == after


def test_a_line_of_a_finished_trial_ranks_none_of_the_finished_again(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO())
    display = LineDisplay(config.trials, console)
    ranks = counted(monkeypatch, standings, "rule_key")
    expected = []
    with Record(tmp_path) as record, display.live(record.state, 1, 0.0):
        start_session(record)
        run_trial(record, 0, {2: 0.55}, status=None)  # in the lead at first, and never finished
        for number in range(1, 150):
            run_trial(record, number, {2: accuracy_of(number, 1)}, "stopped")
            ranks.clear()
            display.update(record.state)
            assert len(ranks) <= 6
            best = ranked(record.state)[0]
            expected.append((f"{number}/120 trial {number} stopped", f"{best.val_accuracy:.2%} (trial {best.trial})"))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [(line.partition(" after")[0], line.partition(", best ")[2]) for line in lines] == expected


@pytest.mark.search
def test_a_real_search_of_trials_without_work_ends_and_ray_keeps_nothing_of_them(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config.model_copy(update={"trials": 10, "concurrency": 2, "cpus_per_trial": 1})
    seen: dict[str, Any] = {}
    step = session.Progress.on_step_end

    def looking(progress: session.Progress, iteration: int, trials: list[Any], **info: Any) -> None:
        step(progress, iteration, trials, **info)
        seen.update({trial.trial_id: trial for trial in trials})

    snapshots: list[Any] = []
    drop = session.drop_files_of_ray

    def reading(run: Path) -> None:
        snapshots.extend(json.loads(path.read_text()) for path in session.files_of_ray(run).rglob("experiment_state-*"))
        drop(run)

    monkeypatch.setattr(session.Progress, "on_step_end", looking)
    monkeypatch.setattr(session, "drop_files_of_ray", reading)
    folder = tmp_path / "zero"
    write_run_file(folder, config)
    with PatientRecord(folder) as record:
        reusable = ReusableResults(config, {}, {})
        display = SilentDisplay(Console(stderr=True))
        prepared = Prepared(config, folder, 2, [], [], {})
        end = session.run_session(prepared, record, None, reusable, display, pytest.fail, ZeroWork)
    assert end.reason == "done"
    state: RunState = read_record(folder)
    assert {trial.status for trial in state.trials.values()} == {"completed", "stopped"}
    for number, reports in state.reports.items():
        assert [r.val_accuracy for r in reports] == [accuracy_of(number, r.epoch) for r in reports]
    assert len(seen) == 10
    for trial in seen.values():
        kept = trial.run_metadata
        assert kept.last_result.keys() <= {"done", "trial_id"}
        assert (kept.metric_analysis, kept.metric_n_steps) == ({}, {})
        assert (trial.config, trial.evaluated_params) == ({}, {})
    assert [snapshot["trial_data"] for snapshot in snapshots] == [[["{}", "{}"]] * 10]
    assert not session.files_of_ray(folder).exists()
    left = {path.name for path in (folder / "checkpoints").iterdir()}
    assert left == {checkpoint_path(folder, trial.trial).name for trial in ranked(state)[: config.keep_checkpoints]}
