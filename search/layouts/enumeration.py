"""Counts, enumerates and samples the feasible layouts of a space, exactly.

The parameter window is met by construction, however large the space (`search.layouts.chains`). Other windows and a
predicate are applied to each layout, so counting under them takes a walk; `search.layouts.report` estimates from a
sample where the walk would take too long.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from model_zoo import ResNetLayout, count_params
from model_zoo.blocks import PLAIN
from model_zoo.widths import width_problems
from search.errors import EmptySpaceError
from search.layouts.batch import LayoutBatch, joined
from search.layouts.bounds import walk_inside
from search.layouts.chains import MAX_KEY_BITS, Chain, chains, require_countable
from search.layouts.halves import back_keys, front_keys, matching_ranges
from search.layouts.index import index_of_space, joined_halves
from search.layouts.lists import FORM_KEYS
from search.layouts.rejections import all_rejected
from search.layouts.space import LayoutSpace

LEAST_DRAWS, DRAWS_AT_ONCE = 2**4, 2**14
"""Draws per batch to which conditions are applied: few at first, because a sampler needs a single layout."""

MOST_REFUSED = 2**20
"""Consecutive draws that conditions may reject before all layouts are walked; at most the number in the window."""


def count_total(space: LayoutSpace) -> int:
    """The number of layouts that can be built, before the parameter window and all other conditions."""
    return len(space.listed_layouts) if space.layouts else sum(chain.total for chain in chains(space))


def count_combinations(space: LayoutSpace) -> int:
    """The number of layouts that keep the order of channels, whatever their parameters and the fit of their blocks."""
    if space.layouts:
        return len(space.listed_layouts)
    plain = space.model_copy(update={key: (getattr(PLAIN, name),) for name, key in FORM_KEYS.items()})
    return len(space.forms) * count_total(plain)


def count_in_window(space: LayoutSpace) -> int:
    """The number of layouts inside the parameter window, before other conditions."""
    if space.layouts:
        return index_of_space(space).count
    total = 0
    for chain, chains_alike in _distinct_chains(space):
        fronts = front_keys(chain)
        for front, back in zip(fronts, back_keys(chain, fronts), strict=True):
            total += chains_alike * int(matching_ranges(chain, front, back)[1].sum())
    return total


def count_up_to(space: LayoutSpace, edges: Sequence[int]) -> list[int]:
    """For each of `edges`, the number of layouts inside the parameter window with at most that many parameters."""
    if space.layouts:
        params = np.concatenate([batch.params for batch in index_of_space(space).walk()] or [np.zeros(0, np.int64)])
        return [int((params <= edge).sum()) for edge in edges]
    totals = [0] * len(edges)
    for chain, chains_alike in _distinct_chains(space):
        fronts = front_keys(chain)
        for front, back in zip(fronts, back_keys(chain, fronts), strict=True):
            for i, edge in enumerate(edges):
                totals[i] += chains_alike * int(matching_ranges(chain, front, back, most=edge)[1].sum())
    return totals


def _distinct_chains(space: LayoutSpace) -> list[tuple[Chain, int]]:
    """One chain of each group whose layouts have the same parameters, with the number of chains in the group."""
    require_countable(space)
    groups: dict[Hashable, list[Chain]] = {}
    for chain in chains(space):
        groups.setdefault((chain.stages, chain.form.counted), []).append(chain)
    return [(group[0], len(group)) for group in groups.values()]


def ends_in_window(space: LayoutSpace) -> tuple[ResNetLayout, ResNetLayout] | None:
    """A layout with the fewest and one with the most parameters inside the window; None if it is empty."""
    index = index_of_space(space)
    return None if index.count == 0 else index.ends()


def count_feasible(space: LayoutSpace) -> int:
    """The exact number of feasible layouts; conditions other than the parameter window take a walk."""
    if not space.is_filtered:
        return count_in_window(space)
    return sum(len(batch) for batch in enumerate_batches(space))


def enumerate_batches(space: LayoutSpace) -> Iterator[LayoutBatch]:
    """All feasible layouts once, in the order of their numbers, in batches of bounded memory."""
    for batch in walk_inside(index_of_space(space), space.filters, space.image_size):
        kept = space.keep(batch) if space.is_filtered else batch
        if len(kept):
            yield kept


def enumerate_layouts(space: LayoutSpace) -> Iterator[ResNetLayout]:
    """All feasible layouts once, in the order of their numbers, without building a network."""
    for batch in walk_inside(index_of_space(space), space.filters, space.image_size):
        for layout in batch.select(space.passes(batch)) if space.filters else batch:
            if space.satisfies(layout):
                yield layout


def sample_uniform(space: LayoutSpace, n: int, generator: np.random.Generator) -> LayoutBatch:
    """`n` layouts drawn uniformly, with replacement, from the feasible ones.

    Only numbers of layouts in the parameter window are drawn; other windows and a predicate reject draws.

    Raises:
        EmptySpaceError: no layout is feasible.
    """
    index = index_of_space(space)
    if index.count and not space.is_filtered:
        return index.at(generator.integers(index.count, size=n))
    found: list[LayoutBatch] = []
    have, refused, draws = 0, 0, min(max(n, LEAST_DRAWS), DRAWS_AT_ONCE)
    while have < n and refused < min(index.count, MOST_REFUSED):
        kept = space.keep(index.at(generator.integers(index.count, size=draws)))
        refused = 0 if len(kept) else refused + draws
        found, have = [*found, kept], have + len(kept)
        draws = min(2 * draws, DRAWS_AT_ONCE)
    if have < n:
        everything = joined(list(enumerate_batches(space)) or _nothing(space))
        found.append(everything.select(generator.integers(len(everything), size=n - have)))
    return joined(found).select(np.arange(n))


def _nothing(space: LayoutSpace) -> list[LayoutBatch]:
    require_feasible(space)
    raise EmptySpaceError("no layout is feasible; widen the limits or loosen the predicate")


def require_feasible(space: LayoutSpace) -> None:
    """Checks that the space has a feasible layout.

    Raises:
        EmptySpaceError: it has none; the message names the limit that empties it and the nearest parameter counts.
    """
    if _shows_one(space) or next(enumerate_layouts(space), None) is not None:
        return
    if index_of_space(space).count:
        raise EmptySpaceError(all_rejected(space))
    if not count_total(space):
        raise EmptySpaceError(
            "block_types, groups, squeeze_ratios, expansions, stem_depths: no layout can be built "
            f"({_misfit(space)}); change them or channels"
        )
    below, above = (_nearest_outside(space, side) for side in ("below", "above"))
    if below is None:
        raise EmptySpaceError(
            f"max_params: the smallest layout has {above:,} parameters, above the budget of {space.max_params:,}; "
            "raise max_params, or allow fewer blocks or narrower channels"
        )
    if above is None:
        raise EmptySpaceError(
            f"min_params: the largest layout has {below:,} parameters, below the floor of {space.min_params:,}; "
            "lower min_params, or allow more blocks or wider channels"
        )
    raise EmptySpaceError(
        f"min_params, max_params: no layout has {space.min_params:,} to {space.max_params:,} parameters; the nearest "
        f"have {below:,} and {above:,}; widen the limits"
    )


def _misfit(space: LayoutSpace) -> str:
    """Why no layout with the first form of blocks can be built, for a space in which none can."""
    form = space.forms[0]
    problems = (
        width_problems(form, stem or width, (width,)) for stem in space.stem_channels for width in space.channels
    )
    return next((found[0].partition(";")[0] for found in problems if found), "too few of the channels fit to increase")


def _shows_one(space: LayoutSpace) -> bool:
    """Whether a few draws contain a feasible layout; even if many are feasible, a walk may reach the first one late."""
    index = index_of_space(space)
    if not index.count or not space.is_filtered:
        return index.count > 0
    numbers = np.random.default_rng(0).integers(index.count, size=LEAST_DRAWS)
    return len(space.keep(index.at(numbers))) > 0


def _nearest_outside(space: LayoutSpace, side: str) -> int | None:
    """The largest parameter count below the window, or the smallest above it; None if there is none."""
    if space.layouts:
        counts = [count_params(layout) for layout in space.listed_layouts]
        inside = [n for n in counts if (n < space.min_params if side == "below" else n > space.max_params)]
        return (max if side == "below" else min)(inside, default=None)
    window = (0, space.min_params - 1) if side == "below" else (space.max_params + 1, 2**MAX_KEY_BITS)
    found: list[int] = []
    for narrow in chains(space):
        most = min(window[1], 2 ** (MAX_KEY_BITS - narrow.code_bits) - 1)
        chain = dataclasses.replace(
            narrow, space=space.model_copy(update={"min_params": window[0], "max_params": most})
        )
        for meeting in joined_halves(chain) if window[0] <= most else ():
            places = meeting.first if side == "above" else meeting.first + np.diff(meeting.ends, prepend=0) - 1
            params = (meeting.front >> chain.code_bits) + (meeting.back[places] >> chain.code_bits)
            found.append(int(params.max() if side == "below" else params.min()))
    return (max if side == "below" else min)(found, default=None)
