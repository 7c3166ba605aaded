"""The report on a space as text."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from search.layouts.report import SpaceReport

BAR_WIDTH = 30


def print_report(report: SpaceReport, console: Console) -> None:
    """Prints the report as text and tables."""
    share = report.feasible / report.total
    console.print(
        f"{report.total:,} layouts, {_counted(report.feasible, report.standard_error)} feasible ({share:.2%})\n",
        highlight=False,
        soft_wrap=True,
    )
    if report.removed:
        removed = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        removed.add_column(overflow="fold")  # on a narrow terminal the label wraps, the number never does
        removed.add_column(no_wrap=True)
        removed.add_column(justify="right", no_wrap=True)
        for removal in report.removed:
            removed.add_row(removal.by, "removes", _counted(removal.layouts, removal.standard_error))
        console.print(removed)
        console.print()
    if report.feasible > 1:
        histogram = _table("right", "right", "left")
        most = max(1, *report.counts)  # a sample may contain no feasible layout
        for low, high, count in zip(report.edges[:-1], report.edges[1:], report.counts, strict=True):
            histogram.add_row(f"{low:,.0f} to {high:,.0f}", f"{count:,}", "█" * -(-BAR_WIDTH * count // most))
        console.print("parameters", highlight=False)
        console.print(histogram)
        console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("layout", overflow="fold")
    for column in ("params", "MFLOP", "MB", "depth"):
        table.add_column(column, justify="right", no_wrap=True)
    names = [("smallest", report.smallest), *(("drawn", row) for row in report.samples), ("largest", report.largest)]
    if report.feasible == 1:
        names = [("the only one", report.smallest)]
    for name, row in names:
        costs = (f"{row['params']:,}", f"{row['flops'] / 1e6:,.1f}", f"{row['activation_bytes'] / 1e6:,.2f}")
        table.add_row(name, row["layout_id"], *costs, str(row["depth"]))
    console.print(table)
    note = "MFLOP: forward, one image. MB: activations of a float32 training step, one image."
    console.print(note, highlight=False, soft_wrap=True)


def _counted(layouts: int, standard_error: float) -> str:
    """The number as text, with its standard error if it has one."""
    return f"about {layouts:,} ± {standard_error:,.0f}" if standard_error else f"{layouts:,}"


def _table(*justify: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for side in justify:
        table.add_column(justify=side, no_wrap=True)  # type: ignore[arg-type]
    return table
