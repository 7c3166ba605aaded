"""Aging evolution over feasible candidates, as an arm to compare.

Source: Real et al., Regularized Evolution for Image Classifier Architecture Search, arXiv 1802.01548.
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.sampling import FeasibleSampler
from search.sampling.joint_space import C
from search.sampling.pools import pools_of

POPULATION, TOURNAMENT = 20, 5
"""The youngest trials that may have children, and how many of them compete to. The paper has 100 and 25 for 20,000
trainings; a search here has 200."""

MOVES = 16
"""Moves of a parent, of which the first that leads to a new feasible candidate is its child."""


class AgingEvolution(FeasibleSampler[C]):
    """Proposes a neighbour of the best of a few of the youngest trials."""

    def choose(self, study: Study, trial: FrozenTrial, used: Container[C]) -> C | None:
        """A feasible candidate that is not in `used`; None if there is none."""
        generator = np.random.default_rng([self.seed, trial.number])
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))[-POPULATION:]
        if len(ended) < POPULATION:
            return self.candidates.draw(generator, used)
        compete = [ended[i] for i in generator.permutation(POPULATION)[:TOURNAMENT]]
        parent = max(compete, key=lambda trial: trial.values[0] if trial.values else -np.inf)
        pool = pools_of(self.candidates).near([self._taken[parent.number]], generator, MOVES)
        children = (pool.candidate(i) for i in range(len(pool.features)))
        child = next((child for child in children if child not in used), None)
        return self.candidates.draw(generator, used) if child is None else child
