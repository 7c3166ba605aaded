"""Which widths the blocks of a network allow, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Sequence

from model_zoo.blocks import KINDS, Form
from model_zoo.blocks.stem import stem_problem


def allows(form: Form, width: int) -> bool:
    """Whether a stage may have `width` output channels."""
    return form.squeeze <= width and KINDS[form.block].width_problem(width, form) is None


def allows_stem(form: Form, width: int) -> bool:
    """Whether the stem may have `width` output channels."""
    return stem_problem(width, form) is None and KINDS[form.block].stem_problem(width, form) is None


def width_problems(form: Form, stem: int, widths: Sequence[int]) -> list[str]:
    """What keeps a network with these output channels of stem and stages from being built, with its remedy."""
    kind = KINDS[form.block]
    found = [stem_problem(stem, form)]
    for width in sorted(set(widths)):
        found.append(kind.width_problem(width, form))
        if form.squeeze > width:
            found.append(f"squeeze: {form.squeeze} exceeds the {width} channels of a stage; use at most {width}")
    if stem not in widths:
        found.append(kind.stem_problem(stem, form))
    return [problem for problem in found if problem is not None]
