"""The convolutions of the stem: one of 3x3, or several, of which all but the last have half of its channels."""

from __future__ import annotations

import itertools

from model_zoo.blocks.form import Form
from model_zoo.blocks.kind import Convolution, Ints

KERNEL = 3
"""Side of the kernels."""


def stem_convolutions(in_channels: Ints, width: Ints, form: Form) -> tuple[Convolution, ...]:
    """The convolutions in order, a norm and an activation after each; the first has the stem's stride."""
    ends = [in_channels, *[width // 2] * (form.stem_depth - 1), width]
    return tuple(Convolution(c_in, c_out, KERNEL) for c_in, c_out in itertools.pairwise(ends))


def stem_problem(width: int, form: Form) -> str | None:
    """A stem of several convolutions must have at least 2 channels."""
    if form.stem_depth > 1 and width < 2:
        return f"stem_channels: {width} given; a stem of {form.stem_depth} convolutions needs at least 2"
    return None
