"""The two halves of a chain as sorted keys, and which pairs of them are inside the parameter window."""

from __future__ import annotations

import numpy as np

from model_zoo.complexity import head_params, stem_params
from search.layouts.batch import Column
from search.layouts.chains import Chain, Keys

Partial = tuple[Keys, Keys]
"""Chains under construction: their parameters and their codes."""


def front_keys(chain: Chain) -> list[Keys]:
    """For each width where the halves meet, the fronts (stem and first stages) that can be completed."""
    partial: list[list[Partial]] = [[] for _ in chain.widths]
    for place, width in enumerate(chain.widths.tolist()):
        for stem_place, stem in chain.stems(width).items():
            params = stem_params(chain.space.in_channels, stem, chain.form) + chain.stage_terms(0, stem)[place]
            codes = stem_place * chain.digits(0) + _digits_at(chain, 0, place)
            _keep(chain, partial[place], params, codes, chain.least_rest[1, place], chain.most_rest[1, place])
    for stage in range(1, chain.cut):
        partial = _extended(chain, partial, stage)
    return [_keys(chain, parts) for parts in partial]


def back_keys(chain: Chain, fronts: list[Keys]) -> list[Keys]:
    """For each width where the halves meet, the backs (last stages and head) that can complete one of its `fronts`.

    A width without a front has no backs.
    """
    found = []
    nothing = np.zeros(1, dtype=np.int64)
    for start, met in enumerate(fronts):
        if not len(met):
            found.append(met)
            continue
        ends = (int(met[0] >> chain.code_bits), int(met[-1] >> chain.code_bits))
        partial: list[list[Partial]] = [[] for _ in chain.widths]
        partial[start].append((nothing, nothing))
        for stage in range(chain.cut, chain.stages):
            partial = _extended(chain, partial, stage, ends)
        headed = [
            (params + head_params(width, chain.space.classes), codes)
            for width, parts in zip(chain.widths.tolist(), partial, strict=True)
            for params, codes in parts
        ]
        found.append(_keys(chain, headed))
    return found


def matching_ranges(chain: Chain, front: Keys, back: Keys, most: int | None = None) -> tuple[Column, Column]:
    """For each front, the place of the first back inside the parameter window and the number of such backs, (F,) each.

    `most` lowers the window's upper end.
    """
    end = chain.bounded_max if most is None else min(most, chain.bounded_max)
    params = front >> chain.code_bits
    # Fronts ascend, so the places descend; searching in reverse order keeps the search inside the cache.
    lowest = np.maximum(chain.space.min_params - params, 0)[::-1] << chain.code_bits
    highest = (np.maximum(end - params, -1) + 1)[::-1] << chain.code_bits
    first = np.searchsorted(back, lowest)[::-1]
    return first, np.maximum(np.searchsorted(back, highest)[::-1] - first, 0)


def _extended(
    chain: Chain, partial: list[list[Partial]], stage: int, before: tuple[int, int] = (0, 0)
) -> list[list[Partial]]:
    """Chains longer by one stage; `before` are the fewest and the most parameters of what precedes them."""
    extended: list[list[Partial]] = [[] for _ in chain.widths]
    for place in range(len(chain.widths)):
        if not partial[place]:
            continue
        terms = chain.terms_after(place)
        for after in chain.follows(place):
            digits = _digits_at(chain, stage, after)
            least, most = chain.least_rest[stage + 1, after], chain.most_rest[stage + 1, after]
            for params, codes in partial[place]:
                sums = (params[:, None] + terms[after]).ravel()
                longer = (codes[:, None] * chain.digits(stage) + digits).ravel()
                _keep(chain, extended[after], sums, longer, least + before[0], most + before[1])
    return [[_joined(parts)] if parts else [] for parts in extended]


def _keep(chain: Chain, parts: list[Partial], params: Keys, codes: Keys, least: int, most: int) -> None:
    """Adds the chains that a rest of `least` to `most` parameters can bring into the window."""
    kept = (params + least <= chain.bounded_max) & (params + most >= chain.space.min_params)
    if kept.any():
        parts.append((params[kept], codes[kept]))


def _digits_at(chain: Chain, stage: int, place: int) -> Keys:
    """The values of the stage's digit that encode the width at `place`."""
    per_width = chain.digits(stage) // len(chain.widths)
    return place * per_width + np.arange(per_width, dtype=np.int64)


def _keys(chain: Chain, parts: list[Partial]) -> Keys:
    if not parts:
        return np.empty(0, dtype=np.int64)
    params, codes = _joined(parts)
    keys = params << chain.code_bits | codes
    keys.sort()
    return keys


def _joined(parts: list[Partial]) -> Partial:
    return np.concatenate([params for params, _ in parts]), np.concatenate([codes for _, codes in parts])
