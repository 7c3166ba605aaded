"""The flat dimensions of a layout: one place for their names and bounds."""

from __future__ import annotations

from model_zoo.block_form import BlockForm
from search.layouts.space import LayoutSpace


def layout_bounds(space: LayoutSpace) -> dict[str, tuple[int, int]]:
    """The lowest and the highest value of each dimension of a layout; choices of one value have none.

    `blocks_i` of a stage that some layouts do not have counts from 0, which is its absence; of a stage that all have
    it is the number of blocks. The others are places in the space's sorted lists of choices.
    """
    lowest, highest = space.blocks
    bounds: dict[str, tuple[int, int]] = {}
    for i in range(1, max(space.stages) + 1):
        bounds[f"blocks_{i}"] = (lowest, highest) if i <= min(space.stages) else (0, highest - lowest + 1)
        bounds[f"width_{i}"] = (0, len(space.channels) - 1)
        bounds[f"stride_{i}"] = (0, len(space.first_strides if i == 1 else space.strides) - 1)
        bounds[f"kernel_{i}"] = (0, len(space.kernels) - 1)
    bounds["stem"] = (0, len(space.stem_channels) - 1)
    bounds["skip"] = (0, len(space.skip_kernels) - 1)
    bounds["bias"] = (0, len(space.conv_biases) - 1)
    bounds["block"] = (0, len(space.block_types) - 1)
    bounds["groups"] = (0, len(space.groups) - 1)
    bounds["squeeze"] = (0, len(space.squeeze_ratios) - 1)
    bounds["activation"] = (0, len(space.activations) - 1)
    return {name: (low, high) for name, (low, high) in bounds.items() if low < high}


def layout_spans(space: LayoutSpace) -> dict[str, int]:
    """How far the values of each dimension of a layout lie apart at most."""
    return {name: high - low for name, (low, high) in layout_bounds(space).items()}


def form_values(space: LayoutSpace, form: BlockForm) -> dict[str, int]:
    """The values of the dimensions that say what the blocks of a layout have in common."""
    return {
        "block": space.block_types.index(form.block),
        "groups": space.groups.index(form.groups),
        "squeeze": space.squeeze_ratios.index(form.squeeze),
        "activation": space.activations.index(form.activation),
    }
