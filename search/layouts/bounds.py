"""The ends of a figure over the layouts inside the parameter window, exactly and without a walk over them.

A layout's depth and FLOPs are a term of its front plus one of its back; its activation memory is the larger of a peak
in the front and a sum of both. What completes a front inside the window is one range of the backs, so the least and the
most of the back's terms over that range give the ends for all layouts with that front.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from model_zoo.complexity import head_flops, stem_flops
from model_zoo.memory import BYTES_PER_VALUE, head_peak, stem_saved, through_stages
from search.layouts.batch import Column, LayoutBatch
from search.layouts.filters import Filter
from search.layouts.index import ChainIndex, JoinedHalves, LayoutIndex

Size = tuple[int, int]


def walk_inside(index: LayoutIndex, windows: Sequence[Filter], image_size: Size) -> Iterator[LayoutBatch]:
    """The layouts of a walk, in its order, without those whose front no back brings into one of the `windows`."""
    if not windows or not isinstance(index, ChainIndex):
        yield from index.walk()
        return
    for halves in index.joined_halves:
        inside = np.ones(len(halves.front), dtype=np.bool_)
        for window in windows:
            least, most = _front_ends(halves, window.name, image_size)
            inside &= most >= window.least
            if window.most is not None:
                inside &= least <= window.most
        if inside.any():
            counts = np.diff(halves.ends, prepend=0)[inside]
            yield from dataclasses.replace(
                halves, front=halves.front[inside], first=halves.first[inside], ends=np.cumsum(counts)
            ).walk()


def figure_ends(index: LayoutIndex, window: Filter, image_size: Size) -> tuple[int, int]:
    """The least and the most of the window's figure over all layouts of `index`, which must have one."""
    if isinstance(index, ChainIndex):
        ends = [_front_ends(halves, window.name, image_size) for halves in index.joined_halves]
    else:
        ends = [(window.figure(batch), window.figure(batch)) for batch in index.walk()]
    return min(int(least.min()) for least, _ in ends), max(int(most.max()) for _, most in ends)


def _front_ends(halves: JoinedHalves, figure: str, image_size: Size) -> tuple[Column, Column]:
    """For each front, the least and the most of a figure over its layouts inside the parameter window, (F,) each."""
    of_front, of_back = _HALVES[figure]
    shrunk = halves.chain.form.stem_stride - 1
    fronts = [(*of_front(it, image_size), shrunk + (it.strides - 1).sum(axis=1)) for it in halves.front_batches()]
    own, carried, levels = (np.concatenate(column) for column in zip(*fronts, strict=True))
    counts = np.diff(halves.ends, prepend=0)
    least, most = np.empty_like(own), np.empty_like(own)
    for level in np.unique(levels).tolist():
        mine = levels == level
        size = (-(-image_size[0] // 2**level), -(-image_size[1] // 2**level))
        rest = np.concatenate([of_back(batch, size) for batch in halves.back_batches()])
        least[mine] = least_in_ranges(rest, halves.first[mine], counts[mine])
        most[mine] = -least_in_ranges(-rest, halves.first[mine], counts[mine])
    return np.maximum(own, carried + least), np.maximum(own, carried + most)


def least_in_ranges(values: Column, first: Column, counts: Column) -> Column:
    """The least of `values` (N,) in each of the ranges (R,) that start at `first` and have `counts` values, (R,)."""
    found = np.empty(len(first), dtype=values.dtype)
    levels = np.frexp(counts)[1] - 1  # two overlapping spans of 2**level values cover a range
    spans = values
    for level in range(int(levels.max()) + 1):
        mine = levels == level
        start, end = first[mine], first[mine] + counts[mine] - 2**level
        found[mine] = np.minimum(spans[start], spans[end])
        spans = np.minimum(spans[: -(2**level)], spans[2**level :])
    return found


def _front_depth(front: LayoutBatch, image_size: Size) -> tuple[Column, Column]:
    return np.zeros(len(front), dtype=np.int64), front.depth


def _back_depth(back: LayoutBatch, image_size: Size) -> Column:
    return back.depth - 2  # a stem and the linear layer are in the front's


def _front_flops(front: LayoutBatch, image_size: Size) -> tuple[Column, Column]:
    met = front.channels[:, -1].astype(np.int64)
    return np.zeros(len(front), dtype=np.int64), front.flops(image_size) - head_flops(met, front.classes)


def _back_flops(back: LayoutBatch, image_size: Size) -> Column:
    flops: Column = back.flops(image_size)
    flops -= stem_flops(back.in_channels, back.stem_channels, image_size[0] * image_size[1])
    return flops


def _front_memory(front: LayoutBatch, image_size: Size) -> tuple[Column, Column]:
    image, of_stem, *_ = front.areas(image_size, front.forms[0])
    stem = stem_saved(front.in_channels, front.stem_channels, image, of_stem, front.forms[0])
    saved, peak, _ = _through(front, stem, image_size, to_end=False)
    return BYTES_PER_VALUE * (peak + front.classes + 2), BYTES_PER_VALUE * saved


def _back_memory(back: LayoutBatch, image_size: Size) -> Column:
    saved, peak, c_in = _through(back, np.zeros(len(back), dtype=np.int64), image_size, to_end=True)
    rest: Column = BYTES_PER_VALUE * np.maximum(peak + back.classes + 2, saved + head_peak(c_in, back.classes))
    return rest


def _through(half: LayoutBatch, saved: Column, image_size: Size, *, to_end: bool) -> tuple[Column, Column, Column]:
    widths, blocks, strides = (list(it.T.astype(np.int64)) for it in (half.channels, half.blocks, half.strides))
    _, *areas = half.areas(image_size, half.forms[0])
    found: tuple[Column, Column, Column] = through_stages(
        saved, half.stem_channels, widths, blocks, strides, areas, half.forms[0], to_end=to_end
    )
    return found


_Front = Callable[[LayoutBatch, Size], tuple[Column, Column]]
_Back = Callable[[LayoutBatch, Size], Column]
_HALVES: dict[str, tuple[_Front, _Back]] = {
    "depth": (_front_depth, _back_depth),
    "flops": (_front_flops, _back_flops),
    "activation_bytes": (_front_memory, _back_memory),
}
"""For each figure of a `Filter`: of fronts, the figure reached in them and what they add to that of the rest; of backs
after an input of a given size, theirs."""
