"""Certified AUROC and FPR95, and the AUROC's confidence by counting."""

import numpy as np
import pytest
from scipy.stats import binom

from roodbench.metrics.gauroc import counted, gauroc, gfpr95, image_alpha, spared
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
    """With bounds that fail as often as they may, each at the worst place, the counted GAUROC is wrong at most alpha of
    the time."""
    n, m, alpha, rng = 3000, 40, 0.2, np.random.default_rng(4)
    failed = [rng.binomial(size, image_alpha(size, alpha), 4000) / size for size in (n, m)]
    wrong = (failed[0] + failed[1] > counted(n, m)).mean()
    assert alpha / 2 < wrong <= alpha


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 0.3])
@pytest.mark.parametrize("n", [1, 100, 999, 1000, 9000])
def test_as_many_bounds_may_fail_as_are_spared(n, alpha):
    each = image_alpha(n, alpha)
    assert binom.sf(spared(n), n, each) == pytest.approx(alpha / 2, rel=1e-9)
    assert each >= alpha / (2 * n) * (1 - 1e-9)  # never worse than sharing alpha with as many OOD images
    assert counted(n, n) == 2 * int(n / 1000) / n <= 0.002
