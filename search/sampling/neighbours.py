"""The feasible layouts in the order of their distance from a proposal, found without looking at all of them.

`search.sampling.half_distances` defines the distance and computes it for the halves of layouts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from model_zoo import ResNetLayout
from search.layouts import LayoutSpace, sample_uniform
from search.layouts.batch import Column, LayoutBatch, joined
from search.layouts.dimensions import encode_batch
from search.layouts.enumeration import enumerate_batches
from search.layouts.index import ChainIndex, index_of_space
from search.sampling.half_distances import Distances, HalfDistances, Measured, Proposal

TIE = 1e-9
"""Squared distances closer than this are ties; sums of squares differ by rounding."""

FIRST_FRONTS, MORE_FRONTS = 16, 4
"""Most fronts in the first search after the nearest layouts, and the factor by which the number grows."""

LEAST_STEP, STEP = 0.002, 1.25
"""Squared distance of the first search after the nearest layouts, and the factor by which it grows."""

MOST_PAIRS = 2**21
"""Pairs of halves in one chunk (about 100 MB)."""

MOST_REFUSED = 2**14
"""Consecutive layouts that windows and a predicate may reject before a sample is ranked instead: about 0.1 s."""

MOST_LISTED = 2**18
"""Most layouts in the parameter window for which that sample consists of all feasible ones."""

SAMPLED = 2**11
"""Size of the sample if the window has more layouts."""

AT_ONCE = 64
"""Layouts decoded in the first chunk; each further chunk doubles their total."""


class Neighbours:
    """Finds the feasible layouts of `space` nearest to a proposal."""

    def __init__(self, space: LayoutSpace) -> None:
        self.space = space
        self._distances = HalfDistances(space)
        self._farthest = float(len(self._distances.spans) + 1)

    def around(self, proposal: Proposal) -> Iterator[tuple[float, ResNetLayout]]:
        """Every feasible layout with its squared distance from `proposal`, nearest first; missing values count as 0.

        After `MOST_REFUSED` consecutive rejections by windows or a predicate, a uniform sample follows, nearest first.
        """
        index = index_of_space(self.space)
        if not isinstance(index, ChainIndex):
            yield from self._ranked(proposal)
            return
        measured: list[Measured] = []
        waiting = deque(self._distances.shared(index, proposal))
        known: dict[int, tuple[Distances, Distances, Distances, float]] = {}
        fronts, done, refused = FIRST_FRONTS, -1.0, 0
        while done < self._farthest:
            limit = self._limit(measured, done, fronts)
            while waiting and waiting[0][0] <= limit + TIE:
                shared, chain, halves = waiting.popleft()
                key = id(halves.front)  # shared by chains that differ only in what has no parameters
                if key not in known:
                    known[key] = self._distances.of(halves, proposal)
                front, back, nearest, least = known[key]
                measured.append(Measured(halves, chain, front + shared, back, nearest + shared, least + shared))
                limit = self._limit(measured, done, fronts)
            for away, layout in self._between(measured, done, limit + TIE):
                if layout is not None:
                    yield away, layout
                refused = 0 if layout is not None else refused + 1
                if refused >= MOST_REFUSED:
                    yield from self._ranked(proposal)
                    return
            done, fronts = limit + TIE, MORE_FRONTS * fronts

    def _limit(self, measured: list[Measured], done: float, fronts: int) -> float:
        """The squared distance to search up to next, beyond `done`: that of about `fronts` fronts at most."""
        if done < 0:
            return min((met.least for met in measured), default=self._farthest)
        nearest = np.concatenate([met.nearest for met in measured])
        beyond = float(nearest[nearest > done].min(initial=np.inf))
        limit = max(LEAST_STEP, STEP * done, beyond)
        if fronts < len(nearest):
            limit = min(limit, max(float(np.partition(nearest, fronts)[fronts]), beyond))
        return min(limit, self._farthest)

    def _ranked(self, proposal: Proposal) -> Iterator[tuple[float, ResNetLayout]]:
        """The layouts of `_sample`, nearest first."""
        if not index_of_space(self.space).count:
            return
        batch, values = self._sample
        away = np.zeros(len(batch))
        for name, span in self._distances.spans.items():
            if name in proposal:
                away += np.nan_to_num((values[name] - proposal[name]) / span) ** 2
        for i in np.argsort(np.rint(away / TIE), kind="stable").tolist():
            yield float(away[i]), batch[i]

    @cached_property
    def _sample(self) -> tuple[LayoutBatch, dict[str, Distances]]:
        """All feasible layouts if they are few, otherwise a uniform sample; and their values along each dimension."""
        if index_of_space(self.space).count <= MOST_LISTED:
            nothing = index_of_space(self.space).at(np.zeros(1, dtype=np.int64)).select(np.zeros(1, dtype=np.bool_))
            batch = joined([nothing, *enumerate_batches(self.space)])
        else:
            batch = sample_uniform(self.space, SAMPLED, np.random.default_rng(0))
        return batch, encode_batch(self.space, batch)

    def _between(
        self, measured: list[Measured], above: float, limit: float
    ) -> Iterator[tuple[float, ResNetLayout | None]]:
        """The layouts whose squared distance is above `above` and at most `limit`, nearest first.

        None replaces a layout that the predicate, or a window other than that of parameters, rejects.
        """
        parts = []
        for number, met in enumerate(measured):
            for fronts, backs in _pairs(met, limit):
                away = met.front[fronts] + met.back[backs]
                kept = (away > above) & (away <= limit)
                fronts, backs, away = fronts[kept], backs[kept], away[kept]
                codes = met.halves.codes(fronts, backs)
                order = (np.rint(away / TIE), np.full(len(away), met.chain), *codes)
                parts.append((order, away, np.full(len(away), number), fronts, backs))
        if not parts:
            return
        keys = [np.concatenate([part[0][i] for part in parts]) for i in range(4)]
        away, numbers, fronts, backs = (np.concatenate([part[i] for part in parts]) for i in range(1, 5))
        sequence = np.lexsort(keys[::-1])
        start, stop = 0, AT_ONCE
        while start < len(sequence):
            chosen = sequence[start:stop]
            layouts = self._passing(measured, numbers[chosen], fronts[chosen], backs[chosen])
            for i, layout in zip(chosen.tolist(), layouts, strict=True):
                yield float(away[i]), layout if layout is not None and self.space.satisfies(layout) else None
            start, stop = stop, 2 * stop  # larger chunks, in case the windows reject most

    def _passing(
        self, measured: list[Measured], numbers: Column, fronts: Column, backs: Column
    ) -> list[ResNetLayout | None]:
        """The layouts of these halves; None for those that a window other than that of parameters rejects."""
        layouts: list[ResNetLayout | None] = [None] * len(numbers)
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            batch = measured[number].halves.batch(fronts[mine], backs[mine])
            passed = self.space.passes(batch)
            for i, layout in zip(mine[passed].tolist(), batch.select(passed), strict=True):
                layouts[i] = layout
        return layouts


def _pairs(met: Measured, limit: float) -> Iterator[tuple[Column, Column]]:
    """Places of fronts and backs, (P,) each, among which is every pair inside the window at most `limit` away."""
    fronts = np.flatnonzero(met.nearest <= limit)
    counts = np.diff(met.halves.ends, prepend=0)[fronts]
    ends = np.cumsum(counts)
    start = 0
    while start < len(fronts):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + MOST_PAIRS, "right")))
        chunk, of_each, start = fronts[start:stop], counts[start:stop], stop
        rows = np.repeat(chunk, of_each)
        firsts = np.arange(len(rows)) - np.repeat(np.cumsum(of_each) - of_each, of_each)
        yield rows, met.halves.first[rows] + firsts
