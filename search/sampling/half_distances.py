"""The squared distances of the halves of layouts from a proposal, each a sum of one look-up per stage.

The distance is the sum of squares over the dimensions of `search.layouts.dimensions`, each scaled to [0, 1]; for a
stage that a layout does not have, only the number of blocks counts. The distance of a layout is the sum of those of its
two halves. A table of the least distance over any range of backs gives the nearest partner of each front inside the
parameter window in one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.layouts import LayoutSpace
from search.layouts.batch import Column
from search.layouts.chains import Chain, Keys
from search.layouts.dimensions import form_values, layout_spans
from search.layouts.index import ChainIndex, Digits, JoinedHalves

Distances = NDArray[np.float64]
Places = NDArray[np.int32]
Proposal = Mapping[str, int | float]


class Kept(NamedTuple):
    """The parts of joined halves that do not depend on the proposal."""

    keys: Keys
    """The fronts themselves, held because they are known by their identity, which a freed array would pass on."""
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


class HalfDistances:
    """Computes the squared distances of the halves of the layouts of `space`."""

    def __init__(self, space: LayoutSpace) -> None:
        self.space = space
        self.spans = layout_spans(space)
        self._kept: dict[int, Kept] = {}
        """By the identity of the fronts, which chains that differ only in what has no parameters share."""

    def shared(self, index: ChainIndex, proposal: Proposal) -> list[tuple[float, int, JoinedHalves]]:
        """All joined halves with the squared distance that their layouts share and their chain's number, in order."""
        numbers: dict[int, int] = {}
        found = []
        for halves in index.joined_halves:
            number = numbers.setdefault(id(halves.chain), len(numbers))
            found.append((self._shared(halves.chain, proposal), number, halves))
        return sorted(found, key=lambda part: part[:2])

    def of(self, halves: JoinedHalves, proposal: Proposal) -> tuple[Distances, Distances, Distances, float]:
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
        if name not in proposal or name not in self.spans:
            return np.zeros(len(values))
        squares: Distances = ((values - proposal[name]) / self.spans[name]) ** 2
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
        values = form_values(space, chain.form) | dict.fromkeys(absent, 0)
        return float(sum(self._away(name, np.array([value]), proposal)[0] for name, value in values.items()))


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
    return Kept(halves.front, front, back, ranges)


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
