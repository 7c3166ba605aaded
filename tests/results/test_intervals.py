"""Intervals and paired tests agree with SciPy's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]

from results.ranking.intervals import interval_text, mcnemar_p, wilson_interval


@given(st.integers(1, 20_000), st.data())
def test_the_interval_is_wilsons(images: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, images))
    expected = binomtest(correct, images).proportion_ci(method="wilson")
    assert wilson_interval(correct / images, images) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_paired_test_is_the_exact_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_p(first, second) == pytest.approx(expected, rel=1e-9)


def test_the_paired_test_of_many_images_does_not_overflow() -> None:
    assert mcnemar_p(30_000, 30_000) == pytest.approx(1.0)
    assert mcnemar_p(20_000, 30_000) < 1e-300


@pytest.mark.parametrize(("accuracy", "images"), [(0.5, 0), (1.1, 10), (math.nan, 10)])
def test_what_has_no_interval_is_refused(accuracy: float, images: int) -> None:
    with pytest.raises(ValueError, match="has no interval"):
        wilson_interval(accuracy, images)


def test_the_text_has_the_interval_where_the_number_of_images_is_known() -> None:
    assert interval_text(38 / 48, 48) == "79.17% [65.7, 88.3]"
    assert interval_text(0.5, None) == "50.00%"
    assert interval_text(1.0, 144) == "100.00% [97.4, 100.0]"
