"""The feasible set as something to draw from and project onto: no rejection of infeasible layouts, no repeats."""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout
from search.encoding import Proposal, encode_skeleton
from search.enumeration import ParamTerms, Skeleton, param_terms, params_grid, params_range
from search.space import SearchSpace


class _Group(NamedTuple):
    """The skeletons with one number of stages that have a feasible layout."""

    stages: int
    skeletons: list[Skeleton]
    terms: list[ParamTerms]
    names: list[str]
    """Dimensions of `places`."""
    places: NDArray[np.float64]
    """Each skeleton's dimensions, scaled to [0, 1], (skeletons, dimensions)."""
    counts: NDArray[np.int64]
    """Feasible layouts per skeleton, the predicate not asked, (skeletons,)."""


class FeasibleSet:
    """The feasible layouts of `space`, indexed by skeleton.

    It holds one row a skeleton, not one a layout: 1,287 rows for the 2,392,052 layouts of the default space.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._groups = [group for stages in space.stages if (group := self._group(stages)) is not None]
        self.count = int(sum(group.counts.sum() for group in self._groups))
        """Layouts inside the parameter window, the predicate not asked."""

    def nearest(self, proposal: Proposal, used: Set[ResNetLayout]) -> ResNetLayout | None:
        """The feasible layout nearest to `proposal` that is not in `used`; None when all are.

        Distance is Euclidean over the dimensions scaled to [0, 1]; between different numbers of stages the common
        dimensions count, and the number of stages with double weight. Ties go to the first in enumeration order.
        """
        best: tuple[float, ResNetLayout | None] = (np.inf, None)
        for group in self._groups:
            wanted = np.array(
                [self._scaled(name, proposal[name]) if name in proposal else np.nan for name in group.names]
            )
            distances = np.nansum((group.places - wanted) ** 2, axis=1)
            if "stages" in proposal:
                step = self.space.stages.index(group.stages) - proposal["stages"]
                distances += 2 * (step / max(1, len(self.space.stages) - 1)) ** 2
            for i in np.argsort(distances, kind="stable"):
                if distances[i] >= best[0]:
                    break
                best = min(best, self._nearest_blocks(group, int(i), float(distances[i]), proposal, used), key=_first)
        return best[1]

    def draw(self, generator: np.random.Generator, used: Set[ResNetLayout]) -> ResNetLayout | None:
        """A layout drawn uniformly from the feasible ones that are not in `used`; None when all are.

        Without a predicate and with few used ones a draw takes one pass; what it rejects is only repeats and what
        the predicate refuses, and after 1,000 rejections in a row the rest is enumerated.
        """
        for _ in range(1000 if self.count else 0):
            layout = self.layout_at(int(generator.integers(self.count)))
            if layout not in used and self.space.accepts(layout):
                return layout
        rest = [x for x in map(self.layout_at, range(self.count)) if x not in used and self.space.accepts(x)]
        return rest[int(generator.integers(len(rest)))] if rest else None

    def layout_at(self, index: int) -> ResNetLayout:
        """The layout with number `index` in enumeration order, the predicate not asked."""
        for group in self._groups:
            ends = np.cumsum(group.counts)
            if index >= ends[-1]:
                index -= int(ends[-1])
                continue
            i = int(np.searchsorted(ends, index, side="right"))
            cells = np.flatnonzero(self._inside(params_grid(self.space, group.terms[i])))
            return self._layout(group, i, int(cells[index - (ends[i] - group.counts[i])]))
        raise IndexError(f"{index} is beyond the {self.count:,} feasible layouts")

    def _group(self, stages: int) -> _Group | None:
        chosen: list[tuple[Skeleton, ParamTerms, int]] = []
        for skeleton in self.space.model_copy(update={"stages": (stages,)}).skeletons():
            terms = param_terms(self.space, skeleton)
            fewest, most = params_range(self.space, terms)
            if fewest <= self.space.max_params and most >= self.space.min_params:
                count = int(self._inside(params_grid(self.space, terms)).sum())
                if count:
                    chosen.append((skeleton, terms, count))
        if not chosen:
            return None
        skeletons, all_terms, counts = map(list, zip(*chosen, strict=True))
        rows = [encode_skeleton(self.space, skeleton) for skeleton in skeletons]
        names = [name for name in rows[0] if name != "stages"]
        places = np.array([[self._scaled(name, row[name]) for name in names] for row in rows])
        return _Group(stages, skeletons, all_terms, names, places, np.array(counts))

    def _nearest_blocks(
        self, group: _Group, i: int, distance: float, proposal: Proposal, used: Set[ResNetLayout]
    ) -> tuple[float, ResNetLayout | None]:
        away = np.zeros(())
        blocks = np.arange(self.space.blocks[0], self.space.blocks[1] + 1)
        for stage in range(1, group.stages + 1):
            wanted = proposal.get(f"blocks_{stage}")
            axis = np.zeros(len(blocks)) if wanted is None else (self._scaled("blocks", blocks - wanted + 0.0)) ** 2
            away = away[..., None] + axis
        away = np.where(self._inside(params_grid(self.space, group.terms[i])), away, np.inf)
        for cell in np.argsort(away, axis=None, kind="stable"):
            if not np.isfinite(away.flat[cell]):
                break
            layout = self._layout(group, i, int(cell))
            if layout not in used and self.space.accepts(layout):
                return distance + float(away.flat[cell]), layout
        return np.inf, None

    def _layout(self, group: _Group, i: int, cell: int) -> ResNetLayout:
        per_stage = self.space.blocks[1] - self.space.blocks[0] + 1
        blocks = np.unravel_index(cell, (per_stage,) * group.stages)
        return self.space.layout(group.skeletons[i], tuple(int(b) + self.space.blocks[0] for b in blocks))

    def _inside(self, grid: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (grid >= self.space.min_params) & (grid <= self.space.max_params)

    def _scaled(self, name: str, value: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
        kind = name.split("_")[0]
        sizes = {
            "blocks": self.space.blocks[1] - self.space.blocks[0] + 1,
            "width": len(self.space.channels),
            "stride": max(len(self.space.strides), len(self.space.first_strides)),
            "kernel": len(self.space.kernels),
            "stem": len(self.space.stem_channels),
            "skip": len(self.space.skip_kernels),
            "bias": len(self.space.conv_biases),
        }
        return value / max(1, sizes[kind] - 1)


def _first(item: tuple[float, ResNetLayout | None]) -> float:
    return item[0]
