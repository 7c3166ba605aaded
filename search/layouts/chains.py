"""The layouts with one number of stages as chains of choices, cut in the middle.

The parameter count is a sum with one term per stage, and a term depends on the stage before only through its width. So
all chains of the first stages (fronts) and all chains of the last ones (backs), grouped by the width where they meet
and sorted by their parameters, contain every layout: the backs that complete a front inside the parameter window are
one contiguous range. 34,000 fronts and 74,000 backs represent the 66,772,992 layouts of the default space.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model_zoo.blocks import Form
from model_zoo.complexity import head_params, stage_params, stem_params
from model_zoo.widths import allows, allows_stem
from search.errors import ConfigError
from search.layouts.space import LayoutSpace

MAX_HALF = 2**24
"""Most chains of one half (128 MiB of int64)."""

MAX_KEY_BITS = 62
"""Bits in one int64 for the parameters of a half together with the code of its choices."""

Keys = NDArray[np.int64]
"""Chains of a half that meet at one width, ascending: the parameters, and in the low bits the code of the choices."""

MOST_KEPT = 2**16
"""Most parameter counts of a stage that a chain keeps (512 KiB): one for each width before it and each choice."""

UNREACHABLE = 2**61
"""Parameter count of a rest that cannot follow a width; larger than any sum for widths of 16 bits."""


@dataclass(frozen=True)
class Chain:
    """All layouts of `space` with `stages` stages and one form."""

    space: LayoutSpace
    stages: int
    form: Form

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """Widths that a stage may have and that fit the blocks, ascending, (W,)."""
        return np.array([width for width in self.space.channels if allows(self.form, width)], dtype=np.int64)

    @cached_property
    def width_places(self) -> NDArray[np.int64]:
        """Places of `widths` among all those of the space, (W,)."""
        return np.searchsorted(self.space.channels, self.widths).astype(np.int64)

    @property
    def has_layouts(self) -> bool:
        """Whether there are layouts before the parameter window: blocks may fit no width, or too few that increase."""
        return len(self.widths) > 0 and self.total > 0

    def choices(self, stage: int) -> NDArray[np.int32]:
        """Blocks, stride and kernel of each choice of a stage, from 0, at one width, in the order of codes, (3, C)."""
        return self._choices[min(stage, 1)]

    @cached_property
    def _choices(self) -> list[NDArray[np.int32]]:
        """The choices of the first stage, and those of every other."""
        blocks = np.arange(self.space.blocks[0], self.space.blocks[1] + 1)
        grids = [
            np.meshgrid(blocks, strides, self.space.kernels, indexing="ij")
            for strides in (self.space.first_strides, self.space.strides)
        ]
        return [np.stack([axis.ravel() for axis in grid]).astype(np.int32) for grid in grids]

    def digits(self, stage: int) -> int:
        """The number of choices of a stage, with its width: the base of its digit in a code."""
        strides = self.space.strides if stage else self.space.first_strides
        per_width = (self.space.blocks[1] - self.space.blocks[0] + 1) * len(strides) * len(self.space.kernels)
        return len(self.widths) * per_width

    def follows(self, before: int) -> Iterator[int]:
        """The places of the widths that may follow the width at place `before`."""
        if self.space.channel_order == "free":
            return iter(range(len(self.widths)))
        return iter(range(before + (self.space.channel_order == "increasing"), len(self.widths)))

    def stems(self, width: int) -> dict[int, int]:
        """The stems that may precede a first stage of `width`: place among the space's stems -> channels, each once."""
        found: dict[int, int] = {}
        for place, stem in enumerate(self.space.stem_channels):
            if (stem or width) not in found.values() and allows_stem(self.form, stem or width):
                found[place] = stem or width
        return found

    def stage_terms(self, stage: int, c_in: int) -> NDArray[np.int64]:
        """Parameters of each choice of a stage with `c_in` input channels, for every width, (W, C)."""
        blocks, stride, kernel = self.choices(stage).astype(np.int64)
        terms: NDArray[np.int64] = stage_params(c_in, self.widths[:, None], blocks, kernel, stride, self.form)
        return terms

    def terms_after(self, place: int) -> NDArray[np.int64]:
        """Parameters of each choice of a stage after the first, after the width at `place`, for every width, (W, C)."""
        if self._kept_terms is None:
            return self.stage_terms(1, int(self.widths[place]))
        terms: NDArray[np.int64] = self._kept_terms[place].reshape(len(self.widths), -1)
        return terms

    @cached_property
    def _kept_terms(self) -> NDArray[np.int64] | None:
        """Parameters of the choices of a later stage by the width before it, (W, digits); None if too many."""
        if len(self.widths) * self.digits(1) > MOST_KEPT:
            return None
        return np.array([self.stage_terms(1, width).ravel() for width in self.widths.tolist()])

    @cached_property
    def least_rest(self) -> NDArray[np.int64]:
        """Fewest parameters of the stages from i on and the head, after a stage of each width, (stages + 1, W)."""
        return self._rest(np.minimum, self._later_ends[0], UNREACHABLE)

    @cached_property
    def most_rest(self) -> NDArray[np.int64]:
        """Most parameters of the stages from i on and the head, after a stage of each width, (stages + 1, W)."""
        return self._rest(np.maximum, self._later_ends[1], -UNREACHABLE)

    @cached_property
    def _later_ends(self) -> NDArray[np.int64]:
        """Fewest and most parameters of a stage after the first, by the width before it and its own, (2, W, W)."""
        ends = np.empty((2, len(self.widths), len(self.widths)), dtype=np.int64)
        for before in range(len(self.widths)):
            terms = self.terms_after(before)
            ends[:, before] = terms.min(axis=1), terms.max(axis=1)
        return ends

    def _rest(self, pick: np.ufunc, of_stage: NDArray[np.int64], nothing: int) -> NDArray[np.int64]:
        rest = np.full((self.stages + 1, len(self.widths)), nothing, dtype=np.int64)
        rest[self.stages] = head_params(self.widths, self.space.classes)
        for stage in range(self.stages - 1, 0, -1):
            for before in range(len(self.widths)):
                after = list(self.follows(before))
                ends = of_stage[before, after] + rest[stage + 1, after]
                reached = ends[np.abs(rest[stage + 1, after]) < UNREACHABLE]
                rest[stage, before] = pick.reduce(reached) if len(reached) else nothing
        return rest

    @cached_property
    def cut(self) -> int:
        """The number of stages of the front, chosen so that the longer half has the fewest chains."""
        return min(range(1, self.stages), key=lambda cut: max(self.half_sizes(cut)))

    def half_sizes(self, cut: int) -> tuple[int, int]:
        """The numbers of fronts and of backs before the parameter window, for fronts of `cut` stages."""
        places = range(len(self.widths))
        per_width = [self.digits(stage) // len(self.widths) for stage in range(self.stages)]
        counts = [per_width[0] * len(self.space.stem_channels) for _ in places]
        for stage in range(1, cut):
            counts = self._stepped(counts, per_width[stage])
        front = sum(counts)
        back = [1 for _ in places]
        for stage in range(cut, self.stages):
            back = self._stepped(back, per_width[stage])
        return front, sum(back)

    def _stepped(self, counts: list[int], per_width: int) -> list[int]:
        after = [0] * len(counts)
        for before, count in enumerate(counts):
            for place in self.follows(before):
                after[place] += count * per_width
        return after

    @cached_property
    def total(self) -> int:
        """The number of layouts before the parameter window."""
        per_width = [self.digits(stage) // len(self.widths) for stage in range(self.stages)]
        counts = [per_width[0] * len(self.stems(int(width))) for width in self.widths]
        for stage in range(1, self.stages):
            counts = self._stepped(counts, per_width[stage])
        return sum(counts)

    @property
    def key_bits(self) -> int:
        """Bits of a key: those of the most parameters inside the budget and those of the longer code."""
        return self.bounded_max.bit_length() + self.code_bits

    @cached_property
    def code_bits(self) -> int:
        """Bits of the longer code of the two halves."""
        front = len(self.space.stem_channels) * math.prod(self.digits(stage) for stage in range(self.cut))
        back = math.prod(self.digits(stage) for stage in range(self.cut, self.stages))
        return (max(front, back) - 1).bit_length()

    @cached_property
    def bounded_max(self) -> int:
        """The budget, or the parameters of the largest layout if that is less."""
        largest = 0
        for place, width in enumerate(self.widths.tolist()):
            for stem in self.stems(width).values():  # all: a narrower stem may need a skip that the widest does not
                most = stem_params(self.space.in_channels, stem, self.form)
                most += self.stage_terms(0, stem)[place].max() + self.most_rest[1, place]
                largest = max(largest, int(most))
        return min(self.space.max_params, largest)

    def cells(self, codes: Keys, stages: range) -> NDArray[np.int32]:
        """Blocks, channels, stride and kernel of the stages that `codes` (N,) encode, (N, len(stages), 4)."""
        cells = np.empty((len(codes), len(stages), 4), dtype=np.int32)
        rest = codes
        for stage in reversed(stages):
            rest, digit = np.divmod(rest, self.digits(stage))
            cells[:, stage - stages.start] = self.rows[stage][digit]
        return cells

    def stem_places(self, codes: Keys) -> Keys:
        """Places among the space's stems that the codes (N,) of fronts encode, (N,)."""
        return codes // math.prod(self.digits(stage) for stage in range(self.cut))

    @cached_property
    def rows(self) -> list[NDArray[np.int32]]:
        """For every stage, the meaning of each value of its digit: blocks, channels, stride, kernel, (digits, 4)."""
        return [self._rows_of(stage) for stage in range(self.stages)]

    def _rows_of(self, stage: int) -> NDArray[np.int32]:
        blocks, strides, kernels = np.tile(self.choices(stage), len(self.widths))
        widths = np.repeat(self.widths.astype(np.int32), len(blocks) // len(self.widths))
        return np.stack([blocks, widths, strides, kernels], axis=1)


def chains(space: LayoutSpace) -> Iterator[Chain]:
    """The chains of a space that is not a list of layouts, without those that have no layout."""
    for stages, form in itertools.product(space.stages, space.forms):
        chain = Chain(space, stages, form)
        if chain.has_layouts:
            yield chain


def size_problems(space: LayoutSpace) -> list[str]:
    """Why the layouts of `space` cannot be counted by halves of their stages; empty if they can."""
    if space.layouts:
        return []
    longest = max((max(chain.half_sizes(chain.cut)) for chain in chains(space)), default=0)
    if longest > MAX_HALF:
        problem = f"blocks, channels, strides, kernels: {longest:,} combinations for half the stages exceed "
        return [f"{problem}{MAX_HALF:,}; give fewer choices or fewer stages"]
    if max((chain.key_bits for chain in chains(space)), default=0) > MAX_KEY_BITS:
        return [f"max_params: {space.max_params:,} is too large for this many choices; lower it, or give fewer choices"]
    return []


def require_countable(space: LayoutSpace) -> None:
    """Checks that the layouts of `space` can be counted by halves of their stages.

    Raises:
        ConfigError: they cannot; the message names the choices that are too many.
    """
    if problems := size_problems(space):
        raise ConfigError("; ".join(f"space.{problem}" for problem in problems))
