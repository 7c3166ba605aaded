"""A study rebuilt from the record goes on as the uninterrupted one: same trials, same proposals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.study import Study

from model_zoo import ResNetLayout, count_flops, count_params
from results import Record, read_record
from search.history import History
from search.sampler import SAMPLERS
from search.space import SearchSpace
from tests.results_fixtures import RECIPE, report, start_session

SPACE = SearchSpace.model_validate(
    {"stages": [2, 3], "blocks": [1, 4], "channels": [8, 12, 16, 24], "min_params": 8_000, "max_params": 40_000}
)
RUNGS = (2, 4, 8)
OPEN = 3
"""Trials at a time."""


def suggested(record: Record, number: int, layout: ResNetLayout, proposal: dict[str, int]) -> None:
    record.append(
        "suggested",
        trial=number,
        layout=layout.to_dict(),
        layout_id=layout.layout_id,
        params=count_params(layout),
        flops=count_flops(layout, 8),
        recipe=RECIPE,
        seed=0,
        proposal=proposal,
    )


def contents(study: Study) -> list[tuple[Any, ...]]:
    """What a sampler can see of a study's trials."""
    return [(t.number, t.state, t.params, t.distributions, t.intermediate_values, t.values) for t in study.get_trials()]


class Driver:
    """Runs trials the way search.searcher does: record first, then study; outcomes are drawn from a seed."""

    def __init__(self, folder: Path, sampler: str, trials: int, restarts: bool) -> None:
        self.folder, self.sampler, self.trials, self.restarts = folder, sampler, trials, restarts
        self.layouts: list[ResNetLayout] = []
        self.rebuilt = 0

    def run(self) -> "Driver":
        outcomes = np.random.default_rng(5)
        with Record(self.folder) as record:
            start_session(record)
            history = History(SPACE, self.sampler, 7, record.state)
            while len(self.layouts) < self.trials:
                open_trials = [number for number, trial in record.state.trials.items() if not trial.ended]
                if len(open_trials) < OPEN:
                    number, layout, proposal = history.ask()
                    suggested(record, number, layout, proposal)
                    self.layouts.append(layout)
                else:
                    self._advance(record, history, open_trials[int(outcomes.integers(OPEN))], outcomes)
                if self.restarts and len(self.layouts) % 3 == 0:
                    again = History(SPACE, self.sampler, 7, read_record(self.folder))
                    assert contents(again.study) == contents(history.study)
                    history, self.rebuilt = again, self.rebuilt + 1
        return self

    def _advance(self, record: Record, history: History, number: int, outcomes: np.random.Generator) -> None:
        trial = record.state.trials[number]
        ending = str(outcomes.choice(["stopped", "diverged", "failed", "none"], p=[0.1, 0.05, 0.05, 0.8]))
        if ending == "stopped" and trial.epochs not in RUNGS:
            ending = "none"
        if ending == "none":
            epoch, value = trial.epochs + 1, round(float(outcomes.random()), 1)  # one decimal, for ties
            rung = RUNGS.index(epoch) + 1 if epoch in RUNGS else None
            record.append("report", **report(number, epoch, rung, value))
            if rung is not None:
                history.report(number, epoch, value)
            if epoch == RUNGS[-1]:
                ending = "completed"
        if ending != "none":
            record.append("ended", trial=number, status=ending, error=None)
            history.tell(number, ending, record.state.trials[number].val_accuracy)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_rebuilt_study_proposes_what_the_uninterrupted_one_does(sampler: str, tmp_path: Path) -> None:
    whole = Driver(tmp_path / "whole", sampler, 40, restarts=False).run()
    pieces = Driver(tmp_path / "pieces", sampler, 40, restarts=True).run()
    assert pieces.rebuilt > 30
    assert pieces.layouts == whole.layouts
    state = read_record(tmp_path / "whole")
    statuses = [trial.status for trial in state.trials.values()]
    assert {"completed", "stopped", "diverged", "failed", "running"} <= set(statuses)
    assert statuses.count("completed") + statuses.count("stopped") > 12  # TPE's model starts at 10


def test_a_trial_whose_suggestion_is_damaged_keeps_its_number(tmp_path: Path) -> None:
    Driver(tmp_path, "tpe", 6, restarts=False).run()
    path = tmp_path / "record.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = next(i for i, line in enumerate(lines) if b'"suggested","trial":2' in line)
    lines[damaged] = b"?\n"
    path.write_bytes(b"".join(lines))
    state = read_record(tmp_path)
    history = History(SPACE, "tpe", 7, state)
    assert sorted(state.trials) == [0, 1, 3, 4, 5]
    assert [t.state.name for t in history.study.trials][2] == "FAIL"
    for number, trial in state.trials.items():
        assert history.study.trials[number].params == trial.proposal
    number, layout, _ = history.ask()
    assert number == 6
    assert layout not in {ResNetLayout.from_dict(trial.layout) for trial in state.trials.values()}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_layouts_that_a_narrowed_space_leaves_out_keep_their_numbers_and_are_not_proposed_again(
    sampler: str, tmp_path: Path
) -> None:
    done = Driver(tmp_path, sampler, 30, restarts=False).run()
    narrow = SPACE.model_copy(update={"channels": (8, 16), "max_params": 30_000})
    history = History(narrow, sampler, 7, read_record(tmp_path))
    inside = [set(layout.channels) <= {8, 16} for layout in done.layouts]
    assert 0 < sum(inside) < 30
    assert [bool(trial.params) for trial in history.study.trials] == inside
    for number in range(30, 34):
        asked, layout, _ = history.ask()
        assert asked == number
        assert narrow.contains(layout)
        assert layout not in done.layouts
