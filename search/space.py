"""The space of layouts as data; `python -m search.space` shows it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ImportString, field_validator, model_validator

from model_zoo import ResNetLayout, count_params
from search.enumeration import Skeleton, count_feasible, enumerate_layouts

__all__ = ["SearchSpace", "count_feasible", "enumerate_layouts"]

MAX_HALF = 2**20
"""Most choices of blocks for half the stages (8 MiB of int64): 101 per stage of six, 1,024 per stage of four."""

MAX_SKELETONS = 2**18
"""Most choices of all fields but the blocks: about a minute and 400 MB to index, at 240 µs each on one core."""

Count = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=2**16)]  # so that no sum of parameters leaves 64 bits


class SearchSpace(BaseModel):
    """Which layouts are searched: choices per field of `ResNetLayout`, a parameter window and a predicate.

    Raises:
        pydantic.ValidationError: a choice is outside what `ResNetLayout` accepts; it lists all problems.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    stages: tuple[Annotated[int, Field(ge=2, le=6)], ...] = (3, 4)
    """Numbers of stages, 2 to 6."""
    blocks: tuple[Count, Count] = (1, 16)
    """Fewest and most blocks of a stage, inclusive."""
    channels: tuple[Width, ...] = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
    """Widths a stage may have."""
    channel_order: Literal["free", "nondecreasing", "increasing"] = "nondecreasing"
    """How widths follow each other from stage to stage."""
    strides: tuple[Annotated[int, Field(ge=1, le=2)], ...] = (2,)
    """Strides a stage after the first may have."""
    first_strides: tuple[Annotated[int, Field(ge=1, le=2)], ...] = (1,)
    """Strides the first stage may have."""
    kernels: tuple[Literal[3, 5], ...] = (3,)
    """Kernel sides a stage may have."""
    stem_channels: tuple[Annotated[int, Field(ge=0, le=2**16)], ...] = (0,)
    """Widths the stem may have; 0 stands for the width of the first stage."""
    skip_kernels: tuple[Literal[1, 3], ...] = (1,)
    """Kernel sides of skip convolutions."""
    conv_biases: tuple[bool, ...] = (False,)
    """Whether convolutions have a bias."""
    in_channels: Width = 3
    """Channels of the images; the data set's."""
    classes: Annotated[int, Field(ge=2, le=2**20)] = 10
    """Classes of the images; the data set's."""
    min_params: Annotated[int, Field(ge=0, le=2**62)] = 4_000_000
    """Fewest trainable parameters, inclusive."""
    max_params: Annotated[int, Field(ge=1, le=2**62)] = 5_000_000
    """Most trainable parameters, inclusive: the budget."""
    predicate: ImportString[Callable[[ResNetLayout], bool]] | None = None
    """Further condition on a layout: a callable, or its import path `package.module.function` in a file."""

    @field_validator(
        "stages", "channels", "strides", "first_strides", "kernels", "stem_channels", "skip_kernels", "conv_biases"
    )
    @classmethod
    def _choices(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise ValueError("no choice given; give at least one")
        return tuple(sorted(set(values)))

    @model_validator(mode="after")
    def _windows(self) -> SearchSpace:
        problems = []
        if self.blocks[0] > self.blocks[1]:
            problems.append(f"blocks: {self.blocks[0]} to {self.blocks[1]} is empty; give [fewest, most]")
        if self.min_params > self.max_params:
            problems.append(
                f"min_params {self.min_params:,} exceeds max_params {self.max_params:,}; "
                "lower min_params or raise max_params"
            )
        if self.channel_order == "increasing" and max(self.stages) > len(self.channels):
            problems.append(
                f"channels: {len(self.channels)} widths cannot increase over {max(self.stages)} stages; add widths"
            )
        half = (max(self.stages) + 1) // 2
        if (self.blocks[1] - self.blocks[0] + 1) ** half > MAX_HALF:
            problems.append(
                f"blocks: {self.blocks[0]:,} to {self.blocks[1]:,} is too long a range for {max(self.stages)} stages; "
                f"at most {int(MAX_HALF ** (1 / half) + 1e-9):,} choices fit, so give a shorter one"
            )
        skeletons = self._most_skeletons()
        if skeletons > MAX_SKELETONS:
            problems.append(
                f"channels, strides, kernels and the like: {skeletons:,} combinations exceed {MAX_SKELETONS:,}; "
                "give fewer choices or fewer stages"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _most_skeletons(self) -> int:
        """The number of skeletons, a stem that is listed twice counted twice."""
        widths = len(self.channels)
        total = 0
        for stages in self.stages:
            orders = {
                "free": widths**stages,
                "nondecreasing": math.comb(widths + stages - 1, stages),
                "increasing": math.comb(widths, stages),
            }
            total += orders[self.channel_order] * len(self.strides) ** (stages - 1) * len(self.kernels) ** stages
        return (
            total * len(self.first_strides) * len(self.stem_channels) * len(self.skip_kernels) * len(self.conv_biases)
        )

    def skeletons(self) -> Iterator[Skeleton]:
        """Every choice of all fields but the blocks, in a stable order."""
        for stages in self.stages:
            for channels in self._widths(stages):
                stems = sorted({stem or channels[0] for stem in self.stem_channels})
                yield from map(
                    Skeleton._make,
                    itertools.product(
                        [channels],
                        itertools.product(self.first_strides, *[self.strides] * (stages - 1)),
                        itertools.product(self.kernels, repeat=stages),
                        stems,
                        self.skip_kernels,
                        self.conv_biases,
                    ),
                )

    def layout(self, skeleton: Skeleton, blocks: tuple[int, ...]) -> ResNetLayout:
        """The layout of `skeleton` with `blocks` per stage."""
        return ResNetLayout(blocks, *skeleton, in_channels=self.in_channels, classes=self.classes)

    def contains(self, layout: ResNetLayout) -> bool:
        """Whether `layout` is one of the feasible layouts."""
        lowest, highest = self.blocks
        if not all(lowest <= b <= highest for b in layout.blocks) or layout.stages not in self.stages:
            return False
        if (layout.in_channels, layout.classes) != (self.in_channels, self.classes):
            return False
        stems = {stem or layout.channels[0] for stem in self.stem_channels}
        chosen = (
            set(layout.channels) <= set(self.channels)
            and self._in_order(layout.channels)
            and layout.strides[0] in self.first_strides
            and set(layout.strides[1:]) <= set(self.strides)
            and set(layout.kernels) <= set(self.kernels)
            and layout.stem_channels in stems
            and layout.skip_kernel in self.skip_kernels
            and layout.conv_bias in self.conv_biases
        )
        return chosen and self.min_params <= count_params(layout) <= self.max_params and self.accepts(layout)

    def accepts(self, layout: ResNetLayout) -> bool:
        """Whether the predicate accepts `layout`; True without a predicate."""
        return self.predicate is None or bool(self.predicate(layout))

    def _widths(self, stages: int) -> Iterator[tuple[int, ...]]:
        if self.channel_order == "free":
            return itertools.product(self.channels, repeat=stages)
        if self.channel_order == "increasing":
            return itertools.combinations(self.channels, stages)
        return itertools.combinations_with_replacement(self.channels, stages)

    def _in_order(self, channels: tuple[int, ...]) -> bool:
        pairs = list(itertools.pairwise(channels))
        if self.channel_order == "free":
            return True
        if self.channel_order == "increasing":
            return all(a < b for a, b in pairs)
        return all(a <= b for a, b in pairs)


if __name__ == "__main__":
    import sys

    from search.space_command import main

    sys.exit(main())
