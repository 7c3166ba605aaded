"""The report on a space: its number of layouts, what each condition removes, a histogram of parameters, samples."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo import ResNetLayout, count_flops, count_params
from model_zoo.memory import count_activation_bytes
from search.layouts.batch import LayoutBatch
from search.layouts.enumeration import (
    count_combinations,
    count_in_window,
    count_total,
    count_up_to,
    ends_in_window,
    enumerate_layouts,
    require_feasible,
    sample_uniform,
)
from search.layouts.filters import Filter
from search.layouts.index import index_of_space
from search.layouts.space import LayoutSpace

BINS = 10

MOST_WALKED = 2**24
"""Most layouts in the parameter window to which all other windows are applied (ten seconds), instead of to a sample."""

MOST_ASKED = 2**17
"""Most layouts in the parameter window to which a predicate is applied (a few seconds), instead of to a sample."""

DRAWN = 2**17
"""Layouts drawn to estimate what windows remove."""

DRAWN_TO_ASK = 2**14
"""Layouts drawn to estimate what a predicate removes."""

MOST_FRUITLESS = 10
"""Consecutive draws that may yield no new sample before no more are expected, for a count that is an estimate."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What one condition removes from the layouts that the conditions before it left."""

    by: str
    """The condition."""
    layouts: int
    standard_error: float
    """0 if the number is exact."""


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """The figures of a space."""

    total: int
    """Layouts before any condition, even the order of channels."""
    removed: list[Removal]
    """What each condition removes, in the order in which they are applied."""
    feasible: int
    """Layouts that may be searched."""
    standard_error: float
    """Standard error of `feasible`; 0 if it is exact."""
    smallest: dict[str, Any]
    """The feasible layout with the fewest parameters, among those drawn if `feasible` is an estimate."""
    largest: dict[str, Any]
    """The feasible layout with the most parameters, among those drawn if `feasible` is an estimate."""
    edges: list[float]
    """Edges of the histogram's bins, in parameters."""
    counts: list[int]
    """Feasible layouts per bin."""
    samples: list[dict[str, Any]]
    """Layouts drawn uniformly, with the fields of `smallest`."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-compatible values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SpaceReport:
        """The report whose `to_dict` is `values`."""
        return cls(**values | {"removed": [Removal(**removal) for removal in values["removed"]]})


def make_report(space: LayoutSpace, samples: int, seed: int) -> SpaceReport:
    """The report on `space`; exact, unless conditions other than the parameter window apply to too many layouts.

    Raises:
        EmptySpaceError: no layout is feasible.
    """
    require_feasible(space)
    generator = np.random.default_rng(seed)
    anything = space.model_copy(update={"channel_order": "free"})
    total, ordered = count_combinations(anything), count_combinations(space)
    fitting, within = count_total(space), count_in_window(space)
    below = count_in_window(space.model_copy(update={"min_params": 0, "max_params": space.min_params - 1}))
    removed = [
        Removal(f"channel_order = {space.channel_order}", total - ordered, 0.0),
        Removal("choices of blocks and stem that do not fit the widths", ordered - fitting, 0.0),
        Removal(f"min_params = {space.min_params:,}", below, 0.0),
        Removal(f"max_params = {space.max_params:,}", fitting - below - within, 0.0),
    ]
    edges = np.linspace(space.min_params, space.max_params, BINS + 1)
    if space.is_filtered:
        judged = _judge(space, within, edges, generator)
    else:
        up_to = count_up_to(space, [math.ceil(edge) - 1 for edge in edges[1:-1]])
        ends = ends_in_window(space)
        assert ends is not None, "a space with a feasible layout has ends"
        judged = _Judged([], within, 0.0, np.diff([0, *up_to, within]).tolist(), *ends)
    return SpaceReport(
        total=total,
        removed=[removal for removal in removed + judged.removed if removal.layouts],
        feasible=judged.feasible,
        standard_error=judged.standard_error,
        smallest=_row(judged.smallest, space),
        largest=_row(judged.largest, space),
        edges=edges.tolist(),
        counts=judged.counts,
        samples=_samples(space, samples, judged, generator),
    )


class _Judged(NamedTuple):
    """What the conditions other than the parameter window leave."""

    removed: list[Removal]
    feasible: int
    standard_error: float
    counts: list[int]
    smallest: ResNetLayout
    largest: ResNetLayout


def _judge(space: LayoutSpace, within: int, edges: NDArray[np.float64], generator: np.random.Generator) -> _Judged:
    """Applies the conditions other than the parameter window to every layout in it, or to a sample if they are many."""
    index, has_predicate = index_of_space(space), space.predicate is not None
    if within <= (MOST_ASKED if has_predicate else MOST_WALKED):
        draws, batches = within, index.walk()
    else:
        draws = DRAWN_TO_ASK if has_predicate else DRAWN
        batches = (index.at(generator.integers(within, size=draws)) for _ in range(1))
    names = [_named(window) for window in space.filters] + ["predicate"] * has_predicate
    refused, counts = np.zeros(len(names), dtype=np.int64), np.zeros(BINS, dtype=np.int64)
    ends: list[ResNetLayout] = []
    for batch in batches:
        for i in range(len(names)):
            kept = batch.select(_accepted(space, i, batch))
            refused[i] += len(batch) - len(kept)
            batch = kept
        counts += np.histogram(batch.params, edges)[0]
        if len(batch):
            found = [batch[int(batch.params.argmin())], batch[int(batch.params.argmax())]]
            ends = [min(ends[:1] + found[:1], key=count_params), max(ends[1:] + found[1:], key=count_params)]
    if not ends:  # no feasible layout in the sample: the first one of a walk is both the smallest and the largest
        ends = [next(enumerate_layouts(space))] * 2
    removed = [Removal(name, *_scaled(int(n), draws, within)) for name, n in zip(names, refused, strict=True)]
    scaled = np.rint(counts * (within / draws)).astype(np.int64)
    feasible, error = _scaled(draws - int(refused.sum()), draws, within)
    # At least one layout is known to be feasible, even if the sample contains none.
    return _Judged(removed, max(1, feasible), error, scaled.tolist(), ends[0], ends[1])


def _accepted(space: LayoutSpace, i: int, batch: LayoutBatch) -> NDArray[np.bool_]:
    """Which layouts of `batch` condition `i` accepts; the predicate comes after the windows."""
    if i < len(space.filters):
        return space.filters[i].accepts(batch)
    return np.array([space.satisfies(layout) for layout in batch], dtype=np.bool_)


def _named(window: Filter) -> str:
    most = "" if window.most is None else f" to {window.most:,}"
    return f"{window.name} from {window.least:,}{most}"


def _scaled(layouts: int, draws: int, within: int) -> tuple[int, float]:
    """The estimated number among `within` layouts, if `layouts` of `draws` count, and its binomial standard error.

    The error is computed with one more layout on either side, since none or all of a sample is no certainty.
    """
    if draws == within:
        return layouts, 0.0
    share = (layouts + 1) / (draws + 2)
    return round(within * layouts / draws), within * math.sqrt(share * (1 - share) / draws)


def _samples(space: LayoutSpace, samples: int, judged: _Judged, generator: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of different layouts drawn uniformly; fewer than `samples` if there are no more."""
    drawn: dict[ResNetLayout, None] = {}
    if judged.standard_error == 0 and judged.feasible <= 2 * samples:  # draws would mostly be repeats
        every = list(enumerate_layouts(space))
        drawn = dict.fromkeys(every[i] for i in generator.permutation(len(every))[:samples])
    fruitless = 0
    while len(drawn) < min(samples, judged.feasible) and fruitless < MOST_FRUITLESS:
        before = len(drawn)
        drawn |= dict.fromkeys(sample_uniform(space, samples - before, generator))
        fruitless = 0 if len(drawn) > before else fruitless + 1
    return sorted((_row(layout, space) for layout in drawn), key=lambda row: (row["params"], row["layout_id"]))


def _row(layout: ResNetLayout, space: LayoutSpace) -> dict[str, Any]:
    return {
        "layout_id": layout.layout_id,
        "params": count_params(layout),
        "flops": count_flops(layout, space.image_size),
        "activation_bytes": count_activation_bytes(layout, space.image_size),
        "depth": layout.depth,
    }
