"""Bayesian optimisation over feasible candidates: the next one has the highest expected improvement of many."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import ThreadpoolController

from search.sampling.evidence import Measured, evidence_of, fails, kept, measured, sign_of
from search.sampling.feasible_sampler import STARTUP_TRIALS, FeasibleSampler
from search.sampling.features import Floats
from search.sampling.gaussian_process import Kernel, Posterior, Rows, fit, log_expected_improvement
from search.sampling.joint_space import C, CandidateSpace
from search.sampling.pools import pools_of

MOST_ROWS = 512
"""Most rows of evidence that the model is given."""

MOST_FITTED = 128
"""Most of them to which its hyperparameters are fitted."""

EVERY_PROPOSAL = 64
"""Trials up to which every proposal fits them anew; from there on, about every 64th part of the trials so far."""

DRAWN = 512
"""Candidates of a proposal that are drawn uniformly."""

CENTRES, AROUND = 5, 160
"""The best trials so far, and the moves from them."""

ROUNDS, TOP, AROUND_TOP = 2, 3, 48
"""Rounds of moves from the candidates of the highest expected improvement, how many those are, and the moves."""


class _Seen(NamedTuple):
    """What the sampler knows of a study."""

    found: dict[int, list[Measured]]
    """What each trial has measured, by its number."""
    failures: list[int]
    running: list[int]


class GaussianProcessSampler(FeasibleSampler[C]):
    """Proposes the feasible candidate that a Gaussian process expects to improve most on the best so far.

    It draws uniformly for the first `startup_trials`, until half as many have measured something, and for
    `uniform_share` of the rest. Otherwise it compares uniform draws and neighbours of the best candidates by the
    logarithm of their expected improvement. They have to improve on the highest expectation at a candidate that was
    tried, because the values themselves are noisy. Values that trials reported at lower steps, failures and running
    trials count; with `images`, values are accuracies on so many images. Proposals depend only on the seed and the
    study.

    Raises:
        SpaceExhausted: no feasible candidate is left.
        ValueError: an enqueued trial has values for some dimensions and not for all.
    """

    def __init__(
        self,
        candidates: CandidateSpace[C],
        *,
        seed: int = 0,
        startup_trials: int = STARTUP_TRIALS,
        uniform_share: float = 0.0,
        replicates: int = 1,
        images: int | None = None,
    ) -> None:
        super().__init__(
            None,
            candidates,
            seed=seed,
            startup_trials=startup_trials,
            uniform_share=uniform_share,
            replicates=replicates,
        )
        self.images = images
        self._pools = pools_of(candidates)
        self._features: dict[int, Floats] = {}
        self._ended: dict[int, list[Measured] | None] = {}
        """What each ended trial has measured; None for one that failed."""
        self._fitted: tuple[Any, Kernel] | None = None

    def choose(self, study: Study, trial: FrozenTrial, used: Container[C]) -> C | None:
        """The feasible candidate of the highest expected improvement that is not in `used`; None if there is none."""
        generator = np.random.default_rng([self.seed, trial.number])
        seen = self._seen(study, trial.number)
        proposed = len(seen.found.keys() | {*seen.failures, *seen.running})
        if proposed < self.startup_trials or 2 * len(seen.found) < max(self.startup_trials, 2):
            return self.candidates.draw(generator, used)
        if self.uniform_share and generator.random() < self.uniform_share:
            return self.candidates.draw(generator, used)
        with _blas().limit(limits=1, user_api="blas"):  # the trials need the other cores
            best = next((found for found in self._ranked(seen, trial.number, generator) if found not in used), None)
        return self.candidates.draw(generator, used) if best is None else best

    def _ranked(self, seen: _Seen, number: int, generator: np.random.Generator) -> Iterator[C]:
        """Feasible candidates, the highest expected improvement first."""
        evidence = evidence_of(seen.found, seen.failures, self.images)
        kernel = self._kernel(seen, number)
        places = kept(evidence, MOST_ROWS)
        pending = self._rows(seen.running)
        rows = Rows(self._rows(evidence.numbers[places]).features, evidence.fidelity[places])
        model = Posterior(kernel, rows, evidence.values[places], evidence.noise[places], pending)
        tried = np.unique(evidence.numbers[places][~evidence.failed[places]]).tolist()
        expected, _ = model.predict(self._rows([*tried, *seen.running]))
        best = float(expected.max())
        order = np.argsort(-expected[: len(tried)], kind="stable")
        centres = [self._taken[tried[place]] for place in order[:CENTRES]]
        scores = np.zeros(0)
        found: list[Callable[[], C]] = []
        for turn in range(2 + ROUNDS):
            if turn == 0:
                pool = self._pools.drawn(generator, DRAWN)
            elif turn == 1:
                pool = self._pools.near(centres, generator, AROUND)
            else:
                top = [found[place]() for place in np.argsort(-scores, kind="stable")[:TOP]]
                pool = self._pools.near(top, generator, AROUND_TOP)
            mean, deviation = model.predict(_compared(pool.features))
            scores = np.append(scores, log_expected_improvement(mean, deviation, best))
            found += [partial(pool.candidate, i) for i in range(len(mean))]
        return (found[place]() for place in np.argsort(-scores, kind="stable"))

    def _kernel(self, seen: _Seen, number: int) -> Kernel:
        """Hyperparameters fitted to the trials before the last multiple, up to `number`, of a power of two.

        That power grows with the number, so that a fit is done again only when the trials have grown by a fraction.
        """
        block = 1 << max(0, number.bit_length() - EVERY_PROPOSAL.bit_length())
        cut = number - number % block
        unfinished = {trial: tuple(seen.found.get(trial, ())) for trial in seen.running if trial < cut}
        key = (cut, unfinished)  # what has ended does not change
        if self._fitted is None or self._fitted[0] != key:
            found = {trial: values for trial, values in seen.found.items() if trial < cut}
            found = found or seen.found
            evidence = evidence_of(found, [trial for trial in seen.failures if trial < cut], self.images)
            places = kept(evidence, MOST_FITTED)
            rows = Rows(self._rows(evidence.numbers[places]).features, evidence.fidelity[places])
            self._fitted = key, fit(rows, evidence.values[places], evidence.noise[places], self._pools.groups)
        return self._fitted[1]

    def _seen(self, study: Study, before: int) -> _Seen:
        """What the trials up to number `before` have measured; those that have ended are read once."""
        sign, found, failures, running = sign_of(study), dict[int, list[Measured]](), list[int](), list[int]()
        for trial in study.get_trials(deepcopy=False)[:before]:
            if trial.number not in self._taken:
                continue
            values = self._ended.get(trial.number)
            if trial.number not in self._ended:
                values = None if fails(trial) else measured(trial, sign)
                if trial.state.is_finished():
                    self._ended[trial.number] = values
                elif trial.state is TrialState.RUNNING:
                    running.append(trial.number)
            if values is None:
                failures.append(trial.number)
            elif values:
                found[trial.number] = values
        return _Seen(found, failures, running)

    def _rows(self, numbers: Iterable[int]) -> Rows:
        """The candidates of trials, at the fidelity that counts."""
        wanted = list(numbers)
        new = [number for number in dict.fromkeys(wanted) if number not in self._features]
        if new:
            self._features |= zip(new, self._pools.of([self._taken[number] for number in new]), strict=True)
        columns = len(self._pools.groups)
        return _compared(np.array([self._features[number] for number in wanted]).reshape(-1, columns))


def _compared(features: Floats) -> Rows:
    return Rows(features, np.ones(len(features)))


@cache
def _blas() -> ThreadpoolController:
    """The thread pools of the linear algebra that this process has loaded."""
    return ThreadpoolController()
