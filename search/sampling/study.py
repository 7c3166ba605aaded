"""The Optuna study of a run: rebuilt from the record, it proposes candidates and learns how every trial ended."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState

from model_zoo import ResNetLayout
from results import RunState
from results.record.trial_state import TrialState as RecordedTrial
from search.recipes.dimensions import Values
from search.sampling.evidence import NO_FAULT
from search.sampling.feasible_sampler import SpaceExhausted
from search.sampling.joint_space import Candidate, JointSpace
from search.sampling.samplers import make_sampler
from trainables.recipe import Recipe

_STATES = {
    "completed": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    **dict.fromkeys(("diverged", "out-of-memory", "lost", "failed"), TrialState.FAIL),
}

_NO_FAULTS = ("lost", "completed")
"""Statuses of trials that end as FAIL in the study and yet say nothing against their candidate."""


class Asked(NamedTuple):
    """A trial that the study proposes."""

    number: int
    candidate: Candidate
    seed: int
    """The seed of the run, plus one for each earlier replicate."""
    proposal: Values
    """The values of the study's dimensions that encode the layout and the recipe."""


class RunStudy:
    """An in-memory Optuna study that mirrors a run's record; trial numbers are the same in both.

    Only accuracies at rungs are reported to the study, since those between rungs are not annealed. The candidates
    `first` are tried before the sampler proposes any; `candidates` must be able to encode them. Accuracies are on
    `images` validation images, if that is known.
    """

    def __init__(
        self,
        candidates: JointSpace,
        sampler: str,
        seed: int,
        state: RunState,
        replicates: int = 1,
        first: Sequence[Candidate] = (),
        images: int | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.candidates, self.replicates, self._seed = candidates, replicates, seed
        self._counts: Counter[Candidate] = Counter()
        self._first = deque(first)
        self._open: dict[int, Trial] = {}
        # Replayed trials have fixed values; only new ones may use the real sampler.
        self.study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=seed))
        for number in range(max(state.trials, default=-1) + 1):
            if number in state.trials:
                self._replay(state, state.trials[number])
            else:  # its line in the record is damaged; a failed trial keeps the numbers of the next ones
                self.study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
        self._sampler = self.study.sampler = make_sampler(sampler, candidates, seed, replicates, images)

    def ask(self) -> Asked:
        """Proposes a new trial.

        Raises:
            SpaceExhausted: every feasible candidate is already in the study as often as it may be.
        """
        first = self._enqueue_first()
        trial = self.study.ask()
        try:
            proposal = self._suggest(trial)
            # A space of a single candidate has no dimensions, so no sampler was called.
            candidate = first or self._sampler.candidate(trial.number) or self.candidates.decode(proposal)
            if self._counts[candidate] >= self.replicates:
                raise SpaceExhausted
        except SpaceExhausted:
            self.study.tell(trial, state=TrialState.FAIL)
            raise
        seed = self._seed + self._counts[candidate]
        self._counts[candidate] += 1
        self._open[trial.number] = trial
        return Asked(trial.number, candidate, seed, proposal)

    def report(self, number: int, epoch: int, val_accuracy: float) -> None:
        """Reports the accuracy of a trial at a rung to the study, unless it is closed there."""
        if number in self._open:
            self._open[number].report(val_accuracy, epoch)

    def tell(self, number: int, status: str, val_accuracy: float | None) -> None:
        """Closes an open trial in the study: completed with its value, stopped as PRUNED, all others as FAIL.

        A closed one stays as it is: Optuna opens none again. That is a confirmed trial, after which this study proposes
        nothing; the study of the next session has its last results.
        """
        trial = self._open.pop(number, None)
        if trial is None:
            return
        if status == "completed" and val_accuracy is not None:
            self.study.tell(trial, val_accuracy)
        else:  # without an accuracy, which a training on all images has not, there is nothing to learn
            if status in _NO_FAULTS:
                trial.set_user_attr(NO_FAULT, True)
            self.study.tell(trial, state=TrialState.FAIL if status == "completed" else _STATES[status])

    def _enqueue_first(self) -> Candidate | None:
        while self._first:
            values = self.candidates.encode(self._first[0])
            if values and self._counts[candidate := self.candidates.decode(values)] < self.replicates:
                self.study.enqueue_trial(values)
                return candidate
            self._first.popleft()
        return None

    def _suggest(self, trial: Trial) -> Values:
        values: Values = {}
        for name, dimension in self.candidates.dimensions.items():
            bounds: dict[str, Any] = {"low": dimension.low, "high": dimension.high, "log": dimension.log}  # type: ignore[attr-defined]
            suggest = trial.suggest_float if isinstance(dimension, FloatDistribution) else trial.suggest_int
            values[name] = suggest(name, step=dimension.step, **bounds)  # type: ignore[attr-defined]
        return values

    def _replay(self, state: RunState, recorded: RecordedTrial) -> None:
        layout = ResNetLayout.from_dict(recorded.layout)
        recipe = Recipe(**recorded.settings).canonical()
        candidate = Candidate(layout, recipe)
        self._counts[candidate] += 1
        # A candidate of an earlier, wider space cannot be encoded, but its number must still be taken.
        proposal = self.candidates.encode(candidate)
        at_rungs = {report.epoch: report.val_accuracy for report in state.rung_reports(recorded.trial)}
        if recorded.ended:
            worthless = recorded.status == "completed" and recorded.val_accuracy is None
            status = TrialState.FAIL if proposal is None or worthless else _STATES[recorded.status]
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=status,
                    value=None if status is TrialState.FAIL else recorded.val_accuracy,
                    params=proposal or {},
                    distributions={name: self.candidates.dimensions[name] for name in proposal or {}},
                    intermediate_values=at_rungs,
                    user_attrs={NO_FAULT: True} if status is TrialState.FAIL and recorded.status in _NO_FAULTS else {},
                )
            )
            return
        self.study.enqueue_trial(proposal or {})
        trial = self.study.ask()
        if proposal is not None:
            self._suggest(trial)
        for epoch, value in at_rungs.items():
            trial.report(value, epoch)
        self._open[trial.number] = trial
