"""A study rebuilt from the record goes on as the uninterrupted one: same trials, same proposals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.study import Study

from model_zoo import count_flops, count_params
from results import Record, read_record
from search.layouts import LayoutSpace
from search.layouts.index import index_of_space
from search.recipes import RecipeSpace
from search.sampling import JointSpace
from search.sampling.joint_space import Candidate
from search.sampling.study import Asked, RunStudy
from tests.support.recipe_fixtures import INFINITE, space_of
from tests.support.results_fixtures import report, start_session

SPACE = LayoutSpace.model_validate(
    {"stages": [2, 3], "blocks": [1, 4], "channels": [8, 12, 16, 24], "min_params": 8_000, "max_params": 40_000}
)
RECIPES = space_of({"optimizer": ["sgd", "adam"], "momentum": [0.5, 0.9]})
RUNGS = (2, 4, 8)
SAMPLERS = ("tpe", "gp", "random", "grid", "optuna:TPESampler")
IMAGES = 150
OPEN = 3
"""Trials at a time."""


def suggested(record: Record, asked: Asked) -> None:
    layout, recipe = asked.candidate
    record.append(
        "suggested",
        trial=asked.number,
        layout=layout.to_dict(),
        layout_id=layout.layout_id,
        params=count_params(layout),
        flops=count_flops(layout, 8),
        depth=layout.depth,
        recipe=recipe.model_dump() | {"epochs": RUNGS[-1]},
        seed=asked.seed,
        proposal=asked.proposal,
    )


def contents(study: Study) -> list[tuple[Any, ...]]:
    """What a sampler can see of a study's trials."""
    return [
        (t.number, t.state, t.params, t.distributions, t.intermediate_values, t.values, t.user_attrs)
        for t in study.get_trials()
    ]


class Driver:
    """Runs trials the way search.driver.searcher does: record first, then study; outcomes are drawn from a seed."""

    def __init__(
        self,
        folder: Path,
        sampler: str,
        trials: int,
        *,
        restarts: bool = False,
        recipes: RecipeSpace = RECIPES,
        **options: Any,
    ) -> None:
        self.folder, self.sampler, self.trials, self.restarts = folder, sampler, trials, restarts
        self.candidates, self.options = JointSpace(SPACE, recipes), options
        self.asked: list[Asked] = []
        self.steps = self.rebuilt = 0

    @property
    def ran(self) -> list[tuple[Candidate, int]]:
        """What was run, with its seeds."""
        return [(asked.candidate, asked.seed) for asked in self.asked]

    def run(self) -> Driver:
        outcomes = np.random.default_rng(5)
        with Record(self.folder) as record:
            start_session(record)
            study = RunStudy(self.candidates, self.sampler, 7, record.state, images=IMAGES, **self.options)
            while len(self.asked) < self.trials:
                open_trials = [number for number, trial in record.state.trials.items() if not trial.ended]
                if len(open_trials) < OPEN:
                    self.asked.append(study.ask())
                    suggested(record, self.asked[-1])
                else:
                    self._advance(record, study, open_trials[int(outcomes.integers(OPEN))], outcomes)
                self.steps += 1
                if self.restarts and self.steps % 7 == 0:
                    state = read_record(self.folder)
                    again = RunStudy(self.candidates, self.sampler, 7, state, images=IMAGES, **self.options)
                    assert contents(again.study) == contents(study.study)
                    study, self.rebuilt = again, self.rebuilt + 1
        return self

    def _advance(self, record: Record, study: RunStudy, number: int, outcomes: np.random.Generator) -> None:
        trial = record.state.trials[number]
        ending = str(outcomes.choice(["stopped", "diverged", "failed", "lost", "none"], p=[0.1, 0.04, 0.03, 0.03, 0.8]))
        if ending == "stopped" and trial.epochs not in RUNGS:
            ending = "none"
        if ending == "none":
            epoch, value = trial.epochs + 1, round(float(outcomes.random()), 1)  # one decimal, for ties
            rung = RUNGS.index(epoch) + 1 if epoch in RUNGS else None
            record.append("report", **report(number, epoch, rung, value))
            if rung is not None:
                study.report(number, epoch, value)
            if epoch == RUNGS[-1]:
                ending = "completed"
        if ending != "none":
            record.append("ended", trial=number, status=ending, error=None)
            study.tell(number, ending, record.state.trials[number].val_accuracy)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("replicates", [1, 3])
def test_a_rebuilt_study_proposes_what_the_uninterrupted_one_does(
    sampler: str, replicates: int, tmp_path: Path
) -> None:
    first = [Candidate(index_of_space(SPACE).at(np.array([number]))[0], RECIPES.decode({})) for number in (300, 5)]
    others = {"first": first, "replicates": replicates}
    whole = Driver(tmp_path / "whole", sampler, 30, **others).run()
    pieces = Driver(tmp_path / "pieces", sampler, 30, restarts=True, **others).run()
    assert pieces.rebuilt > 10
    assert pieces.ran == whole.ran
    assert len(set(whole.ran)) == 30
    assert [whole.candidates.decode(asked.proposal) for asked in whole.asked[: 2 * replicates : replicates]] == first
    state = read_record(tmp_path / "whole")
    statuses = [trial.status for trial in state.trials.values()]
    assert {"completed", "stopped", "diverged", "failed", "running"} <= set(statuses)
    assert statuses.count("completed") + statuses.count("stopped") > 12  # TPE's model starts at 10


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_recipes_with_ranges_are_rebuilt_to_the_same_proposals(sampler: str, tmp_path: Path) -> None:
    recipes = space_of(INFINITE)
    whole = Driver(tmp_path / "whole", sampler, 24, recipes=recipes).run()
    pieces = Driver(tmp_path / "pieces", sampler, 24, recipes=recipes, restarts=True).run()
    assert pieces.ran == whole.ran
    # The neighbours of a candidate have its learning rate, unless that is what was moved.
    assert len({recipe.learning_rate for (_, recipe), _ in whole.ran}) > (15 if sampler == "gp" else 23)


def test_records_from_before_recipes_had_all_their_fields_are_rebuilt_with_the_defaults(tmp_path: Path) -> None:
    Driver(tmp_path, "random", 6, recipes=RecipeSpace()).run()
    path = tmp_path / "record.jsonl"
    text = path.read_text()
    for field in ('"adaptive_clipping":0.0,', '"mixup_alpha":0.0,', '"cutmix_alpha":0.0,', '"patience_epochs":0,'):
        assert text.count(field) == 6
        text = text.replace(field, field.partition(":")[0] + ":null,") if "mix" in field else text.replace(field, "")
    path.write_text(text)
    state = read_record(tmp_path)
    assert all(trial.recipe.get("patience_epochs") is None for trial in state.trials.values())
    study = RunStudy(JointSpace(SPACE, RecipeSpace()), "random", 7, state)
    assert [trial.params for trial in study.study.trials] == [trial.proposal for trial in state.trials.values()]


def test_a_trial_whose_suggestion_is_damaged_keeps_its_number(tmp_path: Path) -> None:
    done = Driver(tmp_path, "tpe", 6).run()
    path = tmp_path / "record.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = next(i for i, line in enumerate(lines) if b'"suggested","trial":2' in line)
    lines[damaged] = b"?\n"
    path.write_bytes(b"".join(lines))
    state = read_record(tmp_path)
    study = RunStudy(done.candidates, "tpe", 7, state)
    assert sorted(state.trials) == [0, 1, 3, 4, 5]
    assert [t.state.name for t in study.study.trials][2] == "FAIL"
    for number, trial in state.trials.items():
        assert study.study.trials[number].params == trial.proposal
    asked = study.ask()
    assert asked.number == 6
    assert asked.candidate not in [candidate for i, (candidate, _) in enumerate(done.ran) if i != 2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_candidates_that_a_narrowed_space_leaves_out_keep_their_numbers_and_are_not_proposed_again(
    sampler: str, tmp_path: Path
) -> None:
    done = Driver(tmp_path, sampler, 30).run()
    narrow = SPACE.model_copy(update={"channels": (8, 16), "max_params": 30_000})
    state = read_record(tmp_path)
    for recipes in (RECIPES, space_of({"optimizer": "sgd", "momentum": [0.5, 0.9]})):
        candidates = JointSpace(narrow, recipes)
        study = RunStudy(candidates, sampler, 7, state)
        inside = [candidates.encode(candidate) is not None for candidate, _ in done.ran]
        assert 0 < sum(inside) < 30
        assert [bool(trial.params) for trial in study.study.trials] == inside
        for number in range(30, 34):
            asked = study.ask()
            assert asked.number == number
            assert narrow.contains(asked.candidate.layout)
            assert recipes.encode(asked.candidate.recipe) is not None
            assert asked.candidate not in [candidate for candidate, _ in done.ran]
