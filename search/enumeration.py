"""Every feasible layout of a space, counted and walked without building a network.

The parameter count is linear in the blocks: a skeleton (all fields but the blocks) has a constant and one slope a
stage. So the sums of its first stages and those of its last stages, sorted, tell how many choices of blocks lie in
the parameter window without a look at each: 4,096 and 4,096 sums instead of 16,777,216 for six stages of 1 to 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout, count_params
from search.errors import EmptySpaceError

if TYPE_CHECKING:
    from search.space import SearchSpace

MAX_GRID = 2**18
"""Most choices of blocks looked at in one go (2 MiB of int64), unless half the stages alone have more."""


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


class Halves(NamedTuple):
    """The blocks of one skeleton, by halves of its stages.

    Every choice for the first half, then every choice for the second, both row-major, is the grid of all choices.
    """

    front: NDArray[np.int64]
    """The constant and the first stages' parameters, (F,)."""
    back: NDArray[np.int64]
    """The last stages' parameters, (B,)."""
    counts: NDArray[np.int64]
    """For each of `front`, how many of `back` bring it into the parameter window, (F,)."""


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
    one = count_params(space.layout(skeleton, (1,) * stages))
    twos = (tuple(1 + (j == i) for j in range(stages)) for i in range(stages))
    slopes = tuple(count_params(space.layout(skeleton, blocks)) - one for blocks in twos)
    return ParamTerms(one - sum(slopes), slopes)


def params_range(space: SearchSpace, terms: ParamTerms) -> tuple[int, int]:
    """The fewest and the most parameters any blocks of the space give."""
    lowest, highest = (terms.constant + sum(terms.slopes) * b for b in space.blocks)
    return lowest, highest


def halved(space: SearchSpace, terms: ParamTerms) -> Halves:
    """The blocks of a skeleton by halves of its stages, and how they combine inside the parameter window."""
    middle = len(terms.slopes) // 2
    front = _sums(space, terms.constant, terms.slopes[:middle])
    back = _sums(space, 0, terms.slopes[middle:])
    ordered = np.sort(back)
    counts = np.searchsorted(ordered, space.max_params - front, "right")
    counts -= np.searchsorted(ordered, space.min_params - front, "left")
    return Halves(front, back, counts)


def feasible_skeletons(space: SearchSpace) -> Iterator[tuple[Skeleton, ParamTerms, Halves]]:
    """The skeletons with a layout inside the parameter window, the predicate not asked, in a stable order."""
    for skeleton in space.skeletons():
        terms = param_terms(space, skeleton)
        fewest, most = params_range(space, terms)
        if fewest <= space.max_params and most >= space.min_params:
            halves = halved(space, terms)
            if halves.counts.any():
                yield skeleton, terms, halves


def feasible_chunks(space: SearchSpace) -> Iterator[Chunk]:
    """The layouts within the parameter window, the predicate not yet asked, in the order of `enumerate_layouts`."""
    for skeleton, _, halves in feasible_skeletons(space):
        fronts = np.flatnonzero(halves.counts)
        at_once = max(1, MAX_GRID // len(halves.back))
        for start in range(0, len(fronts), at_once):
            held = fronts[start : start + at_once]
            params = halves.front[held, None] + halves.back
            rows, cells = np.nonzero((params >= space.min_params) & (params <= space.max_params))
            blocks = blocks_at(space, len(skeleton.channels), held[rows] * len(halves.back) + cells)
            yield Chunk(skeleton, blocks, params[rows, cells])


def blocks_at(space: SearchSpace, stages: int, cells: NDArray[np.intp]) -> NDArray[np.int64]:
    """Blocks per stage, (M, stages), of places (M,) in the row-major grid of all choices of blocks."""
    lowest, highest = space.blocks
    axes = np.unravel_index(cells, (highest - lowest + 1,) * stages)
    return np.stack(axes, axis=-1).astype(np.int64) + lowest


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
    return sum(int(halves.counts.sum()) for _, _, halves in feasible_skeletons(space))


def require_feasible(space: SearchSpace) -> None:
    """Nothing, when the space has a feasible layout.

    Raises:
        EmptySpaceError: it has none; the message names the bound that empties it and the nearest parameter counts.
    """
    if next(enumerate_layouts(space), None) is not None:
        return
    below, above, in_window = 0, 0, 0
    for skeleton in space.skeletons():
        halves = halved(space, param_terms(space, skeleton))
        in_window += int(halves.counts.sum())
        under, over = _nearest_outside(space, halves)
        below = max(below, under)
        above = min(above or over, over or above)
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


def _nearest_outside(space: SearchSpace, halves: Halves) -> tuple[int, int]:
    """The most parameters under the window and the fewest over it; 0 where there are none."""
    ordered = np.sort(halves.back)
    last = np.searchsorted(ordered, space.min_params - halves.front, "left") - 1
    first = np.searchsorted(ordered, space.max_params - halves.front, "right")
    under = (halves.front + ordered[last])[last >= 0]
    over = (halves.front + ordered[first % len(ordered)])[first < len(ordered)]
    return int(under.max(initial=0)), int(over.min()) if over.size else 0


def _sums(space: SearchSpace, constant: int, slopes: tuple[int, ...]) -> NDArray[np.int64]:
    """`constant` and the parameters of all choices of blocks for the stages of `slopes`, row-major, (per_stage**n,)."""
    blocks = np.arange(space.blocks[0], space.blocks[1] + 1, dtype=np.int64)
    sums = np.array([constant], dtype=np.int64)
    for slope in slopes:
        sums = (sums[:, None] + slope * blocks).ravel()
    return sums
