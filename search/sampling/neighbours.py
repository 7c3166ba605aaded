"""The feasible layouts in order of their distance from a proposal, found without a look at all of them.

Distance is the sum of squares over the dimensions of `search.layouts.dimensions`, each scaled to [0, 1]; of a stage
that a layout does not have only its blocks count. Halves are grown within a radius (`search.sampling.growth`). Where
they meet, a table of least distances over every run of backs in the window gives the nearest partner of each front at
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from model_zoo import ResNetLayout
from search.layouts import LayoutSpace, sample_uniform
from search.layouts.batch import Column, LayoutBatch, joined
from search.layouts.chains import Chain, chains
from search.layouts.dimensions import encode_batch, layout_spans
from search.layouts.enumeration import enumerate_batches
from search.layouts.index import assembled, index_of_space
from search.sampling.growth import Axes, Distances, Grown, Growth

FIRST_RADIUS = 0.03
"""Squared, beyond the least distance that a layout of any size has; then so many times as far."""

RADIUS_GROWTH = 2.0

TIE = 1e-9
"""Squared distances closer than this are ties; sums of squares differ by rounding."""

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


class Joined(NamedTuple):
    """The halves of one chain, and where the runs of their partners lie."""

    chain: Chain
    shared: float
    """Squared distance of what all layouts of the chain have in common."""
    front: Grown
    back: Grown
    """Sorted by start, then parameters."""
    first: Column
    """For each front the place of its first back inside the parameter window, (F,)."""
    counts: Column
    """For each front how many backs are inside the parameter window, (F,)."""
    nearest: Distances
    """Least squared distance of a layout with each front, (F,); inf without a partner."""


class Neighbours:
    """The feasible layouts of `space` around proposals."""

    def __init__(self, space: LayoutSpace) -> None:
        self.space = space
        self._spans = layout_spans(space)
        self._chains = [] if space.layouts else list(chains(space))
        self._farthest = float(len(self._spans) + 1)

    def around(self, proposal: Mapping[str, int | float]) -> Iterator[tuple[float, ResNetLayout]]:
        """Every feasible layout with its squared distance from `proposal`, nearest first; missing values count 0.

        Where windows or a predicate refuse very many in a row, those of a uniform sample follow, nearest first.
        """
        if self.space.layouts:
            yield from self._ranked(proposal)
            return
        axes = Axes(self._spans, proposal)
        growths = [Growth(chain, axes) for chain in self._chains]
        least = _least(growths)
        done, radius = -1.0, least + FIRST_RADIUS
        refused = 0
        while done < self._farthest:
            halves = [met for growth in growths if (met := _join(growth, radius)) is not None]
            limit = _next(halves, done)
            while done < radius:
                upper = limit + TIE if limit <= radius else radius
                for away, layout in self._between(halves, done, upper):
                    if layout is not None:
                        yield away, layout
                    refused = 0 if layout is not None else refused + 1
                    if refused >= MOST_REFUSED:
                        yield from self._ranked(proposal)
                        return
                done = upper
                limit = max(_next(halves, done), 1.25 * limit, 0.002)
            radius = least + RADIUS_GROWTH * (radius - least)

    def _ranked(self, proposal: Mapping[str, int | float]) -> Iterator[tuple[float, ResNetLayout]]:
        """The layouts of `_sample`, nearest first."""
        if not index_of_space(self.space).count:
            return
        batch, values = self._sample
        away = np.zeros(len(batch))
        for name, span in self._spans.items():
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

    def _between(self, halves: list[Joined], above: float, limit: float) -> Iterator[tuple[float, ResNetLayout | None]]:
        """The layouts whose squared distance is over `above` and at most `limit`, nearest first.

        None stands for one that a window beside the parameter window, or the predicate, refuses.
        """
        found: list[tuple[int, float, int, int, int]] = []  # the distance in ties, itself, the chain, the two codes
        for number, met in enumerate(halves):
            for rows, backs in _pairs(met, limit):
                away = met.shared + met.front.away[rows] + met.back.away[backs]
                kept = (away > above) & (away <= limit)
                numbers = np.full(int(kept.sum()), number)
                ties = np.rint(away[kept] / TIE).astype(np.int64)
                codes = (met.front.codes[rows[kept]], met.back.codes[backs[kept]])
                columns = (ties, away[kept], numbers, *codes)
                found += zip(*(column.tolist() for column in columns), strict=True)
        found.sort(key=lambda pair: (pair[0], pair[2:]))
        start, stop = 0, AT_ONCE
        while start < len(found):
            part = found[start:stop]
            for pair, layout in zip(part, self._passing(halves, part), strict=True):
                yield pair[1], layout if layout is not None and self.space.satisfies(layout) else None
            start, stop = stop, 2 * stop  # where windows refuse most, many are asked at once

    def _passing(self, halves: list[Joined], part: list[tuple[int, float, int, int, int]]) -> list[ResNetLayout | None]:
        """The layouts of `part`; None for those that a window beside the parameter window refuses."""
        layouts: list[ResNetLayout | None] = [None] * len(part)
        for number in {pair[2] for pair in part}:
            mine = np.array([i for i, pair in enumerate(part) if pair[2] == number])
            codes = np.array([part[i][3:] for i in mine], dtype=np.int64)
            batch = assembled(halves[number].chain, codes[:, 0], codes[:, 1])
            passed = self.space.passes(batch)
            for i, layout in zip(mine[passed].tolist(), batch.select(passed), strict=True):
                layouts[i] = layout
        return layouts


def _least(growths: list[Growth]) -> float:
    """The least squared distance of a layout of any chain, the window not asked; inf without a chain."""
    least = float(np.inf)
    for growth in sorted(growths, key=lambda growth: growth.shared):
        if growth.shared >= least:
            break
        least = min(least, growth.least)
    return least


def _next(halves: list[Joined], done: float) -> float:
    """The least squared distance over `done` of a front's nearest layout; inf when there is none."""
    return min((float(joined.nearest[joined.nearest > done].min(initial=np.inf)) for joined in halves), default=np.inf)


def _join(growth: Growth, radius: float) -> Joined | None:
    """The halves within `radius`; None when no layout can be."""
    chain, within = growth.chain, radius - growth.shared + TIE
    if within < 0 or growth.least > radius + TIE:
        return None
    front = growth.front(within)
    if not len(front.params):
        return None
    back = growth.back(within, front)
    if not len(back.params):
        return None
    first, counts = np.zeros((2, len(front.params)), dtype=np.int64)
    for start in np.unique(back.start).tolist():
        low, high = np.searchsorted(back.start, [start, start + 1])
        mine = np.flatnonzero(front.place == start)
        params = back.params[low:high]
        lowest = np.searchsorted(params, chain.space.min_params - front.params[mine], "left")
        highest = np.searchsorted(params, chain.bounded_max - front.params[mine], "right")
        first[mine], counts[mine] = low + lowest, np.maximum(highest - lowest, 0)
    nearest = growth.shared + front.away + _least_over_runs(back.away, first, counts)
    return Joined(chain, growth.shared, front, back, first, counts, nearest)


def _pairs(joined: Joined, limit: float) -> Iterator[tuple[Column, Column]]:
    """Places of fronts and backs, (P,) each, that hold every pair inside the window up to `limit` away."""
    fronts = np.flatnonzero((joined.nearest <= limit) & (joined.counts > 0))
    ends = np.cumsum(joined.counts[fronts])
    start = 0
    while start < len(fronts):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + MOST_PAIRS, "right")))
        chunk, start = fronts[start:stop], stop
        counts = joined.counts[chunk]
        rows = np.repeat(chunk, counts)
        yield rows, joined.first[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _least_over_runs(values: Distances, first: Column, counts: Column) -> Distances:
    """The least of `values` over each run of `counts` from `first`, (F,); inf for an empty run.

    By a table of the least values over runs of every power of two, of which two cover any run.
    Source: Bender & Farach-Colton, The LCA Problem Revisited, 2000.
    """
    least = np.full(len(first), np.inf)
    level, table = 0, values
    while True:
        mine = (counts >= 1 << level) & (counts < 2 << level)
        ends = first[mine] + counts[mine] - (1 << level)
        least[mine] = np.minimum(table[first[mine]], table[ends])
        if (2 << level) > counts.max(initial=0):
            return least
        table = np.minimum(table[: len(table) - (1 << level)], table[1 << level :])
        level += 1
