"""The plot of accuracy against parameters: its size, the places of its points, its axes and the line of the budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.driver.display.plot import FEWEST_COLUMNS, FEWEST_LINES, LABEL, accuracy_plot

POINTS = st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 1)), min_size=1, max_size=40)


def drawn(points: list[tuple[int, float]], budget: int, width: int, height: int, *, ascii: bool) -> list[str]:
    return [line.plain for line in accuracy_plot(points, budget, width, height, ascii=ascii)]


@given(
    points=POINTS,
    more=st.integers(0, 10**10),
    width=st.integers(FEWEST_COLUMNS, 120),
    height=st.integers(FEWEST_LINES, 60),
    ascii=st.booleans(),
)
def test_every_plot_has_its_size_and_its_best_point(
    points: list[tuple[int, float]], more: int, width: int, height: int, ascii: bool
) -> None:
    lines = drawn(points, max(params for params, _ in points) + more, width, height, ascii=ascii)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert "".join(line[LABEL + 1 :] for line in lines[1:-1]).count("*") == 1
    assert not ascii or "".join(lines).isascii()


@pytest.mark.parametrize("ascii", [False, True])
def test_points_axes_and_budget(ascii: bool) -> None:
    lines = drawn([(200, 0.9), (100, 0.5), (150, 0.7)], 200, 48, 14, ascii=ascii)
    rows = [line[LABEL + 1 :] for line in lines[1:-2]]
    marks = [
        (y, x) for y, row in enumerate(rows) for x, mark in enumerate(row) if mark in "*o" or "\u2800" < mark < "\u2900"
    ]
    assert marks == [(0, 39), (5, 20), (10, 0)]
    assert [line[:LABEL].strip() for line in lines[1:-2] if line[:LABEL].strip()] == ["90.0%", "70.0%", "50.0%"]
    assert lines[-1].split() == ["100", "budget", "200"]
    assert rows[3][-1] == (":" if ascii else "┊")


def test_a_budget_far_from_the_points_is_no_line() -> None:
    lines = drawn([(200, 0.9), (100, 0.5)], 5_000_000, 48, 14, ascii=True)
    assert lines[-1].split() == ["100", "200"]
    assert ":" not in "".join(lines)
