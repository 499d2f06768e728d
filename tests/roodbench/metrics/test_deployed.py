"""The deployed detector's own guarantee: the median of a few noisy scores."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from roodbench.metrics.deployed import at_most, deployed_auroc
from roodbench.metrics.gauroc import gauroc
from tests.roodbench.metrics.samples import normal_quantiles

NORMAL = normal_quantiles(10**4)


@pytest.mark.parametrize("n", [1, 25, 101])
@pytest.mark.parametrize("r", [-1.0, 0.0, 0.5])
def test_the_median_lies_below_where_most_copies_do(n, r):
    F = np.array([0.0, 1e-6, 0.1, 0.5, 0.7, 1.0])
    assert at_most(F, n, r) == pytest.approx(binom.sf((n - 1) // 2, n, ndtr(ndtri(F) + r)), rel=1e-12, abs=0)


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
