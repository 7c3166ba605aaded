"""A plot in characters: the accuracy of trials against their parameters."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

LABEL = 7
"""Columns of the figures beside the vertical axis, `100.0% `."""
FEWEST_COLUMNS = 40
FEWEST_LINES = 8
LEAST_SPAN = 0.01
"""Least difference between the ends of the vertical axis: below it, noise would fill the plot."""
_ROWS = (0x1B, 0x36, 0xE4)
"""Two of the four rows of dots in a braille character, from the top; a single dot would hardly be seen."""


def accuracy_plot(
    points: Sequence[tuple[int, float]], budget: int, width: int, height: int, *, ascii: bool
) -> list[Text]:
    """`height` lines of at most `width` columns with the `points` (parameters, accuracy), the first one as a star.

    The budget of parameters is a vertical line if it is not much further right than the points. With `ascii`, no other
    characters are used.
    """
    columns, lines = width - LABEL - 1, height - 3
    left, right, has_budget = _horizontal(points, budget)
    low, high = _vertical([accuracy for _, accuracy in points])
    grid: list[list[int]] = [[0] * columns for _ in range(lines)]

    def place(point: tuple[int, float], across: int, down: int) -> tuple[int, int]:
        x = (point[0] - left) / (right - left) * (across - 1)
        y = (high - point[1]) / (high - low) * (down - 1)
        return round(x), round(y)

    for point in points:
        x, y = place(point, columns, 4 * lines - 1)
        grid[y // 4][x] |= _ROWS[min(y % 4, 2)]
    star = place(points[0], columns, lines)
    labels = {0: high, (lines - 1) // 2: high - (high - low) * ((lines - 1) // 2) / (lines - 1), lines - 1: low}
    drawn = [Text("accuracy by parameters, the best is *", style="dim")]
    for y, row in enumerate(grid):
        label = f"{labels[y]:.1%}" if y in labels else ""
        line = Text(f"{label:>{LABEL - 1}} {'|' if ascii else '│'}", style="dim")
        for x, bits in enumerate(row):
            if (x, y) == star:
                line.append("*", style="bold green not dim")
            elif bits:
                line.append("o" if ascii else chr(0x2800 + bits), style="cyan not dim")
            else:
                line.append((":" if ascii else "┊") if has_budget and x == columns - 1 else " ")
        drawn.append(line)
    drawn.append(Text(" " * LABEL + ("+" + "-" * columns if ascii else "└" + "─" * columns), style="dim"))
    ends = f"{round(left):,}", f"budget {budget:,}" if has_budget else f"{round(right):,}"
    drawn.append(Text(" " * (LABEL + 1) + ends[0] + ends[1].rjust(columns - len(ends[0])), style="dim"))
    return drawn


def _horizontal(points: Sequence[tuple[int, float]], budget: int) -> tuple[float, float, bool]:
    """The ends of the axis of parameters, and whether its right end is the budget."""
    fewest, most = min(params for params, _ in points), max(params for params, _ in points)
    if most <= budget <= most + max(most - fewest, 0.25 * most):
        return (fewest if fewest < budget else 0.8 * budget), budget, True
    return (fewest, most, False) if fewest < most else (0.9 * most, 1.1 * most, False)


def _vertical(accuracies: Sequence[float]) -> tuple[float, float]:
    """The ends of the axis of accuracies, in [0, 1]."""
    low, high = min(accuracies), max(accuracies)
    if high - low >= LEAST_SPAN:
        return low, high
    top = min(1.0, max(LEAST_SPAN, (low + high + LEAST_SPAN) / 2))
    return top - LEAST_SPAN, top
