"""Splits and subsets: exact sizes, proportions, disjointness, and the same indices for ever."""

import hashlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.splits import stratified_split, stratified_subset
from trainables.errors import DatasetError

LABELS = st.lists(st.integers(0, 5), min_size=12, max_size=200).map(lambda values: np.array(values, dtype=np.int64))
# Computed on x86-64 Linux with NumPy 2.4; they must never change, or resumed studies would mix two splits.
GOLDEN_FIRST = [20, 28, 31, 74, 76, 89, 104, 115]
GOLDEN_SHA256 = "3c82280abf26a0dc04c9cd316157ece0e5cd88ea73ace5b006ff61b006da8c0c"
SEEDS = st.integers(0, 2**32 - 1)


def class_counts(labels: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.array([np.sum(labels == value) for value in classes])


@given(labels=LABELS, fraction=st.floats(0.05, 0.5), seed=SEEDS)
def test_a_split_is_a_partition_that_leaves_every_class_in_the_rest(
    labels: npt.NDArray[np.int64], fraction: float, seed: int
) -> None:
    try:
        rest, held_out = stratified_split(labels, fraction, seed)
    except DatasetError:
        singles = len(np.unique(labels)) == len(labels)
        assert singles or int(len(labels) * fraction + 0.5) == 0
        return
    assert sorted([*rest, *held_out]) == list(range(len(labels)))
    assert set(labels[rest]) == set(labels)
    assert np.all(np.diff(rest) > 0)
    assert np.all(np.diff(held_out) > 0)


@given(per_class=st.integers(2, 30), fraction=st.floats(0.1, 0.5), seed=SEEDS)
def test_equal_classes_give_equal_shares_to_within_one(per_class: int, fraction: float, seed: int) -> None:
    labels = np.tile(np.arange(4), per_class)
    _, held_out = stratified_split(labels, fraction, seed)
    counts = np.bincount(labels[held_out], minlength=4)
    assert counts.sum() == min(int(len(labels) * fraction + 0.5), 4 * (per_class - 1))
    assert counts.max() - counts.min() <= 1


@given(labels=LABELS, seed=SEEDS, data=st.data())
def test_a_subset_has_exactly_n_and_each_class_within_one_of_its_proportion(
    labels: npt.NDArray[np.int64], seed: int, data: st.DataObject
) -> None:
    indices = np.flatnonzero(np.arange(len(labels)) % 3).astype(np.int64)
    n = data.draw(st.integers(1, len(indices)))
    subset = stratified_subset(indices, labels, n, seed)
    assert len(subset) == n == len(set(subset.tolist()))
    assert set(subset.tolist()) <= set(indices.tolist())
    classes = np.unique(labels)
    proportional = class_counts(labels[indices], classes) * n / len(indices)
    assert np.all(np.abs(class_counts(labels[subset], classes) - proportional) < 1)


def test_seeds_decide_and_nothing_else() -> None:
    labels = np.tile(np.arange(10), 100)
    first, again, other = (stratified_split(labels, 0.1, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_indices_are_the_ones_recorded_with_earlier_studies() -> None:
    labels = np.arange(5_000) * 7 % 10
    rest, held_out = stratified_split(labels, 0.1, seed=3)
    subset = stratified_subset(rest, labels, 123, seed=3)
    assert held_out[:8].tolist() == GOLDEN_FIRST
    digest = hashlib.sha256(np.concatenate([rest, held_out, subset]).astype("<i8").tobytes()).hexdigest()
    assert digest == GOLDEN_SHA256


def test_too_many_images_are_refused_with_the_limit() -> None:
    labels = np.tile(np.arange(2), 10)
    with pytest.raises(DatasetError, match=r"21 training images requested, .* there are 20; choose 1 to 20"):
        stratified_subset(np.arange(20), labels, 21)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 0.6, float("nan")])
def test_fractions_outside_their_range_are_refused(fraction: float) -> None:
    with pytest.raises(DatasetError, match="outside"):
        stratified_split(np.tile(np.arange(2), 10), fraction)


def test_a_set_without_an_image_to_spare_is_refused() -> None:
    with pytest.raises(DatasetError, match="add images"):
        stratified_split(np.arange(10), 0.2)
