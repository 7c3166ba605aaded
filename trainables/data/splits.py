"""Stratified splits and subsets that are the same on every platform and with every version of the libraries.

The order comes from the raw 64-bit stream of PCG64, which NumPy promises never to change (NEP 19 makes no such
promise for Generator.permutation, nor scikit-learn for its splitters), and the counts come from integer arithmetic.
"""

import numpy as np
import numpy.typing as npt

from trainables.errors import DatasetError

VAL_FRACTION = 0.1
"""Usual share of the training set that is the validation split: 5,000 of CIFAR-10's 50,000, the usual size."""

TEST_FRACTION = 0.2
"""Usual share that becomes the test set of a source without one (digits, folders without test/)."""

IndexArray = npt.NDArray[np.int64]


def stratified_split(
    labels: npt.NDArray[np.integer], fraction: float = VAL_FRACTION, seed: int = 0
) -> tuple[IndexArray, IndexArray]:
    """Split the positions of `labels` (N,) into a rest and a held-out share, with each class in proportion.

    Returns (rest, held out), both sorted, int64. The second has round(N * fraction) positions, but never all of a
    class. Raises DatasetError for a fraction outside (0, 0.5], or when nothing can be held out.
    """
    if not 0.0 < fraction <= 0.5:
        raise DatasetError(f"fraction {fraction} is outside (0, 0.5]; 0.1 is usual for validation, 0.2 for a test set")
    held_out = _draw(labels, held_out_counts(np.unique(labels, return_counts=True)[1], fraction), seed)
    rest = np.setdiff1d(np.arange(len(labels), dtype=np.int64), held_out, assume_unique=True)
    return rest, held_out


def held_out_counts(counts: npt.NDArray[np.integer], fraction: float) -> list[int]:
    """Return how many images `stratified_split` holds out of classes with `counts` images, whatever its seed.

    Raises DatasetError when nothing can be held out.
    """
    images = int(np.sum(counts))
    wanted = min(int(images * fraction + 0.5), int(np.sum(counts - 1)))
    if wanted < 1:
        raise DatasetError(
            f"none of {images} images of {len(counts)} classes can be held out at a fraction of {fraction}; add images"
        )
    return _proportional_counts(counts, wanted, counts - 1)


def stratified_subset(indices: IndexArray, labels: npt.NDArray[np.integer], n: int, seed: int = 0) -> IndexArray:
    """Choose exactly `n` of `indices` (M,), with each class's count within 1 of its proportion.

    `labels` (N,) are those of the whole set, into which `indices` point. Returns sorted positions (n,), int64. Raises
    DatasetError for an `n` below 1 or above M.
    """
    if not 1 <= n <= len(indices):
        raise DatasetError(
            f"{n:,} training images requested, but without the validation split there are {len(indices):,}; "
            f"choose 1 to {len(indices):,}"
        )
    own_labels = labels[indices]
    _, counts = np.unique(own_labels, return_counts=True)
    chosen = indices[_draw(own_labels, _proportional_counts(counts, n, counts), seed)]
    return np.sort(chosen).astype(np.int64, copy=False)


def _proportional_counts(counts: npt.NDArray[np.integer], total: int, limits: npt.NDArray[np.integer]) -> list[int]:
    """Divide `total` among classes by largest remainder (in a tie, the lower class), none above its limit."""
    size = int(np.sum(counts))
    shares = [min(total * int(count) // size, int(limit)) for count, limit in zip(counts, limits, strict=True)]
    by_remainder = sorted(range(len(shares)), key=lambda i: (-(total * int(counts[i]) % size), i))
    while sum(shares) < total:  # a second round only if a class has reached its limit
        for i in by_remainder:
            if sum(shares) < total and shares[i] < limits[i]:
                shares[i] += 1
    return shares


def _draw(labels: npt.NDArray[np.integer], counts: list[int], seed: int) -> IndexArray:
    """Draw `counts[k]` positions of the k-th class of `labels`; returns them sorted."""
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    shuffled = labels[order]
    drawn = [order[shuffled == value][:count] for value, count in zip(np.unique(labels), counts, strict=True)]
    return np.sort(np.concatenate(drawn)).astype(np.int64, copy=False)
