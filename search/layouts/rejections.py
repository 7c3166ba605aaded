"""Says which conditions reject all layouts of a space, how many each, and what each would have to be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from search.layouts.batch import LayoutBatch
from search.layouts.bounds import figure_ends
from search.layouts.filters import Filter
from search.layouts.index import index_of_space
from search.layouts.space import LayoutSpace

MOST_COUNTED = 2**20
"""Most layouts that are all asked which windows reject them (a second), instead of as many drawn."""


def all_rejected(space: LayoutSpace) -> str:
    """Why none of the layouts inside the parameter window is feasible, for a space in which none is.

    A window that rejects all of them by itself is named with the nearest value that would not. Otherwise each window
    has its share, and the nearest value with which a layout would pass the other windows as they are.
    """
    index, windows = index_of_space(space), space.filters
    has_predicate = space.predicate is not None
    names = [name for window in windows for name in _limits(window)] + ["predicate"] * has_predicate
    head = f"{', '.join(names)}: all {index.count:,} layouts within the parameter limits are rejected"
    alone = []
    for window in windows:
        least, most = figure_ends(index, window, space.image_size)
        if most < window.least:
            alone.append(f"min_{window.name} = {window.least:,} rejects all; lower it to {most:,} or less")
        if window.most is not None and least > window.most:
            alone.append(f"max_{window.name} = {window.most:,} rejects all; raise it to {least:,} or more")
    if alone:
        return f"{head}; {'; '.join(alone)}"
    shares = _shares(space, list(_asked(space))) if windows else []
    return "; ".join([head, *shares, "loosen it" if len(names) == 1 else "loosen them"])


def _asked(space: LayoutSpace) -> Iterator[LayoutBatch]:
    index = index_of_space(space)
    if index.count <= MOST_COUNTED:
        yield from index.walk()
    else:
        draws = np.random.default_rng(0).integers(index.count, size=(16, MOST_COUNTED // 16))
        yield from map(index.at, draws)


def _shares(space: LayoutSpace, batches: list[LayoutBatch]) -> list[str]:
    """For each window, the share that it rejects, and the nearest value among the layouts that all others accept."""
    index, windows = index_of_space(space), space.filters
    about = "" if index.count <= MOST_COUNTED else "about "
    accepted = [np.concatenate([window.accepts(batch) for batch in batches]) for window in windows]
    sentences = []
    for place, window in enumerate(windows):
        values = np.concatenate([window.figure(batch) for batch in batches])
        others = np.ones(len(values), dtype=np.bool_)
        for other in accepted[:place] + accepted[place + 1 :]:
            others &= other
        left = values[others & ~accepted[place]]
        low, high = left[left < window.least], left[left >= window.least]
        nearest = [f"min_{window.name} {about}{int(low.max()):,}"] if len(low) else []
        nearest += [f"max_{window.name} {about}{int(high.min()):,}"] if len(high) else []
        share = 1 - float(accepted[place].mean())
        with_it = f", one would pass with {' or '.join(nearest)}" if nearest else ""
        sentences.append(f"{' and '.join(_limits(window))} {about}{share:.2%}{with_it}")
    return [f"rejected by {'; by '.join(sentences)}"]


def _limits(window: Filter) -> list[str]:
    """The keys of the window that have a limit."""
    return [f"min_{window.name}"] * (window.least > 0) + [f"max_{window.name}"] * (window.most is not None)
