"""The Optuna study of a run: rebuilt from the record, asked for layouts, told every ending."""

from __future__ import annotations

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState

from model_zoo import ResNetLayout
from results import RunState
from results.state import TrialState as RecordedTrial
from search.encoding import Proposal, decode, distributions, encode
from search.sampler import SpaceExhausted, make_sampler
from search.space import SearchSpace

_STATES = {
    "completed": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
}


class History:
    """An in-memory Optuna study that mirrors a run's record; trial numbers are the same in both.

    Only accuracies at rungs are reported to the study, since those between rungs are not annealed.
    """

    def __init__(self, space: SearchSpace, sampler: str, seed: int, state: RunState) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = space
        self.used: set[ResNetLayout] = set()
        self._open: dict[int, Trial] = {}
        # Re-opened trials are asked for with their values fixed; only new ones may ask the real sampler.
        self.study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=seed))
        for number in range(max(state.trials, default=-1) + 1):
            if number in state.trials:
                self._replay(state, state.trials[number])
            else:  # its line of the record is damaged; the next trials keep their numbers
                self.study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
        self.study.sampler = make_sampler(sampler, space, self.used, seed)

    def ask(self) -> tuple[int, ResNetLayout, Proposal]:
        """A new trial's number, its layout, and the values of the study's dimensions that stand for it.

        Raises:
            SpaceExhausted: every feasible layout is in the study already.
        """
        trial = self.study.ask()
        try:
            proposal = self._suggest(trial)
            layout = decode(self.space, proposal)
            if layout in self.used:  # a space of a single layout has no dimension, so no sampler was asked
                raise SpaceExhausted
        except SpaceExhausted:
            self.study.tell(trial, state=TrialState.FAIL)
            raise
        self.used.add(layout)
        self._open[trial.number] = trial
        return trial.number, layout, proposal

    def report(self, number: int, epoch: int, val_accuracy: float) -> None:
        """Tells the study the accuracy of an open trial at a rung."""
        self._open[number].report(val_accuracy, epoch)

    def tell(self, number: int, status: str, val_accuracy: float | None) -> None:
        """Closes an open trial: completed with its value, stopped as PRUNED, diverged and failed as FAIL."""
        trial = self._open.pop(number)
        if status == "completed":
            self.study.tell(trial, val_accuracy)
        else:
            self.study.tell(trial, state=_STATES[status])

    def _suggest(self, trial: Trial) -> Proposal:
        proposal: Proposal = {}
        everywhere = distributions(self.space, min(self.space.stages))
        if "stages" in everywhere:
            proposal["stages"] = trial.suggest_int("stages", everywhere["stages"].low, everywhere["stages"].high)
        stages = self.space.stages[proposal.get("stages", 0)]
        for name, dimension in distributions(self.space, stages).items():
            proposal[name] = trial.suggest_int(name, dimension.low, dimension.high)
        return proposal

    def _replay(self, state: RunState, recorded: RecordedTrial) -> None:
        layout = ResNetLayout.from_dict(recorded.layout)
        self.used.add(layout)
        # A layout of an earlier, wider space has no place among the dimensions; its number must still be taken.
        inside = self.space.model_copy(update={"min_params": 0, "max_params": 2**62, "predicate": None}).contains(
            layout
        )
        proposal = encode(self.space, layout) if inside else {}
        at_rungs = {r.epoch: r.val_accuracy for r in state.reports.get(recorded.trial, []) if r.rung is not None}
        if recorded.ended:
            status = _STATES[recorded.status] if inside else TrialState.FAIL
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=status,
                    value=None if status is TrialState.FAIL else recorded.val_accuracy,
                    params=proposal,
                    distributions={name: distributions(self.space, layout.stages)[name] for name in proposal},
                    intermediate_values=at_rungs,
                )
            )
            return
        self.study.enqueue_trial(proposal)
        trial = self.study.ask()
        if inside:
            self._suggest(trial)
        for epoch, value in at_rungs.items():
            trial.report(value, epoch)
        self._open[trial.number] = trial
