"""Chains of stages grown within a radius of a proposal, dropped when nothing can bring them into the window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo.complexity import head_params, stage_params, stem_params
from search.layouts.batch import Column
from search.layouts.chains import Chain
from search.layouts.dimensions import form_values

Distances = NDArray[np.float64]


class Grown(NamedTuple):
    """Chains of consecutive stages."""

    start: Column
    """Place of the width they start behind, (N,); 0 for fronts."""
    place: Column
    """Place of the width they end with, (N,)."""
    params: Column
    """Parameters, those of stem and head included, (N,)."""
    codes: Column
    """What their stages are, as `Chain` codes it, (N,)."""
    away: Distances
    """Squared distance, (N,)."""

    def take(self, places: NDArray[np.bool_] | NDArray[np.intp]) -> Grown:
        """The chains where the mask (N,) is true, or those at the places (M,)."""
        return Grown(self.start[places], self.place[places], self.params[places], self.codes[places], self.away[places])


class Axes:
    """Squared distances from a proposal along the dimensions of a space, each scaled to [0, 1]."""

    def __init__(self, spans: Mapping[str, int], proposal: Mapping[str, int | float]) -> None:
        self.spans, self.proposal = spans, proposal

    def __call__(self, name: str, values: NDArray[np.int64]) -> Distances:
        """Those of `values` (N,) of dimension `name`; 0 where the proposal or the space has no such dimension."""
        if name not in self.proposal or name not in self.spans:
            return np.zeros(len(values))
        squares: Distances = ((values - self.proposal[name]) / self.spans[name]) ** 2
        return squares


@dataclass(frozen=True)
class Growth:
    """The halves of `chain` around one proposal."""

    chain: Chain
    axes: Axes

    @cached_property
    def shared(self) -> float:
        """Squared distance of what all layouts of the chain have in common."""
        space = self.chain.space
        absent = [f"blocks_{i}" for i in range(self.chain.stages + 1, max(space.stages) + 1)]
        skip = space.skip_kernels.index(self.chain.skip_kernel)
        bias = space.conv_biases.index(self.chain.conv_bias)
        values = {"skip": skip, "bias": bias, **form_values(space, self.chain.form), **dict.fromkeys(absent, 0)}
        return float(sum(self.axes(name, np.array([value]))[0] for name, value in values.items()))

    @cached_property
    def stage_distances(self) -> list[Distances]:
        """For every stage the squared distance of each value of its digit, (digits,)."""
        space = self.chain.space
        found = []
        for stage in range(self.chain.stages):
            least = space.blocks[0] if stage < min(space.stages) else 1
            strides = space.strides if stage else space.first_strides
            sizes = {
                "blocks": np.arange(least, least + space.blocks[1] - space.blocks[0] + 1),
                "stride": np.arange(len(strides)),
                "kernel": np.arange(len(space.kernels)),
            }
            total = self.axes(f"width_{stage + 1}", self.chain.width_places)
            for name, values in sizes.items():
                total = (total[:, None] + self.axes(f"{name}_{stage + 1}", values)).ravel()
            found.append(total)
        return found

    @cached_property
    def least_rest_away(self) -> Distances:
        """Least squared distance that stages i.. add behind each width, the window not asked, (stages + 1, W)."""
        chain, places = self.chain, range(len(self.chain.widths))
        rest = np.zeros((chain.stages + 1, len(places)))
        for stage in range(chain.stages - 1, 0, -1):
            nearest = self.stage_distances[stage].reshape(len(places), -1).min(axis=1) + rest[stage + 1]
            rest[stage] = [nearest[list(chain.follows(place))].min(initial=np.inf) for place in places]
        return rest

    @cached_property
    def least(self) -> float:
        """Least squared distance of a layout of the chain, the window not asked."""
        places = self._places(0, np.arange(self.chain.digits(0)))
        return self.shared + float((self.stage_distances[0] + self.least_rest_away[1, places]).min())

    def front(self, within: float) -> Grown:
        """The stems and first stages that are in layouts at a squared distance of at most `within`."""
        chain, space = self.chain, self.chain.space
        stem_away = self.axes("stem", np.arange(len(space.stem_channels)))
        parts = []
        for stem_place, stem in enumerate(space.stem_channels):
            away = self.stage_distances[0] + stem_away[stem_place]
            digits = np.flatnonzero(away <= within)
            place = self._places(0, digits)
            first = chain.stem_is_first[stem_place, place]
            digits, place = digits[first], place[first]
            blocks, width, stride, kernel = chain.rows[0][digits].T.astype(np.int64)
            stems = np.full_like(width, stem) if stem else width
            params = stem_params(space.in_channels, stems, chain.conv_bias)
            shared = (chain.skip_kernel, chain.conv_bias, chain.form)
            params = params + stage_params(stems, width, blocks, kernel, stride, *shared)
            codes = stem_place * chain.digits(0) + digits
            parts.append(Grown(np.zeros_like(digits), place, params, codes, away[digits]))
        nothing = np.zeros(len(chain.widths), dtype=np.int64)
        grown = Grown(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        grown = grown.take(grown.away + self.least_rest_away[1, grown.place] <= within)
        grown = self._pruned(grown, 1, nothing, nothing)
        for stage in range(1, chain.cut):
            grown = self._extended(grown, stage, within, nothing, nothing)
        return grown

    def back(self, within: float, front: Grown) -> Grown:
        """The last stages that are at most `within` away together with one of `front`, by start, then parameters."""
        chain = self.chain
        fewest = np.full(len(chain.widths), np.iinfo(np.int64).max // 4)
        most = np.zeros(len(chain.widths), dtype=np.int64)
        np.minimum.at(fewest, front.place, front.params)
        np.maximum.at(most, front.place, front.params)
        nearest = np.full(len(chain.widths), np.inf)
        np.minimum.at(nearest, front.place, front.away)
        starts = np.unique(front.place)
        grown = Grown(starts, starts, np.zeros_like(starts), np.zeros_like(starts), nearest[starts])
        for stage in range(chain.cut, chain.stages):
            grown = self._extended(grown, stage, within, fewest, most)
        params = grown.params + head_params(chain.widths[grown.place], chain.space.classes)
        grown = grown._replace(params=params, away=grown.away - nearest[grown.start])
        return grown.take(np.lexsort((grown.params, grown.start)))

    def _extended(self, grown: Grown, stage: int, within: float, fewest: Column, most: Column) -> Grown:
        """One stage longer; `fewest` and `most` are the parameters of what lies before each start."""
        chain = self.chain
        digits = np.flatnonzero(self.stage_distances[stage] <= within)
        places = self._places(stage, digits)
        away = grown.away[:, None] + self.stage_distances[stage][digits]
        keep = away + self.least_rest_away[stage + 1, places] <= within
        if chain.space.channel_order != "free":
            keep &= places >= grown.place[:, None] + (chain.space.channel_order == "increasing")
        rows, columns = np.nonzero(keep)
        params = grown.params[rows] + chain.params_after(grown.place[rows], digits[columns])
        codes = grown.codes[rows] * chain.digits(stage) + digits[columns]
        longer = Grown(grown.start[rows], places[columns], params, codes, away[rows, columns])
        return self._pruned(longer, stage + 1, fewest, most)

    def _pruned(self, grown: Grown, stage: int, fewest: Column, most: Column) -> Grown:
        low = grown.params + self.chain.least_rest[stage, grown.place] + fewest[grown.start]
        high = grown.params + self.chain.most_rest[stage, grown.place] + most[grown.start]
        return grown.take((low <= self.chain.bounded_max) & (high >= self.chain.space.min_params))

    def _places(self, stage: int, digits: NDArray[np.intp]) -> Column:
        return digits // (self.chain.digits(stage) // len(self.chain.widths))
