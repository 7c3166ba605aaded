"""The Gaussian process: scikit-learn's is the oracle; pending points; expected improvement far from the best."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern

from search.sampling.gaussian_process import (
    JITTER,
    LENGTH,
    NOISE,
    OFFSET_LENGTH,
    OFFSET_VARIANCE,
    Floats,
    Posterior,
    Rows,
    fit,
    log_expected_improvement,
)
from search.sampling.gaussian_process import Kernel as Ours

GROUPS = np.array([0, 1, 1, 2])


def data(n: int = 40, seed: int = 0) -> tuple[Rows, Floats, Floats]:
    """Rows at two fidelities whose values depend on the first and the last column, and the variances of their noise."""
    generator = np.random.default_rng(seed)
    rows = Rows(generator.random((n, 4)), generator.choice([0.5, 1.0], n))
    values = np.sin(6 * rows.features[:, 0]) + rows.features[:, 3] - 0.5 * (rows.fidelity < 1)
    return rows, (values - values.mean()) / values.std(), generator.uniform(0.001, 0.02, n)


def stacked(rows: Rows) -> Floats:
    return np.column_stack([rows.features, rows.fidelity])


def oracle(kernel: Ours, rows: Rows, values: Floats, known: Floats) -> GaussianProcessRegressor:
    """Scikit-learn's process with the same covariance; what depends on the fidelity alone has endless other lengths."""
    lengths = kernel.lengths[[*kernel.groups, -1]]
    of_fidelity = [1e9, 1e9, 1e9, 1e9, OFFSET_LENGTH]
    covariance: Kernel = ConstantKernel(kernel.variance) * Matern(lengths, nu=2.5)
    covariance += ConstantKernel(OFFSET_VARIANCE) * Matern(of_fidelity, nu=2.5, length_scale_bounds=(1e-5, 1e10))
    process = GaussianProcessRegressor(covariance, alpha=known + kernel.noise + JITTER, optimizer=None)
    return process.fit(stacked(rows), values)


def test_means_deviations_and_likelihood_are_those_of_scikit_learn() -> None:
    rows, values, known = data()
    points, _, _ = data(9, seed=1)
    kernel = Ours(np.array([0.3, 0.9, 0.5, 1.1]), 1.7, 0.02, GROUPS)
    nothing = Rows(np.zeros((0, 4)), np.zeros(0))
    mean, deviation = Posterior(kernel, rows, values, known, nothing).predict(points)
    expected = oracle(kernel, rows, values, known).predict(stacked(points), return_std=True)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(deviation, expected[1], rtol=1e-6)


def test_no_hyperparameters_near_the_fitted_ones_are_more_probable() -> None:
    rows, values, known = data()
    fitted = fit(rows, values, known, GROUPS)

    def log_posterior(lengths: Floats, variance: float, noise: float) -> float:
        kernel = Ours(lengths, variance, noise, GROUPS)
        likelihood = oracle(kernel, rows, values, known).log_marginal_likelihood_value_
        centre = LENGTH[0] + 0.5 * math.log(len(lengths))
        prior = norm.logpdf(np.log(lengths), centre, LENGTH[1]).sum()
        return float(
            likelihood + prior + norm.logpdf(math.log(variance)) + norm.logpdf(math.log(noise), NOISE[0], NOISE[1])
        )

    best = log_posterior(fitted.lengths, fitted.variance, fitted.noise)
    generator = np.random.default_rng(3)
    for _ in range(40):
        by = np.exp(generator.normal(scale=0.2, size=6))
        assert log_posterior(fitted.lengths * by[:4], fitted.variance * by[4], fitted.noise * by[5]) < best + 0.02
    assert fitted.lengths[[0, 2]].max() < fitted.lengths[1]  # the second group has no effect on the values


def test_known_noise_makes_values_count_less() -> None:
    rows, values, known = data()
    nothing = Rows(np.zeros((0, 4)), np.zeros(0))
    kernel = fit(rows, values, known, GROUPS)
    _, sure = Posterior(kernel, rows, values, known, nothing).predict(rows)
    _, unsure = Posterior(kernel, rows, values, known + 1, nothing).predict(rows)
    assert (unsure > sure).all()


def test_a_pending_point_changes_what_is_near_it_in_deviation_but_no_mean() -> None:
    rows, values, known = data()
    kernel = fit(rows, values, known, GROUPS)
    pending = Rows(np.array([[0.5, 0.1, 0.9, 0.95]]), np.ones(1))
    points = Rows(np.vstack([pending.features + 0.02, [[0.0, 0.9, 0.1, 0.0]]]), np.ones(2))
    before = Posterior(kernel, rows, values, known, Rows(np.zeros((0, 4)), np.zeros(0))).predict(points)
    after = Posterior(kernel, rows, values, known, pending).predict(points)
    np.testing.assert_allclose(after[0], before[0], atol=1e-9)
    assert after[1][0] < 0.7 * before[1][0]
    assert after[1][1] > 0.95 * before[1][1]


def test_the_log_of_the_expected_improvement_is_exact_and_finite_far_below_the_best() -> None:
    u = np.linspace(-5, 5, 101)
    found = log_expected_improvement(2 + 3 * u, np.full(101, 3.0), 2.0)
    np.testing.assert_allclose(found, np.log(3 * (norm.pdf(u) + u * norm.cdf(u))), rtol=1e-7)
    far = -np.logspace(1, 6, 30)
    found = log_expected_improvement(far, np.ones(30), 0.0)
    np.testing.assert_allclose(found, norm.logpdf(far) - 2 * np.log(-far), rtol=2e-3)
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("fidelity", [0.5, 1.0])
def test_equal_rows_and_equal_values_are_fitted(fidelity: float) -> None:
    rows = Rows(np.ones((12, 4)), np.full(12, fidelity))
    kernel = fit(rows, np.zeros(12), np.zeros(12), GROUPS)
    mean, deviation = Posterior(kernel, rows, np.zeros(12), np.zeros(12), rows).predict(rows)
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()
