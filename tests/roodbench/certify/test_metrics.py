"""Certified AUROC and FPR95, and the deployed detector's own guarantee."""

import numpy as np
import pytest
from roodbench.certify.deployed import at_most, deployed_auroc
from roodbench.certify.gauroc import counted, gauroc, gfpr95
from scipy.special import ndtr, ndtri
from scipy.stats import binom

NORMAL = ndtri((np.arange(10**4) + 0.5) / 10**4)


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


def test_median_of_25_draws_is_not_the_population():
    """Scores 1.0 and 0.9 under unit noise: the population is perfect, 25 draws are not."""
    high, low = (np.tile(NORMAL + mean, (2, 1)) for mean in (1.0, 0.9))
    assert gauroc(np.median(high, 1), np.median(low, 1)) == 1.0
    deployed = deployed_auroc(high, low, 25, 0.0, 0.0, 1.0)
    assert deployed == pytest.approx(0.611, abs=1e-3)
    rng = np.random.default_rng(0)
    medians = [np.median(rng.normal(mean, 1, (20_000, 25)), 1) for mean in (1.0, 0.9)]
    assert deployed == pytest.approx(np.mean(medians[0] > medians[1]), abs=0.015)


@pytest.mark.parametrize("r", [0.0, 0.4, 1.0])
def test_medians_of_moved_images_obey_their_bound(r):
    """A linear score moved by r sigma in its worst direction attains the bound."""
    rng = np.random.default_rng(1)
    medians = np.median(rng.normal(-r, 1, (40_000, 25)), 1)
    for t in (-0.6, 0.0, 0.2):
        promised = at_most(ndtr(np.array([t])), 25, r).item()
        assert np.mean(medians <= t) == pytest.approx(promised, abs=0.01)


def test_deployed_bound_holds_for_linear_scores_and_is_near():
    rng = np.random.default_rng(2)
    N, n_id, n_ood, r = 4000, 6, 5, 0.5
    y_id, y_ood = (np.sort(rng.normal(mean, 1, (n, N)), 1) for mean, n in ((1.0, n_id), (-0.5, n_ood)))
    bound = deployed_auroc(y_id, y_ood, 25, r, r, 1e-3)
    attacked = [np.median(rng.normal(mean, 1, (20_000, 25)), 1) for mean in (1.0 - r, -0.5 + r)]
    truth = np.mean(attacked[0] > attacked[1])
    assert bound <= truth
    assert bound > truth - 0.12
    assert deployed_auroc(y_id, y_ood, 25, r, r, 1.0) == pytest.approx(truth, abs=0.02)
    assert deployed_auroc(y_id, y_ood, 25, 0, r, 1e-3) > bound
    gained = deployed_auroc(y_id, y_ood, 25, r, r, 1e-3, highest=lambda m: m + 0.3)
    assert gained < bound


def test_an_even_number_of_draws_has_no_bound():
    with pytest.raises(ValueError, match="copies 24: expected an odd number"):
        at_most(np.array([0.5]), 24, 0.1)
