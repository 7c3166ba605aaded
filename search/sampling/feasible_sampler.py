"""Samplers that propose only feasible candidates that are not in the study yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, Generic

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.recipes.dimensions import Values
from search.sampling.joint_space import C, CandidateSpace

STARTUP_TRIALS = 10
"""Finished trials before the model is used; until then candidates are drawn uniformly. Optuna's own default."""


UNIFORM_SHARE = 0.25
"""Share of proposals that are drawn uniformly instead of from the model, so that no model can mislead a run for good.

Source: the random fraction of BOHB, Falkner et al., arXiv 1807.01774.
"""


class SpaceExhausted(Exception):
    """Every feasible candidate is already in the study as often as it may be."""


class FeasibleSampler(BaseSampler, Generic[C]):
    """An Optuna sampler that moves each joint proposal of `base` to the nearest feasible candidate not in the study.

    The study records what is run: nothing infeasible, and nothing more than `replicates` times. Candidates are drawn
    uniformly if there is no `base`, until `startup_trials` have finished, and for `uniform_share` of the rest. The
    objective must suggest all of `candidates.dimensions`; `candidate` returns the candidate that they encode.

    Raises:
        SpaceExhausted: no feasible candidate is left.
        ValueError: an enqueued trial has values for some dimensions and not for all.
    """

    def __init__(
        self,
        base: BaseSampler | None,
        candidates: CandidateSpace[C],
        *,
        seed: int = 0,
        startup_trials: int = STARTUP_TRIALS,
        uniform_share: float = 0.0,
        replicates: int = 1,
    ) -> None:
        self.base, self.candidates, self.seed, self.replicates = base, candidates, seed, replicates
        self.uniform_share = uniform_share
        self.startup_trials = startup_trials
        self._counts: Counter[C] = Counter()
        self._taken: dict[int, C] = {}  # the candidate of each trial, by its number
        self._read = 0

    def candidate(self, number: int) -> C | None:
        """What this sampler proposed for trial `number` of the study; None if it did not propose that trial."""
        return self._taken.get(number)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All dimensions, because a proposal is one candidate."""
        return dict(self.candidates.dimensions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of one feasible candidate that is not used up."""
        self._read_trials(study, trial.number)
        fixed = trial.system_attrs.get("fixed_params", {})
        missing = [name for name in self.candidates.dimensions if name not in fixed]
        # Otherwise the study would record the fixed values together with those of another candidate.
        if 0 < len(missing) < len(self.candidates.dimensions):
            raise ValueError(f"enqueued trial {trial.number}: {', '.join(missing)} not given; give all dimensions")
        candidate = self._incomplete() or self.choose(study, trial, _UsedUp(self._counts, self.replicates))
        if candidate is None:
            raise SpaceExhausted
        self._take(trial.number, candidate)
        values = self.candidates.encode(candidate)
        assert values is not None, "a feasible candidate has values"
        return values

    def choose(self, study: Study, trial: FrozenTrial, used: Container[C]) -> C | None:
        """A feasible candidate that is not in `used`; None if there is none."""
        generator = np.random.default_rng([self.seed, trial.number])
        if self.base is None or _finished(study) < self.startup_trials:
            return self.candidates.draw(generator, used)
        if self.uniform_share and generator.random() < self.uniform_share:
            return self.candidates.draw(generator, used)
        relative = self.base.infer_relative_search_space(study, trial)
        proposal: Values = dict(self.base.sample_relative(study, trial, relative))
        for name, dimension in self.candidates.dimensions.items():
            if name not in proposal:
                proposal[name] = self.base.sample_independent(study, trial, name, dimension)
        return self.candidates.nearest(proposal, used)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Never called for a dimension of a candidate, since `sample_relative` returns all of them."""
        raise KeyError(f"{name} is not a dimension of a candidate; suggest those of candidates.dimensions")

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Passed on to the base sampler."""
        if self.base is not None:
            self.base.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Passed on to the base sampler."""
        if self.base is not None:
            self.base.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Passed on to the base sampler; this sampler's own draws follow from its seed and the trial's number."""
        if self.base is not None:
            self.base.reseed_rng()

    def _read_trials(self, study: Study, before: int) -> None:
        """Counts the trials that were in the study before this sampler, or were enqueued without it."""
        if self._read >= before:
            return
        names = self.candidates.dimensions.keys()
        for trial in study.get_trials(deepcopy=False)[self._read : before]:
            # Optuna takes the values of an enqueued trial from no sampler, and they may not be suggested yet.
            given = trial.system_attrs.get("fixed_params", {}) | trial.params
            if trial.number not in self._taken and given.keys() >= names:
                self._take(trial.number, self.candidates.decode({name: given[name] for name in names}))
        self._read = before

    def _take(self, number: int, candidate: C) -> None:
        self._taken[number] = candidate
        self._counts[candidate] += 1

    def _incomplete(self) -> C | None:
        """The first candidate that has not yet been run `replicates` times; None if there is none."""
        if self.replicates == 1:
            return None
        return next((found for found in self._taken.values() if self._counts[found] < self.replicates), None)


class InOrder(FeasibleSampler[C]):
    """The grid sampler: it proposes every feasible candidate in the order of its space."""

    def __init__(self, candidates: CandidateSpace[C], *, replicates: int = 1) -> None:
        super().__init__(None, candidates, replicates=replicates)
        self._rest: Iterator[C] = candidates.in_order()

    def choose(self, study: Study, trial: FrozenTrial, used: Container[C]) -> C | None:
        """The next candidate that is not in `used`."""
        return next((candidate for candidate in self._rest if candidate not in used), None)


class SeededAnew(BaseSampler):
    """Makes a new base sampler for each trial, seeded by `seed` and the trial's number.

    A study that was rebuilt from its record therefore continues like an uninterrupted one.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self.make, self.seed = make, seed
        self._made: tuple[int, BaseSampler] | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        return self._sampler(trial).sample_independent(study, trial, name, distribution)

    def _sampler(self, trial: FrozenTrial) -> BaseSampler:
        if self._made is None or self._made[0] != trial.number:
            seed = int(np.random.default_rng([self.seed, trial.number]).integers(2**31))
            self._made = trial.number, self.make(seed)
        return self._made[1]


class _UsedUp(Container[Any]):
    """The candidates that are in the study as often as they may be."""

    def __init__(self, counts: Counter[Any], most: int) -> None:
        self.counts, self.most = counts, most

    def __contains__(self, candidate: object) -> bool:
        return self.counts.get(candidate, 0) >= self.most


def _finished(study: Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))
