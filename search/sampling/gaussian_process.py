"""A Gaussian process over rows of features: fitted to noisy values, it predicts others and how sure it is.

The covariance is a Matérn 5/2 kernel with one length per group of columns, a term that depends on the fidelity column
alone, known noise per row and noise that is fitted. Source: Rasmussen & Williams, Gaussian Processes for Machine
Learning, 2006, chapters 2 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, lapack, solve_triangular
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

MOST_EVALUATIONS = 40
"""Most evaluations of the likelihood, each of one Cholesky factor, in a fit."""

OFFSET_VARIANCE, OFFSET_LENGTH = 1.0, 0.3
"""Variance and length of what all rows of one fidelity have in common; values have variance 1, fidelities are in
[0, 1]."""

LENGTH, NOISE = (0.0, 3.0), (-4.0, 3.0)
"""Mean and standard deviation of the logarithm of a length, whose mean grows by half the logarithm of the number of
lengths (Hvarfner et al., arXiv 2402.02229), and of that of the variance of the noise. Narrower ones were worse."""

JITTER = 1e-8
"""Variance added to every row, so that equal rows have a Cholesky factor."""


class Rows(NamedTuple):
    """N observations, or points to predict."""

    features: Floats
    """Columns of the points, (N, F)."""
    fidelity: Floats
    """Fidelity of each in [0, 1], where 1 is what counts, (N,)."""


@dataclass(frozen=True)
class Kernel:
    """The hyperparameters of a covariance."""

    lengths: Floats
    """The length of each group of columns, the last that of the fidelity, (G + 1,)."""
    variance: float
    noise: float
    """Variance of what neither the features nor the known noise explain."""
    groups: Places
    """The group of each column, (F,)."""

    def scaled(self, rows: Rows) -> Floats:
        """Features and fidelity in units of their lengths, (N, F + 1)."""
        columns = np.column_stack([rows.features, rows.fidelity])
        scaled: Floats = columns / self.lengths[np.append(self.groups, len(self.lengths) - 1)]
        return scaled

    def covariance(self, left: Rows, right: Rows) -> Floats:
        """The covariances without noise, (N, M)."""
        found: Floats = self.variance * _matern(_squares(self.scaled(left), self.scaled(right)))
        found += _offsets(left, right)
        return found


def fit(rows: Rows, values: Floats, known: Floats, groups: Places) -> Kernel:
    """The most probable hyperparameters given `values` of variance 1 with the variances `known` of their noise, (N,).

    The priors are log-normal, with lengths that grow with the number of groups.
    """
    count = int(groups.max(initial=-1)) + 2
    columns = np.column_stack([rows.features, rows.fidelity])
    of_column = np.append(groups, count - 1)
    centre = np.array([*[LENGTH[0] + 0.5 * math.log(count)] * count, 0.0, NOISE[0]])
    width = np.array([*[LENGTH[1]] * count, 1.0, NOISE[1]])
    offsets = _offsets(rows, rows)
    n = len(values)
    diagonal = np.arange(n)

    def loss(theta: Floats) -> tuple[float, Floats]:
        lengths, variance, noise = np.exp(theta[:count]), math.exp(theta[count]), math.exp(theta[count + 1])
        scaled = columns / lengths[of_column]
        r = np.sqrt(5 * _squares(scaled, scaled))
        decay = np.exp(-r)
        matern = (1 + r + r * r / 3) * decay
        total = variance * matern + offsets
        total[diagonal, diagonal] += known + noise + JITTER
        try:
            lower = cholesky(total, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse, _ = lapack.dpotri(lower, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse @ values
        away = (theta - centre) / width
        cost = 0.5 * values @ weights + np.log(np.diag(lower)).sum() + 0.5 * away @ away
        slope = np.outer(weights, weights) - inverse
        by_length = slope * (variance * 5 / 3) * (1 + r) * decay
        sums = by_length.sum(axis=1)
        of_columns = (scaled**2).T @ sums - np.einsum("ac,ac->c", scaled, by_length @ scaled)
        gradient = np.empty_like(theta)
        gradient[:count] = np.bincount(of_column, of_columns, minlength=count)
        gradient[count] = 0.5 * variance * np.einsum("ab,ab->", slope, matern)
        gradient[count + 1] = 0.5 * noise * np.trace(slope)
        return float(cost), away / width - gradient

    start = centre.copy()
    start[:count] -= 1.0
    bounds = [(-4.0, 7.0)] * count + [(-5.0, 4.0), (-12.0, 2.0)]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxfun": MOST_EVALUATIONS, "ftol": 1e-5}
    ).x
    return Kernel(np.exp(found[:count]), math.exp(found[count]), math.exp(found[count + 1]), groups)


class Posterior:
    """A Gaussian process given `values` at `rows`, and points `pending` whose values will be known later.

    A pending point counts as if its value were its own expectation, which makes what is near it less uncertain.
    Source: the kriging believer, Ginsbourger et al., Kriging is well-suited to parallelize optimization, 2010.
    """

    def __init__(self, kernel: Kernel, rows: Rows, values: Floats, known: Floats, pending: Rows) -> None:
        self.kernel = kernel
        n = len(values)
        self._rows = Rows(*(np.concatenate(both) for both in zip(rows, pending, strict=True)))
        noise = np.append(known, np.zeros(len(pending.fidelity))) + kernel.noise + JITTER
        covariance = kernel.covariance(self._rows, self._rows)
        covariance[np.diag_indices_from(covariance)] += noise
        self._lower = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        half = solve_triangular(self._lower[:n, :n], values, lower=True, check_finite=False)
        # Values equal to their expectation add nothing to the half-solved right-hand side.
        self._half = np.append(half, np.zeros(len(pending.fidelity)))

    def predict(self, points: Rows) -> tuple[Floats, Floats]:
        """The mean and the standard deviation at each point, without noise, (M,) each."""
        across = self.kernel.covariance(self._rows, points)
        half = solve_triangular(self._lower, across, lower=True, overwrite_b=True, check_finite=False)
        prior = self.kernel.variance + OFFSET_VARIANCE
        variance = prior - np.einsum("nm,nm->m", half, half)
        return self._half @ half, np.sqrt(np.maximum(variance, 1e-12))


def log_expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """The logarithm of the expected improvement over `best`, (N,), exact also where that is almost zero.

    Source: Ament et al., Unexpected Improvements to Expected Improvement, arXiv 2310.20708.
    """
    u = (mean - best) / deviation
    low = np.minimum(u, -1.0)
    # phi(u) + u Phi(u) = phi(u) (1 - |u| sqrt(pi / 2) erfcx(|u| / sqrt 2)), which is about phi(u) / u^2 far below 0.
    share = math.sqrt(math.pi / 2) * -low * erfcx(-low / math.sqrt(2))
    tail = np.where(low > -1e4, np.log1p(-np.minimum(share, 1 - 1e-12)), -2 * np.log(-low))
    high = np.maximum(u, -1.0)
    log_density = -0.5 * math.log(2 * math.pi)
    usual = np.log(np.exp(log_density - 0.5 * high**2) + high * np.exp(log_ndtr(high)))
    found: Floats = np.log(deviation) + np.where(u < -1, log_density - 0.5 * low**2 + tail, usual)
    return found


def _squares(left: Floats, right: Floats) -> Floats:
    """Squared distances between rows, (N, M)."""
    found: Floats = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.maximum(found, 0.0)


def _matern(squares: Floats) -> Floats:
    r = np.sqrt(5 * squares)
    found: Floats = (1 + r + r * r / 3) * np.exp(-r)
    return found


def _offsets(left: Rows, right: Rows) -> Floats:
    """Covariances of what the rows of one fidelity have in common, (N, M)."""
    away = (left.fidelity[:, None] - right.fidelity) / OFFSET_LENGTH
    return OFFSET_VARIANCE * _matern(away**2)
