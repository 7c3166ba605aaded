"""Stratified splits and subsets that are the same on every platform and with every library version.

The order comes from the raw 64-bit stream of PCG64, which NumPy promises never to change (NEP 19 makes no such
promise for Generator.permutation, nor scikit-learn for its splitters), and the counts from integer arithmetic.
"""

import numpy as np
import numpy.typing as npt

from trainables.errors import DatasetError

VAL_FRACTION = 0.1
"""Share of the training set that is the validation split: 5,000 of CIFAR-10's 50,000, the customary size."""

TEST_FRACTION = 0.2
"""Share that becomes the test set where a source has none of its own (digits, folders without test/)."""

IndexArray = npt.NDArray[np.int64]


def stratified_split(
    labels: npt.NDArray[np.integer], fraction: float = VAL_FRACTION, seed: int = 0
) -> tuple[IndexArray, IndexArray]:
    """Split the positions of `labels` (N,) into a rest and a held-out share, each class in proportion.

    Returns (rest, held out), both sorted, int64; the second has round(N * fraction) positions and never the last of
    a class. Raises DatasetError for a fraction outside (0, 0.5] and when nothing could be held out.
    """
    if not 0.0 < fraction <= 0.5:
        raise DatasetError(f"fraction {fraction} is outside (0, 0.5]; 0.1 is usual for validation, 0.2 for a test set")
    classes, counts = np.unique(labels, return_counts=True)
    wanted = min(int(len(labels) * fraction + 0.5), int(np.sum(counts - 1)))
    if wanted < 1:
        raise DatasetError(
            f"{len(labels)} images of {len(classes)} classes leave none to hold out at a fraction of {fraction}; "
            "add images"
        )
    held_out = _draw(labels, _proportional_counts(counts, wanted, counts - 1), seed)
    rest = np.setdiff1d(np.arange(len(labels), dtype=np.int64), held_out, assume_unique=True)
    return rest, held_out


def stratified_subset(indices: IndexArray, labels: npt.NDArray[np.integer], n: int, seed: int = 0) -> IndexArray:
    """Choose exactly `n` of `indices` (M,), each class's count within 1 of its proportion.

    `labels` (N,) are those of the whole set, which `indices` point into. Returns sorted positions (n,), int64.
    Raises DatasetError for an `n` below 1 or above M.
    """
    if not 1 <= n <= len(indices):
        raise DatasetError(
            f"{n:,} training images were asked for and {len(indices):,} are there beside the validation split; "
            f"choose 1 to {len(indices):,}"
        )
    own_labels = labels[indices]
    _, counts = np.unique(own_labels, return_counts=True)
    chosen = indices[_draw(own_labels, _proportional_counts(counts, n, counts), seed)]
    return np.sort(chosen).astype(np.int64, copy=False)


def _proportional_counts(counts: npt.NDArray[np.integer], total: int, limits: npt.NDArray[np.integer]) -> list[int]:
    """Divide `total` among classes by largest remainder (ties: the lower class), none above its limit."""
    size = int(np.sum(counts))
    shares = [min(total * int(count) // size, int(limit)) for count, limit in zip(counts, limits, strict=True)]
    by_remainder = sorted(range(len(shares)), key=lambda i: (-(total * int(counts[i]) % size), i))
    while sum(shares) < total:  # a second round only where a limit cut a class short
        for i in by_remainder:
            if sum(shares) < total and shares[i] < limits[i]:
                shares[i] += 1
    return shares


def _draw(labels: npt.NDArray[np.integer], counts: list[int], seed: int) -> IndexArray:
    """Draw `counts[k]` positions of the k-th class of `labels`, sorted."""
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    shuffled = labels[order]
    drawn = [order[shuffled == value][:count] for value, count in zip(np.unique(labels), counts, strict=True)]
    return np.sort(np.concatenate(drawn)).astype(np.int64, copy=False)
