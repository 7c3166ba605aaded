"""The report on a space: how many layouts, how they spread over parameters, which are smallest and largest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
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
    ends: dict[str, ResNetLayout] = {}
    for layout, params in _ends_and_bins(space, edges, counts):
        if "smallest" not in ends or params < count_params(ends["smallest"]):
            ends["smallest"] = layout
        if "largest" not in ends or params > count_params(ends["largest"]):
            ends["largest"] = layout
    generator = np.random.default_rng(seed)
    feasible, drawn = FeasibleSet(space), set[ResNetLayout]()
    for _ in range(min(samples, int(counts.sum()))):
        layout = feasible.draw(generator, drawn)
        if layout is not None:
            drawn.add(layout)
    rows = sorted((_row(layout, image_size) for layout in drawn), key=lambda row: (row["params"], row["layout_id"]))
    return SpaceReport(
        total=count_total(space),
        feasible=int(counts.sum()),
        smallest=_row(ends["smallest"], image_size),
        largest=_row(ends["largest"], image_size),
        edges=edges.tolist(),
        counts=counts.tolist(),
        samples=rows,
    )


def _ends_and_bins(
    space: SearchSpace, edges: np.ndarray[Any, np.dtype[np.float64]], counts: np.ndarray[Any, np.dtype[np.int64]]
) -> list[tuple[ResNetLayout, int]]:
    """Fills `counts` and gives candidates for the smallest and largest layout with their parameters."""
    candidates: list[tuple[ResNetLayout, int]] = []
    if space.predicate is not None:
        for layout in enumerate_layouts(space):
            params = count_params(layout)
            counts += np.histogram([params], edges)[0]
            if len(candidates) > 2:
                candidates = [min(candidates, key=lambda c: c[1]), max(candidates, key=lambda c: c[1])]
            candidates.append((layout, params))
        return candidates
    for chunk in feasible_chunks(space):
        counts += np.histogram(chunk.params, edges)[0]
        for place in (int(chunk.params.argmin()), int(chunk.params.argmax())):
            params = int(chunk.params[place])
            if not candidates or params < candidates[0][1] or params > candidates[-1][1]:
                candidates.append((space.layout(chunk.skeleton, tuple(chunk.blocks[place].tolist())), params))
                candidates.sort(key=lambda c: c[1])
                candidates = [candidates[0], candidates[-1]]
    return candidates


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
        histogram.add_column(justify=justify, no_wrap=True)  # type: ignore[arg-type]  # the literals are right
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
