"""The kinds of blocks, one file each, and the table of them."""

from __future__ import annotations

from typing import Final

from model_zoo.blocks import basic, blueprint, bottleneck, inverted, preactivation, separable
from model_zoo.blocks.form import ACTIVATIONS, DEFAULT_KIND, IN_PLACE, PLAIN, Form
from model_zoo.blocks.kind import FEWEST_STRIDED, Convolution, Ints, Kind

__all__ = [
    "ACTIVATIONS",
    "DEFAULT_KIND",
    "FEWEST_STRIDED",
    "IN_PLACE",
    "KINDS",
    "PLAIN",
    "Convolution",
    "Form",
    "Ints",
    "Kind",
    "canonical",
]

KINDS: Final[dict[str, Kind]] = {
    "basic": basic.KIND,
    "preactivation": preactivation.KIND,
    "bottleneck": bottleneck.KIND,
    "separable": separable.KIND,
    "blueprint": blueprint.KIND,
    "inverted": inverted.KIND,
}
"""The kinds by name. Spaces list them in this order; append new ones, so that the numbers of layouts stay."""


def canonical(form: Form) -> Form:
    """The form with the kind's own expansion in place of 0, and without what its blocks do not read."""
    kind = KINDS[form.block]
    plain = {name: getattr(PLAIN, name) for name in kind.unread}
    return form._replace(**{"expansion": form.expansion or kind.expansion, **plain})
