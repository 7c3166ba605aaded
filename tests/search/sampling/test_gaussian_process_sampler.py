"""Bayesian optimisation in studies: what is evidence, what a proposal depends on, and how much it may compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.sampler.nas_bench_201 import TableCells
from search.layouts import LayoutSpace
from search.recipes.dimensions import Values
from search.sampling import GaussianProcessSampler, JointSpace, gaussian_process, gaussian_process_sampler
from search.sampling.evidence import MOST_STEPS, NO_FAULT, evidence_of, kept, measured
from search.sampling.gaussian_process_sampler import AROUND, AROUND_TOP, DRAWN, MOST_FITTED, MOST_ROWS, ROUNDS
from search.sampling.joint_space import Candidate
from tests.support.recipe_fixtures import space_of

optuna.logging.set_verbosity(optuna.logging.WARNING)

MIDDLE = LayoutSpace.model_validate(
    {"stages": [2], "blocks": [1, 64], "channels": [8, 16, 24, 32], "min_params": 50_000, "max_params": 2_000_000}
)
RECIPES = space_of({"optimizer": ["sgd", "adam"], "learning_rate": {"low": 0.01, "high": 0.4, "log": True}})
POINTS = JointSpace(MIDDLE, RECIPES)
RUNGS = (2, 6, 18)


def score(candidate: Candidate) -> float:
    layout, recipe = candidate
    return 0.9 - abs(layout.blocks[0] - 20) / 200 - abs(np.log10(recipe.learning_rate) + 1) / 10


def values_of(number: int) -> Values:
    candidate = POINTS.draw(np.random.default_rng(number), ())
    assert candidate is not None
    values = POINTS.encode(candidate)
    assert values is not None
    return values


def ended(number: int, state: TrialState = TrialState.COMPLETE, **changed: Any) -> optuna.trial.FrozenTrial:
    """A trial of another candidate for each number, which ended at a rung that follows from its number."""
    values = values_of(number)
    reached = RUNGS[: 1 + number % 3]
    accuracy = score(POINTS.decode(values))
    given: dict[str, Any] = {
        "state": TrialState.PRUNED if len(reached) < 3 and state is TrialState.COMPLETE else state,
        "value": None if state is TrialState.FAIL else accuracy,
        "params": values,
        "distributions": POINTS.dimensions,
        "intermediate_values": {rung: accuracy - 0.5 / rung for rung in reached},
    }
    return optuna.trial.create_trial(**given | changed)


def study_of(trials: list[optuna.trial.FrozenTrial], **options: Any) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=GaussianProcessSampler(POINTS, seed=4, **options))
    study.add_trials(trials)
    return study


def proposal(study: optuna.Study) -> Values:
    return study.ask(dict(POINTS.dimensions)).params


TRIALS = [ended(number) for number in range(24)]
ELSEWHERE = ended(24, TrialState.FAIL, user_attrs={NO_FAULT: True}, intermediate_values={})
"""A trial that is no evidence, so that studies with and without evidence have the same number of trials."""


@pytest.fixture(scope="module")
def wanted() -> Values:
    """What is proposed next without further evidence."""
    return proposal(study_of([*TRIALS, ELSEWHERE]))


def beside(values: Values) -> Values:
    return values | {"learning_rate": values["learning_rate"] * 0.99}


def with_one_beside(wanted: Values, ending: TrialState, **changed: Any) -> Values:
    """What is proposed next if another trial ended just beside what was wanted."""
    last = ended(24, **{"state": ending, "params": beside(wanted), "value": None, "intermediate_values": {}} | changed)
    return proposal(study_of([*TRIALS, last]))


def test_a_failure_changes_the_proposal_unless_it_is_not_the_candidates(wanted: Values) -> None:
    assert with_one_beside(wanted, TrialState.FAIL, user_attrs={NO_FAULT: True}) == wanted
    assert with_one_beside(wanted, TrialState.FAIL) != wanted


@pytest.mark.parametrize("accuracy", [0.2, 0.99])
def test_an_accuracy_at_a_rung_changes_the_proposal(accuracy: float, wanted: Values) -> None:
    early, late = (
        with_one_beside(wanted, TrialState.PRUNED, intermediate_values={rung: accuracy})
        for rung in (RUNGS[0], RUNGS[2])
    )
    assert len({repr(values) for values in (wanted, early, late)}) == 3


def test_a_running_trial_changes_the_proposal_and_so_does_what_it_has_measured(wanted: Values) -> None:
    found = []
    for accuracy in (None, 0.99):
        study = study_of(TRIALS)
        study.enqueue_trial(beside(wanted))
        trial = study.ask(dict(POINTS.dimensions))
        if accuracy is not None:
            trial.report(accuracy, RUNGS[0])
        found.append(proposal(study))
    assert len({repr(values) for values in [wanted, *found]}) == 3


def test_the_number_of_validation_images_changes_the_proposal() -> None:
    assert len({repr(proposal(study_of(TRIALS, images=images))) for images in (50, 5_000)}) == 2


def test_proposals_leave_the_option_with_which_trainings_fail() -> None:
    study = study_of(
        [
            ended(n, TrialState.FAIL, params=values_of(n) | {"optimizer": 1})
            if n % 2
            else ended(n, params=values_of(n) | {"optimizer": 0})
            for n in range(40)
        ]
    )
    proposed = []
    for _ in range(8):
        trial = study.ask(dict(POINTS.dimensions))
        proposed.append(trial.params["optimizer"])
        if trial.params["optimizer"] == 1:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, score(POINTS.decode(trial.params)))
    assert proposed.count(0) >= 7


def test_a_minimised_study_proposes_what_the_maximised_one_of_the_opposite_does() -> None:
    numbers = range(2, 60, 3)  # those that completed
    trials = [ended(number, intermediate_values={}) for number in numbers]
    opposite = [
        ended(number, intermediate_values={}, value=-score(POINTS.decode(values_of(number)))) for number in numbers
    ]
    other = optuna.create_study(direction="minimize", sampler=GaussianProcessSampler(POINTS, seed=4))
    other.add_trials(opposite)
    assert proposal(other) == proposal(study_of(trials))


def test_it_is_uniform_until_enough_has_been_measured() -> None:
    def first(sampler: optuna.samplers.BaseSampler, fails: bool) -> list[Values]:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        found = []
        for _ in range(14):
            trial = study.ask(dict(POINTS.dimensions))
            found.append(trial.params)
            if fails:
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, score(POINTS.decode(trial.params)))
        return found

    uniform = first(GaussianProcessSampler(POINTS, seed=1, startup_trials=100), False)
    assert first(GaussianProcessSampler(POINTS, seed=1), True) == uniform
    learned = first(GaussianProcessSampler(POINTS, seed=1), False)
    assert learned[:10] == uniform[:10]
    assert all(a != b for a, b in zip(learned[10:], uniform[10:], strict=True))


def test_it_finds_the_best_of_a_table_in_half_of_the_trials_that_drawing_takes() -> None:
    accuracies = {
        f"{a}{b}{c}{d}00": 0.9 - 0.05 * ((a - 3) ** 2 + (b - 1) ** 2 + (c == d) + abs(d - 2))
        for a in range(5)
        for b in range(5)
        for c in range(5)
        for d in range(5)
    }
    cells = TableCells(accuracies, 10**9)
    best = max(accuracies.values())
    needed = []
    for seed in range(3):
        study = optuna.create_study(direction="maximize", sampler=GaussianProcessSampler(cells, seed=seed))
        for number in range(60):
            trial = study.ask(dict(cells.dimensions))
            found = accuracies[cells.decode(trial.params)]
            study.tell(trial, found)
            if found == best:
                needed.append(number + 1)
                break
    assert len(needed) == 3, needed
    assert np.mean(needed) < 50


def test_a_proposal_computes_no_more_however_many_trials_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, list[int]] = {"factors": [], "fitted": [], "predicted": [], "described": [], "read": []}
    cholesky, predict, of = gaussian_process.cholesky, gaussian_process.Posterior.predict, None
    sampler = GaussianProcessSampler(POINTS, seed=0, images=1_000)
    of = sampler._pools.of

    def counted(what: str, size: Callable[..., int], call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*given: Any, **named: Any) -> Any:
            sizes[what].append(size(*given))
            return call(*given, **named)

        return counting

    monkeypatch.setattr(gaussian_process, "cholesky", counted("factors", lambda a, *_: len(a), cholesky))
    monkeypatch.setattr(
        gaussian_process.Posterior, "predict", counted("predicted", lambda _, rows: len(rows.fidelity), predict)
    )
    monkeypatch.setattr(sampler._pools, "of", counted("described", len, of))
    monkeypatch.setattr(gaussian_process_sampler, "measured", counted("read", lambda *_: 1, measured))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([ended(number) for number in range(700)])
    trials = 700
    for _ in range(3):
        study.tell(study.ask(dict(POINTS.dimensions)), 0.5)
        trials += 1
        # Each fit has one factor per evaluation; the line search of SciPy may exceed its limit by one search.
        fits = [size for size in sizes["factors"] if size <= MOST_FITTED]
        assert len(fits) <= gaussian_process.MOST_EVALUATIONS + 20
        assert [size for size in sizes["factors"] if size > MOST_FITTED] == [MOST_ROWS]
        assert sum(sizes["predicted"]) <= MOST_ROWS + DRAWN + AROUND + ROUNDS * AROUND_TOP
        assert sum(sizes["described"]) <= MOST_ROWS + MOST_FITTED
        for found in sizes.values():
            found.clear()
    # A trial is read once, and the fit is kept while the trials grow by less than a 64th.
    study.ask(dict(POINTS.dimensions))
    assert sizes["read"] == [1]
    assert [size for size in sizes["factors"] if size <= MOST_FITTED] == []


def test_the_rows_that_are_kept_are_the_best_half_and_others_from_the_whole_study() -> None:
    found = {number: measured(ended(number), 1) for number in range(300)}
    evidence = evidence_of(found, [7, 300], None)
    places = kept(evidence, 100)
    assert len(set(places.tolist())) == 100
    assert (np.diff(places) > 0).all()
    best = np.argsort(-evidence.values, kind="stable")[:50]
    assert set(best.tolist()) <= set(places.tolist())
    others = [place for place in places.tolist() if place not in best]
    assert min(others) < 20
    assert max(others) > len(evidence.values) - 20
    assert kept(evidence, 10_000).tolist() == list(range(len(evidence.values)))


def test_of_a_trial_that_reports_every_epoch_a_few_steps_count_and_the_last_always() -> None:
    many = ended(2, state=TrialState.COMPLETE, value=0.7, intermediate_values={step: step / 100 for step in range(70)})
    assert [one.step for one in measured(many, 1)] == [8, 17, 34, 69]
    assert measured(many, -1)[-1].value == -0.7
    assert len(measured(many, 1)) == MOST_STEPS
    bare = ended(2, state=TrialState.COMPLETE, value=0.7, intermediate_values={})
    assert [one.value for one in measured(bare, 1)] == [0.7]
    nothing = ended(0, state=TrialState.PRUNED, value=None, intermediate_values={2: float("nan")})
    assert measured(nothing, 1) == []


def test_noise_is_that_of_a_share_of_the_images() -> None:
    found = {number: measured(ended(number, intermediate_values={}), 1) for number in range(2, 90, 3)}
    evidence = evidence_of(found, [], 400)
    raw = np.array([one.value for number in found for one in found[number]])
    np.testing.assert_allclose(evidence.noise, raw * (1 - raw) / 400 / raw.std() ** 2, rtol=0.03)
    assert evidence_of(found, [], None).noise.max() == 0


def test_a_failure_is_as_bad_as_the_worst_of_the_lowest_fidelity() -> None:
    evidence = evidence_of({number: measured(ended(number), 1) for number in range(30)}, [11], None)
    (place,) = np.flatnonzero(evidence.failed)
    lowest = evidence.fidelity == evidence.fidelity.min()
    assert evidence.numbers[place] == 11
    assert lowest[place]
    assert evidence.values[place] == evidence.values[lowest].min()
    assert evidence.fidelity.max() == 1
