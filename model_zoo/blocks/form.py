"""What is decided once for a whole network: its stem, the kind of its blocks, and their skips."""

from __future__ import annotations

from typing import Final, NamedTuple

DEFAULT_KIND: Final = "basic"
"""The kind of blocks where none is chosen."""

ACTIVATIONS: Final = ("relu", "silu", "gelu", "leaky-relu")
"""Activations behind norms, in a squeeze and after a block's addition. Spaces list them in this order."""

IN_PLACE: Final = ("relu", "leaky-relu")
"""Activations whose result takes the place of their input, since their backward reads the result."""


class Form(NamedTuple):
    """What is decided once for a whole network, with the names and the meaning of the fields of a layout.

    Layouts are numbered in the order of these fields; append new ones, so that the numbers of layouts stay.
    """

    skip_kernel: int = 1
    conv_bias: bool = False
    block: str = DEFAULT_KIND
    """The name of a kind in `model_zoo.blocks.KINDS`."""
    groups: int = 1
    squeeze: int = 0
    activation: str = "relu"
    expansion: int = 0
    skip_pool: bool = False
    stem_depth: int = 1
    stem_stride: int = 1

    @property
    def counted(self) -> Form:
        """The form without what has no parameters: forms that agree in it have layouts of the same counts."""
        return self._replace(activation=PLAIN.activation, skip_pool=False, stem_stride=1)


PLAIN: Final = Form()
"""The form of a layout that names none: basic blocks with ReLU behind a single convolution."""
