"""The flat, numeric dimensions of a layout: their names and bounds, and layouts encoded as values along them.

Every layout has a value for every dimension, however many stages it has: a missing stage has zero blocks, so that
multivariate samplers see one space. Choices are indices into their sorted lists, never one giant categorical.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout
from model_zoo.blocks import KINDS, Form, canonical
from search.layouts.batch import LayoutBatch
from search.layouts.lists import FORM_KEYS
from search.layouts.space import LayoutSpace

DIMENSIONS: Final[dict[str, str]] = {"skip_kernel": "skip", "conv_bias": "bias"}
"""The dimensions of fields of a form that are not named as the field."""


def layout_bounds(space: LayoutSpace) -> dict[str, tuple[int, int]]:
    """The lowest and the highest value of each dimension of a layout; a choice with a single value has no dimension.

    `blocks_i` is the number of blocks of a stage that all layouts have; for other stages it counts from 0, which means
    that the stage is missing. All other values are places in the sorted lists of choices of the space.
    """
    lowest, highest = space.blocks
    bounds: dict[str, tuple[int, int]] = {}
    for i in range(1, max(space.stages) + 1):
        bounds[f"blocks_{i}"] = (lowest, highest) if i <= min(space.stages) else (0, highest - lowest + 1)
        bounds[f"width_{i}"] = (0, len(space.channels) - 1)
        bounds[f"stride_{i}"] = (0, len(space.first_strides if i == 1 else space.strides) - 1)
        bounds[f"kernel_{i}"] = (0, len(space.kernels) - 1)
    bounds["stem"] = (0, len(space.stem_channels) - 1)
    for name, key in FORM_KEYS.items():
        bounds[DIMENSIONS.get(name, name)] = (0, len(getattr(space, key)) - 1)
    return {name: (low, high) for name, (low, high) in bounds.items() if low < high}


def layout_spans(space: LayoutSpace) -> dict[str, int]:
    """The largest difference between two values of each dimension of a layout."""
    return {name: high - low for name, (low, high) in layout_bounds(space).items()}


def form_values(space: LayoutSpace, form: Form) -> dict[str, int]:
    """The values of the dimensions that describe the form of a layout, without what its blocks do not read."""
    unread = KINDS[form.block].unread
    return {
        DIMENSIONS.get(name, name): space.offered(key, form.block).index(getattr(form, name))
        for name, key in FORM_KEYS.items()
        if name not in unread
    }


def encode_layout(space: LayoutSpace, layout: ResNetLayout) -> dict[str, int]:
    """The values of a layout that the space offers; `decode_layout` inverts it.

    A missing stage gets the last width and the first stride and kernel, which have no effect, as the first choice of
    what its kind of block does not read has none.
    """
    optional = min(space.stages)
    values: dict[str, int] = {}
    for i in range(1, max(space.stages) + 1):
        there = i <= layout.stages
        place = min(i, layout.stages) - 1
        strides = space.first_strides if i == 1 else space.strides
        blocks = layout.blocks[place] - (space.blocks[0] - 1 if i > optional else 0)
        values[f"blocks_{i}"] = blocks if there else 0
        values[f"width_{i}"] = space.channels.index(layout.channels[place])
        values[f"stride_{i}"] = strides.index(layout.strides[place]) if there else 0
        values[f"kernel_{i}"] = space.kernels.index(layout.kernels[place]) if there else 0
    # A stem as wide as the first stage may be in the list twice, as 0 and by its width: the first place counts.
    stems = [stem or layout.channels[0] for stem in space.stem_channels]
    values["stem"] = stems.index(layout.stem_channels)
    values |= form_values(space, layout.form)
    return {name: values.get(name, 0) for name in layout_bounds(space)}


def encode_batch(space: LayoutSpace, batch: LayoutBatch) -> dict[str, NDArray[np.float64]]:
    """For each dimension, the values of a batch of layouts that the space offers, (N,), as `encode_layout` gives them.

    The width, stride and kernel of a missing stage are NaN, and so is what a kind of block does not read.
    """
    optional, stages = min(space.stages), batch.cells.shape[1]
    values: dict[str, NDArray[np.float64]] = {}
    for i in range(1, max(space.stages) + 1):
        cell = batch.cells[:, i - 1] if i <= stages else np.zeros((len(batch), 4), dtype=np.int32)
        blocks, width, stride, kernel = cell.T.astype(np.int64)
        there = blocks > 0
        strides = space.first_strides if i == 1 else space.strides
        values[f"blocks_{i}"] = np.where(there, blocks - (space.blocks[0] - 1 if i > optional else 0), 0.0)
        for name, chosen, choices in (
            ("width", width, space.channels), ("stride", stride, strides), ("kernel", kernel, space.kernels)
        ):  # fmt: skip
            values[f"{name}_{i}"] = np.where(there, np.searchsorted(choices, chosen), np.nan)
    stems = np.broadcast_to(np.array(space.stem_channels), (len(batch), len(space.stem_channels)))
    stems = np.where(stems > 0, stems, batch.channels[:, :1])
    values["stem"] = (stems == batch.stem_channels[:, None]).argmax(axis=1).astype(np.float64)
    of_forms = [form_values(space, form) for form in batch.forms]
    for name in (DIMENSIONS.get(name, name) for name in FORM_KEYS):
        values[name] = np.array([of_form.get(name, np.nan) for of_form in of_forms], dtype=np.float64)[batch.form]
    return {name: values[name] for name in layout_bounds(space)}


def decode_layout(space: LayoutSpace, values: Mapping[str, int | float]) -> ResNetLayout:
    """The layout with these values.

    Raises:
        LayoutError: its blocks do not fit its widths.
    """
    lowest, optional = space.blocks[0], min(space.stages)
    present = [int(values.get(f"blocks_{i}", lowest if i <= optional else 0)) for i in range(1, max(space.stages) + 1)]
    stages = next((i for i, blocks in enumerate(present) if blocks == 0), len(present))
    numbers = range(1, stages + 1)

    def chosen(name: str) -> int:
        return int(values.get(name, 0))

    channels = tuple(space.channels[chosen(f"width_{i}")] for i in numbers)
    form = canonical(Form(*(getattr(space, key)[chosen(DIMENSIONS.get(n, n))] for n, key in FORM_KEYS.items())))
    return ResNetLayout(
        tuple(blocks + (lowest - 1 if i > optional else 0) for i, blocks in zip(numbers, present, strict=False)),
        channels,
        tuple((space.first_strides if i == 1 else space.strides)[chosen(f"stride_{i}")] for i in numbers),
        tuple(space.kernels[chosen(f"kernel_{i}")] for i in numbers),
        space.stem_channels[chosen("stem")] or channels[0],
        in_channels=space.in_channels,
        classes=space.classes,
        **form._asdict(),
    )
