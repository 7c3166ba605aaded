"""The feasible layouts in order of their distance from a proposal, found without a look at all of them.

What distance is, and how far the halves of layouts are, is in `search.sampling.half_distances`.
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
"""Nearest fronts whose partners are listed at most once the nearest layouts are used up; then this many times more."""

LEAST_STEP, STEP = 0.002, 1.25
"""How far to look at least, squared, once the nearest layouts are used up; then this many times as far."""

MOST_PAIRS = 2**21
"""Pairs of halves looked at in one go (about 100 MB)."""

MOST_REFUSED = 2**14
"""Layouts in a row that windows and a predicate may refuse before a sample is ranked instead: about 0.1 s."""

MOST_LISTED = 2**18
"""Layouts in the parameter window of which all the feasible ones make that sample."""

SAMPLED = 2**11
"""Layouts of the sample where there are more."""

AT_ONCE = 64
"""Layouts made of codes in the first go; then twice as many."""


class Neighbours:
    """The feasible layouts of `space` around proposals."""

    def __init__(self, space: LayoutSpace) -> None:
        self.space = space
        self._distances = HalfDistances(space)
        self._farthest = float(len(self._distances.spans) + 1)

    def around(self, proposal: Proposal) -> Iterator[tuple[float, ResNetLayout]]:
        """Every feasible layout with its squared distance from `proposal`, nearest first; missing values count 0.

        Where windows or a predicate refuse very many in a row, those of a uniform sample follow, nearest first.
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
                key = id(halves.front)  # which activations share
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
        """How far to look next, when all layouts up to `done` are known: as far as `fronts` of the fronts, or less."""
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
        """All feasible layouts where they are few, else a uniform sample; and their values on each dimension."""
        if index_of_space(self.space).count <= MOST_LISTED:
            nothing = index_of_space(self.space).at(np.zeros(1, dtype=np.int64)).select(np.zeros(1, dtype=np.bool_))
            batch = joined([nothing, *enumerate_batches(self.space)])
        else:
            batch = sample_uniform(self.space, SAMPLED, np.random.default_rng(0))
        return batch, encode_batch(self.space, batch)

    def _between(
        self, measured: list[Measured], above: float, limit: float
    ) -> Iterator[tuple[float, ResNetLayout | None]]:
        """The layouts whose squared distance is over `above` and at most `limit`, nearest first.

        None stands for one that a window beside the parameter window, or the predicate, refuses.
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
            start, stop = stop, 2 * stop  # where windows refuse most, many are asked at once

    def _passing(
        self, measured: list[Measured], numbers: Column, fronts: Column, backs: Column
    ) -> list[ResNetLayout | None]:
        """The layouts of these halves; None for those that a window beside the parameter window refuses."""
        layouts: list[ResNetLayout | None] = [None] * len(numbers)
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            batch = measured[number].halves.batch(fronts[mine], backs[mine])
            passed = self.space.passes(batch)
            for i, layout in zip(mine[passed].tolist(), batch.select(passed), strict=True):
                layouts[i] = layout
        return layouts


def _pairs(met: Measured, limit: float) -> Iterator[tuple[Column, Column]]:
    """Places of fronts and backs, (P,) each, that hold every pair inside the window up to `limit` away."""
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
