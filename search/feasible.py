"""The feasible set as something to draw from and project onto: no rejection of infeasible layouts, no repeats."""

from __future__ import annotations

from collections.abc import Set
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout
from search.encoding import Proposal, encode_skeleton
from search.enumeration import ParamTerms, Skeleton, blocks_at, enumerate_layouts, feasible_skeletons, halved
from search.space import SearchSpace


class _Group(NamedTuple):
    """The skeletons with one number of stages that have a feasible layout."""

    stages: int
    skeletons: tuple[Skeleton, ...]
    terms: tuple[ParamTerms, ...]
    names: list[str]
    """Dimensions of `places`."""
    places: NDArray[np.float64]
    """Each skeleton's dimensions, scaled to [0, 1], (skeletons, dimensions)."""
    ends: NDArray[np.int64]
    """Feasible layouts of each skeleton and those before it, the predicate not asked, (skeletons,)."""


class FeasibleSet:
    """The feasible layouts of `space`, indexed by skeleton.

    It holds one row a skeleton, not one a layout: 1,287 rows for the 2,392,052 layouts of the default space.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._groups = [group for stages in space.stages if (group := self._group(stages)) is not None]
        self._group_ends = np.cumsum([group.ends[-1] for group in self._groups], dtype=np.int64)
        self.count = int(self._group_ends[-1]) if self._groups else 0
        """Layouts inside the parameter window, the predicate not asked."""

    def nearest(self, proposal: Proposal, used: Set[ResNetLayout]) -> ResNetLayout | None:
        """The feasible layout nearest to `proposal` that is not in `used`; None when all are.

        Distance is Euclidean over the dimensions scaled to [0, 1]; between different numbers of stages the common
        dimensions count, and the number of stages with double weight. Ties go to the first in enumeration order.
        """
        best: tuple[float, int, int] = (np.inf, 0, 0)
        found: ResNetLayout | None = None
        for place, group in enumerate(self._groups):
            distances = self._skeleton_distances(group, proposal)
            bounds = distances + self._least_block_distances(group, proposal)
            for i in np.argsort(bounds, kind="stable").tolist():
                if bounds[i] > best[0]:
                    break
                away, layout = self._nearest_blocks(group, i, best[0] - distances[i], proposal, used)
                if layout is not None and (distances[i] + away, place, i) < best:
                    best, found = (float(distances[i] + away), place, i), layout
        return found

    def draw(self, generator: np.random.Generator, used: Set[ResNetLayout]) -> ResNetLayout | None:
        """A layout drawn uniformly from the feasible ones that are not in `used`; None when all are.

        Without a predicate and with few used ones a draw takes one pass; what it rejects is only repeats and what
        the predicate refuses, and after 1,000 rejections in a row the rest is enumerated.
        """
        for _ in range(1000 if self.count else 0):
            layout = self.layout_at(int(generator.integers(self.count)))
            if layout not in used and self.space.accepts(layout):
                return layout
        rest = [layout for layout in self._accepted if layout not in used]
        return rest[int(generator.integers(len(rest)))] if rest else None

    def layout_at(self, index: int) -> ResNetLayout:
        """The layout with number `index` in enumeration order, the predicate not asked.

        Raises:
            IndexError: there is none.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"layout {index:,} of {self.count:,}; use 0 to {self.count - 1:,}")
        place = int(np.searchsorted(self._group_ends, index, side="right"))
        group = self._groups[place]
        index -= int(self._group_ends[place]) - int(group.ends[-1])
        i = int(np.searchsorted(group.ends, index, side="right"))
        halves = halved(self.space, group.terms[i])
        index -= int(group.ends[i]) - int(halves.counts.sum())
        ends = np.cumsum(halves.counts)
        row = int(np.searchsorted(ends, index, side="right"))
        cells = np.flatnonzero(self._inside(halves.front[row] + halves.back))
        cell = int(cells[index - int(ends[row]) + int(halves.counts[row])])
        return self._layout(group, i, row * len(halves.back) + cell)

    @cached_property
    def _accepted(self) -> list[ResNetLayout]:
        # Kept, because only a rare predicate or a nearly exhausted space needs it, and then every draw does.
        return list(enumerate_layouts(self.space))

    def _group(self, stages: int) -> _Group | None:
        only = self.space.model_copy(update={"stages": (stages,)})
        chosen = [(skeleton, terms, int(halves.counts.sum())) for skeleton, terms, halves in feasible_skeletons(only)]
        if not chosen:
            return None
        skeletons, all_terms, counts = zip(*chosen, strict=True)
        rows = [encode_skeleton(self.space, skeleton) for skeleton in skeletons]
        names = [name for name in rows[0] if name != "stages"]
        places = np.array([[row[name] / self._steps(name) for name in names] for row in rows])
        return _Group(stages, skeletons, all_terms, names, places, np.cumsum(counts))

    def _skeleton_distances(self, group: _Group, proposal: Proposal) -> NDArray[np.float64]:
        """Squared distance of each skeleton's dimensions, (skeletons,)."""
        wanted = [proposal[name] / self._steps(name) if name in proposal else np.nan for name in group.names]
        distances: NDArray[np.float64] = np.nansum((group.places - np.array(wanted)) ** 2, axis=1)
        if "stages" in proposal:
            step = self.space.stages.index(group.stages) - proposal["stages"]
            distances += 2 * (step / max(1, len(self.space.stages) - 1)) ** 2
        return distances

    def _least_block_distances(self, group: _Group, proposal: Proposal) -> NDArray[np.float64]:
        """A lower bound of the squared distance of the blocks, (skeletons,).

        Parameters change by at most the slopes' norm times the way (Cauchy-Schwarz), and the window is `gap` away.
        Skipping skeletons by it takes a search among 2.9 thousand million layouts of six stages from 2.7 s to 0.04 s.
        """
        wanted = [proposal.get(f"blocks_{stage}") for stage in range(1, group.stages + 1)]
        if None in wanted:
            return np.zeros(len(group.terms))
        slopes = np.array([terms.slopes for terms in group.terms], dtype=np.float64)
        params = np.array([terms.constant for terms in group.terms]) + slopes @ np.array(wanted, dtype=np.float64)
        gap = np.maximum(np.maximum(self.space.min_params - params, params - self.space.max_params), 0)
        # A billionth less, so that rounding never puts the bound over the distance.
        least: NDArray[np.float64] = (1 - 1e-9) * gap**2 / (slopes**2).sum(axis=1) / self._steps("blocks") ** 2
        return least

    def _nearest_blocks(
        self, group: _Group, i: int, limit: float, proposal: Proposal, used: Set[ResNetLayout]
    ) -> tuple[float, ResNetLayout | None]:
        """The distance and layout of the nearest blocks of skeleton `i`, if it is not farther than `limit`."""
        middle = group.stages // 2
        front = self._away(proposal, range(1, middle + 1))
        back = self._away(proposal, range(middle + 1, group.stages + 1))
        halves = halved(self.space, group.terms[i])
        rows = np.flatnonzero(halves.counts)
        by_distance = np.argsort(back, kind="stable")
        most = limit * self._steps("blocks") ** 2 * (1 + 1e-9)  # what rounding takes must not hide a tie
        best: tuple[float, int] = (np.inf, 0)
        found: ResNetLayout | None = None
        for row in rows[np.argsort(front[rows], kind="stable")].tolist():
            if front[row] > min(most, best[0]):
                break
            for cell in by_distance[self._inside(halves.front[row] + halves.back[by_distance])].tolist():
                place = row * len(back) + cell
                away = int(front[row] + back[cell])
                if away > most or (away, place) >= best:
                    break
                layout = self._layout(group, i, place)
                if layout not in used and self.space.accepts(layout):
                    best, found = (away, place), layout
                    break
        return best[0] / self._steps("blocks") ** 2, found

    def _away(self, proposal: Proposal, stages: range) -> NDArray[np.int64]:
        """Squared distance in blocks of every choice for `stages`, row-major; whole numbers, so that ties are exact."""
        blocks = np.arange(self.space.blocks[0], self.space.blocks[1] + 1, dtype=np.int64)
        away = np.zeros(1, dtype=np.int64)
        for stage in stages:
            wanted = proposal.get(f"blocks_{stage}")
            axis = np.zeros_like(blocks) if wanted is None else (blocks - wanted) ** 2
            away = (away[:, None] + axis).ravel()
        return away

    def _layout(self, group: _Group, i: int, cell: int) -> ResNetLayout:
        blocks = blocks_at(self.space, group.stages, np.array(cell))
        return self.space.layout(group.skeletons[i], tuple(blocks.tolist()))

    def _inside(self, params: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (params >= self.space.min_params) & (params <= self.space.max_params)

    def _steps(self, name: str) -> int:
        """Steps from the first to the last choice of a dimension; 1 for a single choice."""
        sizes = {
            "blocks": self.space.blocks[1] - self.space.blocks[0] + 1,
            "width": len(self.space.channels),
            "stride": max(len(self.space.strides), len(self.space.first_strides)),
            "kernel": len(self.space.kernels),
            "stem": len(self.space.stem_channels),
            "skip": len(self.space.skip_kernels),
            "bias": len(self.space.conv_biases),
        }
        return max(1, sizes[name.split("_")[0]] - 1)
