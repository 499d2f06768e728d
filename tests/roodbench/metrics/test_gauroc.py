"""Certified AUROC and FPR95, and the AUROC's confidence by counting."""

import numpy as np
import pytest
from scipy.stats import binom

from roodbench.metrics.gauroc import counted, gauroc, gfpr95
from tests.roodbench.metrics.samples import normal_quantiles

NORMAL = normal_quantiles(10**4)


def test_gauroc_is_strict_and_ties_lose():
    assert gauroc(np.array([1.0, 2.0]), np.array([1.0, 0.0])) == 0.75
    assert gauroc(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0.0
    assert gauroc(np.array([-np.inf, 3.0]), np.array([np.inf, -np.inf])) == 0.25
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 50).astype(float), rng.integers(0, 9, 70).astype(float)
    assert gauroc(a, b) == pytest.approx(np.mean(a[:, None] > b[None]))


def test_gfpr95_counts_ood_at_the_threshold():
    lower = np.arange(100.0)
    assert gfpr95(lower, np.array([4.9, 5.0, 5.1, 99.0])) == 0.75


@pytest.mark.parametrize(("r", "expected"), [(0.0, 0.99766), (0.5, 0.98305), (1.0, 0.92135), (2.0, 0.5)])
def test_gaussian_toy(r, expected):
    """Scores of ID around 1 and OOD around -1, sd 0.5, each moved by 0.5 r against itself."""
    id_scores, ood_scores = 1 + 0.5 * NORMAL, -1 + 0.5 * NORMAL
    assert gauroc(id_scores - 0.5 * r, ood_scores + 0.5 * r) == pytest.approx(expected, abs=2e-4)


def test_counted_confidence_covers():
    """With bounds that fail with probability alpha each, the counted GAUROC is wrong at most beta of the time."""
    n, m, alpha, beta, rng = 60, 40, 0.02, 0.1, np.random.default_rng(4)
    truth_id, truth_ood = rng.normal(1, 1, n), rng.normal(-1, 1, m)
    truth, wrong = gauroc(truth_id, truth_ood), 0
    for _ in range(2000):
        lower = np.where(rng.random(n) < alpha, 99.0, truth_id)
        upper = np.where(rng.random(m) < alpha, -99.0, truth_ood)
        wrong += gauroc(lower, upper) - counted(n, m, alpha, beta) > truth
    assert wrong / 2000 <= beta
    assert counted(n, m, alpha, beta) == binom.ppf(0.95, n, alpha) / n + binom.ppf(0.95, m, alpha) / m


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 0.3])
@pytest.mark.parametrize("beta", [1e-5, 0.05, 0.9])
@pytest.mark.parametrize(("n", "m"), [(1, 2), (100, 200), (9000, 40)])
def test_counted_takes_the_binomial_quantile(n, m, alpha, beta):
    expected = sum(binom.ppf(1 - beta / 2, size, alpha) / size for size in (n, m))
    assert counted(n, m, alpha, beta) == pytest.approx(expected, abs=1e-12)
