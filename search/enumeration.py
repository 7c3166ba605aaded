"""Every feasible layout of a space, counted and walked without building a network.

The parameter count is linear in the blocks: a skeleton (all fields but the blocks) has a constant and one slope a
stage. So a skeleton's whole grid of blocks is one broadcast sum, and two sums tell that a skeleton has none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout, count_params
from search.errors import EmptySpaceError

if TYPE_CHECKING:
    from search.space import SearchSpace

MAX_GRID = 2**18
"""Most cells of a grid held at once (2 MiB of int64): memory stays constant for six stages of any depth."""


class Skeleton(NamedTuple):
    """All fields of a layout but its blocks, in the order of `ResNetLayout`."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]
    stem_channels: int
    skip_kernel: int
    conv_bias: bool


class ParamTerms(NamedTuple):
    """The parameters of a skeleton as a function of its blocks: `constant + sum(slopes * blocks)`."""

    constant: int
    slopes: tuple[int, ...]


class Chunk(NamedTuple):
    """Feasible layouts of one skeleton."""

    skeleton: Skeleton
    blocks: NDArray[np.int64]
    """Blocks per stage, (M, stages)."""
    params: NDArray[np.int64]
    """Parameters, (M,)."""


def param_terms(space: SearchSpace, skeleton: Skeleton) -> ParamTerms:
    """The constant and the slopes of the parameter count of `skeleton`."""
    stages = len(skeleton.channels)
    ones = (1,) * stages
    one = count_params(space.layout(skeleton, ones))
    slopes = tuple(count_params(space.layout(skeleton, ones[:i] + (2,) + ones[i + 1 :])) - one for i in range(stages))
    return ParamTerms(one - sum(slopes), slopes)


def params_range(space: SearchSpace, terms: ParamTerms) -> tuple[int, int]:
    """The fewest and the most parameters any blocks of the space give."""
    lowest, highest = (terms.constant + sum(terms.slopes) * b for b in space.blocks)
    return lowest, highest


def params_grid(space: SearchSpace, terms: ParamTerms, leading: tuple[int, ...] = ()) -> NDArray[np.int64]:
    """Parameters for every choice of blocks after the `leading` stages: one axis a stage, in increasing blocks."""
    blocks = np.arange(space.blocks[0], space.blocks[1] + 1, dtype=np.int64)
    fixed = zip(terms.slopes, leading, strict=False)
    grid = np.array(terms.constant + sum(slope * b for slope, b in fixed), dtype=np.int64)
    for slope in terms.slopes[len(leading) :]:
        grid = grid[..., None] + slope * blocks
    return grid


def feasible_chunks(space: SearchSpace) -> Iterator[Chunk]:
    """The layouts within the parameter window, the predicate not yet asked, in the order of `enumerate_layouts`."""
    lowest, highest = space.blocks
    per_stage = highest - lowest + 1
    for skeleton in space.skeletons():
        terms = param_terms(space, skeleton)
        fewest, most = params_range(space, terms)
        if fewest > space.max_params or most < space.min_params:
            continue
        stages = len(terms.slopes)
        held = stages
        while per_stage**held > MAX_GRID and held > 1:
            held -= 1
        for leading in itertools.product(range(lowest, highest + 1), repeat=stages - held):
            grid = params_grid(space, terms, leading)
            inside = (grid >= space.min_params) & (grid <= space.max_params)
            chosen = np.argwhere(inside) + lowest
            if len(chosen):
                front = np.broadcast_to(np.array(leading, dtype=np.int64), (len(chosen), len(leading)))
                yield Chunk(skeleton, np.concatenate([front, chosen], axis=1), grid[inside])


def enumerate_layouts(space: SearchSpace) -> Iterator[ResNetLayout]:
    """Each feasible layout once, in a stable order, in constant memory, without building a network."""
    for chunk in feasible_chunks(space):
        for blocks in chunk.blocks.tolist():
            layout = space.layout(chunk.skeleton, tuple(blocks))
            if space.accepts(layout):
                yield layout


def count_total(space: SearchSpace) -> int:
    """The number of layouts before the parameter window and the predicate."""
    per_stage = space.blocks[1] - space.blocks[0] + 1
    return sum(per_stage ** len(skeleton.channels) for skeleton in space.skeletons())


def count_feasible(space: SearchSpace) -> int:
    """The number of feasible layouts."""
    if space.predicate is not None:
        return sum(1 for _ in enumerate_layouts(space))
    return sum(len(chunk.params) for chunk in feasible_chunks(space))


def require_feasible(space: SearchSpace) -> None:
    """Nothing, when the space has a feasible layout.

    Raises:
        EmptySpaceError: it has none; the message names the bound that empties it and the nearest parameter counts.
    """
    if next(enumerate_layouts(space), None) is not None:
        return
    below, above = 0, 0
    in_window = 0
    for skeleton in space.skeletons():
        terms = param_terms(space, skeleton)
        grid = params_grid(space, terms)
        in_window += int(((grid >= space.min_params) & (grid <= space.max_params)).sum())
        under, over = grid[grid < space.min_params], grid[grid > space.max_params]
        below = max(below, int(under.max())) if under.size else below
        above = min(above or int(over.min()), int(over.min())) if over.size else above
    if in_window:
        raise EmptySpaceError(
            f"predicate: it refuses all {in_window:,} layouts inside the parameter window; loosen the predicate"
        )
    if not below:
        raise EmptySpaceError(
            f"max_params: the smallest layout has {above:,} parameters, over the budget of {space.max_params:,}; "
            "raise max_params, or allow fewer blocks or narrower channels"
        )
    if not above:
        raise EmptySpaceError(
            f"min_params: the largest layout has {below:,} parameters, under the floor of {space.min_params:,}; "
            "lower min_params, or allow more blocks or wider channels"
        )
    raise EmptySpaceError(
        f"min_params, max_params: no layout lies in {space.min_params:,} to {space.max_params:,}; the nearest have "
        f"{below:,} and {above:,} parameters; widen the window"
    )
