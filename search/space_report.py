"""The report on a space: how many layouts, how they spread over parameters, which are smallest and largest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from model_zoo import ResNetLayout, count_flops, count_params
from search.enumeration import count_total, enumerate_layouts, feasible_chunks, require_feasible
from search.feasible import FeasibleSet
from search.space import SearchSpace

BINS = 10
BAR_WIDTH = 30


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """The figures of a space."""

    total: int
    """Layouts before the parameter window and the predicate."""
    feasible: int
    """Layouts that may be searched."""
    smallest: dict[str, Any]
    """The feasible layout with the fewest parameters: layout_id, params, flops."""
    largest: dict[str, Any]
    """The feasible layout with the most parameters."""
    edges: list[float]
    """Edges of the histogram's bins, parameters."""
    counts: list[int]
    """Feasible layouts per bin."""
    samples: list[dict[str, Any]]
    """Layouts drawn uniformly, as `smallest`."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-compatible values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SpaceReport:
        """The report whose `to_dict` is `values`."""
        return cls(**values)


def make_report(space: SearchSpace, image_size: tuple[int, int], samples: int, seed: int) -> SpaceReport:
    """The report on `space`, in one pass over its feasible layouts; FLOPs are for images of `image_size`.

    Raises:
        EmptySpaceError: no layout is feasible.
    """
    require_feasible(space)
    edges = np.linspace(space.min_params, space.max_params, BINS + 1)
    counts = np.zeros(BINS, dtype=np.int64)
    ends: list[tuple[int, ResNetLayout]] = []  # the smallest and the largest so far
    for params, layout_of in _batches(space):
        counts += np.histogram(params, edges)[0]
        found = [(int(params[place]), layout_of(place)) for place in (int(params.argmin()), int(params.argmax()))]
        ends = [min(ends[:1] + found[:1], key=_params), max(ends[1:] + found[1:], key=_params)]
    generator = np.random.default_rng(seed)
    feasible, drawn = FeasibleSet(space), set[ResNetLayout]()
    for _ in range(min(samples, int(counts.sum()))):
        sample = feasible.draw(generator, drawn)
        if sample is not None:
            drawn.add(sample)
    rows = sorted((_row(layout, image_size) for layout in drawn), key=lambda row: (row["params"], row["layout_id"]))
    return SpaceReport(
        total=count_total(space),
        feasible=int(counts.sum()),
        smallest=_row(ends[0][1], image_size),
        largest=_row(ends[1][1], image_size),
        edges=edges.tolist(),
        counts=counts.tolist(),
        samples=rows,
    )


def _batches(space: SearchSpace) -> Iterator[tuple[NDArray[np.int64], Callable[[int], ResNetLayout]]]:
    """The feasible layouts in batches: their parameters, and the layout at a place of the batch."""
    if space.predicate is not None:
        for layout in enumerate_layouts(space):
            yield np.array([count_params(layout)]), lambda place, layout=layout: layout  # type: ignore[misc]
        return
    for chunk in feasible_chunks(space):
        yield chunk.params, lambda i, chunk=chunk: space.layout(chunk.skeleton, tuple(chunk.blocks[i].tolist()))  # type: ignore[misc]


def _params(end: tuple[int, ResNetLayout]) -> int:
    return end[0]


def _row(layout: ResNetLayout, image_size: tuple[int, int]) -> dict[str, Any]:
    return {
        "layout_id": layout.layout_id,
        "params": count_params(layout),
        "flops": count_flops(layout, image_size),
        "depth": layout.depth,
    }


def print_report(report: SpaceReport, console: Console) -> None:
    """Prints the report as text and tables."""
    share = report.feasible / report.total
    console.print(
        f"{report.total:,} layouts, {report.feasible:,} feasible ({share:.2%})\n", highlight=False, soft_wrap=True
    )
    histogram = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for justify in ("right", "right", "left"):
        histogram.add_column(justify=justify, no_wrap=True)
    most = max(report.counts)
    for low, high, count in zip(report.edges[:-1], report.edges[1:], report.counts, strict=True):
        histogram.add_row(f"{low:,.0f} to {high:,.0f}", f"{count:,}", "█" * -(-BAR_WIDTH * count // most))
    console.print("parameters", highlight=False)
    console.print(histogram)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("layout", no_wrap=True)
    for column in ("params", "MFLOP", "depth"):
        table.add_column(column, justify="right", no_wrap=True)
    names = [("smallest", report.smallest), *(("drawn", row) for row in report.samples), ("largest", report.largest)]
    for name, row in names:
        values = (f"{row['params']:,}", f"{row['flops'] / 1e6:,.1f}", str(row["depth"]))
        table.add_row(name, row["layout_id"], *values)
    console.print()
    console.print(table)
