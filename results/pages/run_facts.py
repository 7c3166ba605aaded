"""Collects what a page shows of runs from their files."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from results.errors import ResultsError, RunNotFoundError
from results.pages.searched_fields import SearchedField, searched_fields
from results.ranking.board import Board
from results.ranking.comparison import compared
from results.ranking.query import rank_table
from results.record.folders import RUN_FILE, find_runs
from results.record.lock import dead_holder
from results.record.reading import read_run, with_data
from results.record.record import read_record
from results.record.state import RunState
from results.trial_page.ending import ending
from results.trial_page.facts import TrialFacts, trial_facts
from results.trial_page.rungs import RungReached, rungs_by_trial

Row = dict[str, Any]

ENDED_BADLY = ("diverged", "out-of-memory", "lost", "failed")
"""Statuses of trials that failed."""


@dataclass(frozen=True, eq=False)
class TrialOnPage:
    """A trial as the page shows it."""

    run: str
    row: Row
    """Its row of the leaderboard: the columns of `RANKED_SCHEMA`, None for null."""
    rungs: list[RungReached]
    epochs: list[Row]
    """Its rows of the epochs table."""
    ending: str

    @property
    def key(self) -> str:
        """RUN/NUMBER."""
        return f"{self.run}/{self.row['trial']}"

    @property
    def accuracy(self) -> float | None:
        """Its validation accuracy if it has a rank, in [0, 1]."""
        value = self.row["val_accuracy"]
        return value if self.row["rank"] is not None and value is not None and math.isfinite(value) else None

    @property
    def failed(self) -> bool:
        """Whether it ended without a usable network."""
        return self.row["status"] in ENDED_BADLY

    @property
    def time_s(self) -> float:
        """Seconds of training and validation."""
        return (self.row["train_time_s"] or 0.0) + (self.row["eval_time_s"] or 0.0)


@dataclass(frozen=True, eq=False)
class RunOnPage:
    """A run as the page shows it."""

    name: str
    folder: Path
    config: Row
    """Its configuration; empty if `run.json` is lost."""
    stored: Row
    """All of `run.json`."""
    state: RunState
    """The state that its record adds up to; empty if the record is lost."""
    trials: list[TrialOnPage]
    """In the order of the leaderboard."""
    fields: list[SearchedField]
    means: list[Row]
    """The leaderboard over seeds, if the run's trials are compared by means; otherwise empty."""
    winner: TrialFacts | None
    """The best trial; None before one has a rank."""
    alive: bool
    """Whether a driver is at work on it."""

    @property
    def budget(self) -> int | None:
        """The most parameters that a trial may have."""
        limits = self.state.limits
        return limits.max_params if limits else self.config.get("space", {}).get("max_params")

    @property
    def dataset(self) -> str:
        """The name of the data set; empty if it is not known."""
        return str(self.config.get("dataset", ""))

    def in_time(self) -> list[Row]:
        """Its rows of the epochs table for the epochs that the run trained itself, in the order in which they ended."""
        own = (row for it in self.trials for row in it.epochs if row["reused"] is None)
        return sorted(own, key=lambda row: (row["time_s"], row["trial"], row["epoch"]))

    @property
    def by_number(self) -> dict[int, TrialOnPage]:
        """The trials by their number, ascending."""
        return {trial.row["trial"]: trial for trial in sorted(self.trials, key=lambda it: int(it.row["trial"]))}


@dataclass(frozen=True)
class PageFacts:
    """What a page shows."""

    runs: list[RunOnPage]
    trials: list[TrialOnPage]
    """The trials of all runs in the order of their common leaderboard."""
    fidelities: list[int]
    """The epochs at which trials were compared, ascending."""
    notes: list[str]
    """Sentences on damaged files."""
    comparisons: list[Board]
    """The first run beside each of the others."""


def page_facts(storage: Path, names: list[str]) -> PageFacts:
    """The facts of the runs with these names in `storage` or at these paths.

    Raises:
        RunNotFoundError: there is no such run.
        ResultsError: a run cannot be read, or has no trial yet.
    """
    found = find_runs(storage, names)
    notes: list[str] = []
    tables: dict[str, pa.Table] = {}
    epochs: dict[str, dict[int, list[Row]]] = {}
    for run, folder in found.items():
        read = read_run(folder, run)
        notes += read.notes
        if not read.trials.num_rows:
            raise ResultsError(f"{run}: no trial yet, so there is nothing to report; wait for its first trial")
        tables[run] = with_data(read.trials, folder)
        epochs[run] = {}
        for row in read.epochs.to_pylist():
            epochs[run].setdefault(row["trial"], []).append(row)
    ordered, means = _leaderboard(pa.concat_tables(tables.values()))
    stored = {run: _run_file(folder) for run, folder in found.items()}
    trials = [trial for run in found for trial in _trials(run, ordered, epochs[run], stored[run].get("config", {}))]
    places = {(row["run"], row["trial"]): place for place, row in enumerate(ordered)}
    trials.sort(key=lambda trial: places[trial.run, trial.row["trial"]])
    runs = [_run(run, folder, trials, stored[run], means, notes) for run, folder in found.items()]
    fidelities = sorted({rung.epoch for trial in trials for rung in trial.rungs})
    first, *others = found.values()
    comparisons = [compared(storage, str(first), str(other))[0] for other in others]
    return PageFacts(runs, trials, fidelities, list(dict.fromkeys(notes)), comparisons)


def _leaderboard(trials: pa.Table) -> tuple[list[Row], list[Row]]:
    """The rows of all trials in the order of their ranks, and those of the leaderboard over seeds if it is the usual.

    There a trial shares the rank of its layout and recipe.
    """
    single, usual = rank_table(trials, all_trials=True, over_seeds=False), rank_table(trials)
    rows = _rows(single)
    if "trials" not in usual.columns:
        return rows, []
    means = _rows(usual)
    shared = {(row["run"], trial): row["rank"] for row in means for trial in row["trials"]}
    for row in rows:
        row["rank"] = row["rank"] and shared.get((row["run"], row["trial"]))
        row["tied"] = None
    return sorted(rows, key=lambda row: (row["rank"] is None, row["rank"] or 0)), means


def _rows(board: Any) -> list[Row]:
    """The rows of a frame with None for what is null; numbers of its own types become Python's."""
    columns = [board[name].astype(object).where(board[name].notna(), None).tolist() for name in board.columns]
    return [dict(zip(board.columns, values, strict=True)) for values in zip(*columns, strict=True)]


def _trials(run: str, ordered: list[Row], epochs: dict[int, list[Row]], config: Row) -> list[TrialOnPage]:
    own = [row for row in ordered if row["run"] == run]
    inside = {row["trial"] for row in own if row["within_limits"] is not False}
    factor, last = config.get("reduction_factor"), config.get("max_epochs", own[0]["recipe_epochs"])
    every = (row for trial in sorted(epochs) for row in epochs[trial])
    rungs = rungs_by_trial(every, inside, factor, last)
    found = []
    for row in own:
        trained, reached = epochs.get(row["trial"], []), rungs.get(row["trial"], [])
        found.append(TrialOnPage(run, row, reached, trained, ending(row, trained, reached, factor)))
    return found


def _run(
    run: str, folder: Path, trials: list[TrialOnPage], stored: Row, means: list[Row], notes: list[str]
) -> RunOnPage:
    own = [trial for trial in trials if trial.run == run]
    try:
        state = read_record(folder)
    except RunNotFoundError:
        state = RunState()
        notes.append(f"{folder}: its record is lost, so sessions and test results are not shown")
    winner = None
    if any(trial.row["rank"] is not None for trial in own):
        winner = trial_facts(folder.parent, str(folder), None)
        notes += winner.notes
    return RunOnPage(
        name=run,
        folder=folder,
        config=stored.get("config", {}),
        stored=stored,
        state=state,
        trials=own,
        fields=searched_fields([trial.row for trial in own], stored.get("config", {})),
        means=[row for row in means if row["run"] == run],
        winner=winner,
        alive=(folder / "lock").exists() and dead_holder(folder) is None,
    )


def _run_file(folder: Path) -> Row:
    try:
        stored = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) and isinstance(stored.get("config"), dict) else {}
