"""The feasible layouts in the order of their distance from a proposal, found without looking at all of them.

The distance is the sum of squares over the dimensions of `search.layouts.dimensions`, each scaled to [0, 1]; for a
stage that a layout does not have, only the number of blocks counts. It is a sum over the two halves of a layout, and
the distance of a half is a sum of one look-up per stage. A table of the least distance over any range of backs gives
the nearest partner of each front inside the parameter window in one step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout
from search.layouts import LayoutSpace, sample_uniform
from search.layouts.batch import Column, LayoutBatch, joined
from search.layouts.chains import Chain
from search.layouts.dimensions import encode_batch, form_values, layout_spans
from search.layouts.enumeration import enumerate_batches
from search.layouts.index import ChainIndex, Digits, JoinedHalves, index_of_space

Distances = NDArray[np.float64]
Places = NDArray[np.int32]
Proposal = Mapping[str, int | float]

TIE = 1e-9
"""Squared distances closer than this are ties; sums of squares differ by rounding."""

FIRST_FRONTS, MORE_FRONTS = 16, 4
"""Nearest fronts whose partners are listed once the nearest layouts are used up, and the factor by which they grow."""

MOST_PAIRS = 2**21
"""Pairs of halves in one chunk (about 100 MB)."""

MOST_REFUSED = 2**14
"""Consecutive layouts that windows and a predicate may reject before a sample is ranked instead: about 0.1 s."""

MOST_LISTED = 2**18
"""Most layouts in the parameter window for which that sample consists of all feasible ones."""

SAMPLED = 2**11
"""Size of the sample if the window has more layouts."""

AT_ONCE = 64
"""Layouts decoded in the first chunk; each next chunk ends at twice the number of the one before."""


class Kept(NamedTuple):
    """The parts of joined halves that do not depend on the proposal."""

    front: list[Digits]
    """Place of the stem and digits of the stages of each front, (F,) each."""
    back: list[Digits]
    """Digits of the stages of each back, (B,) each."""
    ranges: list[tuple[Places, Places, Places]]
    """For each level, of the fronts with 2**level to 2**(level + 1) - 1 backs in the window: their places, and the
    starts of the first and of the last 2**level of those backs."""


class Measured(NamedTuple):
    """Joined halves with their squared distances from a proposal."""

    halves: JoinedHalves
    chain: int
    """Number of their chain, by which ties are ordered."""
    front: Distances
    """Distance of each front, including what all layouts of the chain share, (F,)."""
    back: Distances
    """Distance of each back, (B,)."""
    nearest: Distances
    """Distance of the nearest layout with each front, (F,)."""
    least: float
    """Distance of the nearest layout of all."""


class Neighbours:
    """Finds the feasible layouts of `space` nearest to a proposal."""

    def __init__(self, space: LayoutSpace) -> None:
        self.space = space
        self._spans = layout_spans(space)
        self._farthest = float(len(self._spans) + 1)
        self._kept: dict[int, Kept] = {}
        """By the identity of the fronts, which chains that differ only in the activation share."""

    def around(self, proposal: Proposal) -> Iterator[tuple[float, ResNetLayout]]:
        """Every feasible layout with its squared distance from `proposal`, nearest first; missing values count as 0.

        After `MOST_REFUSED` consecutive rejections by windows or a predicate, a uniform sample follows, nearest first.
        """
        index = index_of_space(self.space)
        if not isinstance(index, ChainIndex):
            yield from self._ranked(proposal)
            return
        measured: list[Measured] = []
        waiting = deque(self._by_shared_distance(index, proposal))
        known: dict[int, tuple[Distances, Distances, Distances, float]] = {}
        fronts, done, refused = 0, -1.0, 0
        while done < self._farthest:
            limit = self._limit(measured, fronts)
            while waiting and waiting[0][0] <= limit + TIE:
                shared, chain, halves = waiting.popleft()
                key = id(halves.front)  # shared by chains that differ only in the activation
                if key not in known:
                    known[key] = self._distances(halves, proposal)
                front, back, nearest, least = known[key]
                measured.append(Measured(halves, chain, front + shared, back, nearest + shared, least + shared))
                limit = self._limit(measured, fronts)
            for away, layout in self._between(measured, done, limit + TIE):
                if layout is not None:
                    yield away, layout
                refused = 0 if layout is not None else refused + 1
                if refused >= MOST_REFUSED:
                    yield from self._ranked(proposal)
                    return
            done, fronts = limit + TIE, max(FIRST_FRONTS, MORE_FRONTS * fronts)

    def _limit(self, measured: list[Measured], fronts: int) -> float:
        """The squared distance to the front after the `fronts` nearest ones; the largest possible if there is none."""
        if fronts >= sum(len(met.nearest) for met in measured):
            return self._farthest
        if fronts == 0:
            return min(met.least for met in measured)
        return float(np.partition(np.concatenate([met.nearest for met in measured]), fronts)[fronts])

    def _by_shared_distance(self, index: ChainIndex, proposal: Proposal) -> list[tuple[float, int, JoinedHalves]]:
        """Shared squared distance and number of the chain of all joined halves, and the halves, nearest first."""
        numbers: dict[int, int] = {}
        found = []
        for halves in index.joined_halves:
            number = numbers.setdefault(id(halves.chain), len(numbers))
            found.append((self._shared(halves.chain, proposal), number, halves))
        return sorted(found, key=lambda part: part[:2])

    def _distances(self, halves: JoinedHalves, proposal: Proposal) -> tuple[Distances, Distances, Distances, float]:
        """Squared distances of each front, of each back, of the best layout with each front, and of the best of all."""
        kept = self._kept_of(halves)
        tables = self._tables(halves.chain, proposal)
        stem, *stages = kept.front
        front = self._away("stem", np.arange(len(self.space.stem_channels)), proposal)[stem]
        for table, digits in zip(tables, stages, strict=False):
            front += table[digits]
        back = np.zeros(len(halves.back))
        for table, digits in zip(tables[halves.chain.cut :], kept.back, strict=True):
            back += table[digits]
        nearest = front + _least_over_ranges(back, kept.ranges, len(front))
        return front, back, nearest, float(nearest.min())

    def _kept_of(self, halves: JoinedHalves) -> Kept:
        key = id(halves.front)
        if key not in self._kept:
            self._kept[key] = _kept(halves)
        return self._kept[key]

    def _away(self, name: str, values: Column, proposal: Proposal) -> Distances:
        """Squared distances of `values` (N,) along dimension `name`; 0 if the proposal or the space lacks it."""
        if name not in proposal or name not in self._spans:
            return np.zeros(len(values))
        squares: Distances = ((values - proposal[name]) / self._spans[name]) ** 2
        return squares

    def _tables(self, chain: Chain, proposal: Proposal) -> list[Distances]:
        """For every stage, the squared distance of each value of its digit, (digits,)."""
        space, found = self.space, []
        for stage in range(chain.stages):
            least = space.blocks[0] if stage < min(space.stages) else 1
            sizes = {
                "blocks": np.arange(least, least + space.blocks[1] - space.blocks[0] + 1),
                "stride": np.arange(len(space.strides if stage else space.first_strides)),
                "kernel": np.arange(len(space.kernels)),
            }
            total = self._away(f"width_{stage + 1}", chain.width_places, proposal)
            for name, values in sizes.items():
                total = (total[:, None] + self._away(f"{name}_{stage + 1}", values, proposal)).ravel()
            found.append(total)
        return found

    def _shared(self, chain: Chain, proposal: Proposal) -> float:
        """Squared distance along the dimensions in which all layouts of the chain are the same."""
        space = self.space
        absent = [f"blocks_{i}" for i in range(chain.stages + 1, max(space.stages) + 1)]
        values = {
            "skip": space.skip_kernels.index(chain.skip_kernel),
            "bias": space.conv_biases.index(chain.conv_bias),
            **form_values(space, chain.form),
            **dict.fromkeys(absent, 0),
        }
        return float(sum(self._away(name, np.array([value]), proposal)[0] for name, value in values.items()))

    def _ranked(self, proposal: Proposal) -> Iterator[tuple[float, ResNetLayout]]:
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


def _kept(halves: JoinedHalves) -> Kept:
    front, back = halves.digits()
    counts = np.diff(halves.ends, prepend=0)
    levels = np.frexp(counts)[1] - 1  # exact: no count comes near 2**53
    ranges = []
    for level in range(int(levels.max()) + 1):
        fronts = np.flatnonzero(levels == level)
        first = halves.first[fronts]
        last = first + counts[fronts] - (1 << level)
        ranges.append((fronts.astype(np.int32), first.astype(np.int32), last.astype(np.int32)))
    return Kept(front, back, ranges)


def _least_over_ranges(values: Distances, ranges: list[tuple[Places, Places, Places]], fronts: int) -> Distances:
    """The minimum of `values` over the range of each front, (F,), by a sparse table of minima over 2**level values.

    Source: Bender & Farach-Colton, The LCA Problem Revisited, 2000.
    """
    least, table = np.empty(fronts), values
    for level, (places, first, last) in enumerate(ranges):
        if level:
            half = 1 << (level - 1)
            table = np.minimum(table[:-half], table[half:])
        least[places] = np.minimum(table[first], table[last])
    return least
