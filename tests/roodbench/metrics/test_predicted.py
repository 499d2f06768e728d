"""Bounds on what N fresh copies will score, and why those of the population are none."""

import math

import numpy as np
import pytest
from scipy.special import betainc, ndtr, ndtri
from scipy.stats import beta, betabinom

from roodbench.metrics.bounds import median_bounds
from roodbench.metrics.gain import Gain
from roodbench.metrics.predicted import missing, predicted_bounds, predicting_rank
from roodbench.metrics.ranks import rank

ALPHA = 0.1
RUNS = 4000
SLOP = 3 * (ALPHA / RUNS) ** 0.5


def lower_median(y):
    return np.sort(y, 1)[:, (y.shape[1] + 1) // 2 - 1]


def test_fresh_copies_miss_the_populations_bound_more_often_than_alpha():
    """alpha 0.001, N = 1,000, r = 0: fourteen times as often."""
    j = rank(1000, 0.0, 1e-3, lower=True)
    assert betabinom.sf(499, 1000, j, 1001 - j) == pytest.approx(0.0141, abs=1e-4)
    rng, runs = np.random.default_rng(0), 40_000
    u = rng.beta(j, 1001 - j, runs)  # the bound, of uniform scores, against the median of fresh ones
    assert np.mean(rng.beta(500, 501, runs) < u) == pytest.approx(0.0141, abs=0.003)


@pytest.mark.parametrize(("N", "j", "lth"), [(1000, 451, 500), (25, 6, 13), (400, 30, 200)])
def test_without_a_shift_the_probability_is_that_of_a_beta_binomial(N, j, lth):
    exact = betabinom.sf(lth - 1, N, j, N + 1 - j)
    assert exact <= missing(N, j, lth, 0.0) <= 1.06 * exact + 1e-12


@pytest.mark.parametrize("r", [0.3, 1.0, 1.8])
def test_with_a_shift_it_is_the_mean_over_the_bounds_own_noise(r):
    N, lth = 200, 100
    j = predicting_rank(N, lth, r, 0.05)
    rng = np.random.default_rng(1)
    u = beta.rvs(j, N + 1 - j, size=200_000, random_state=rng)
    exact = betainc(lth, N + 1 - lth, ndtr(ndtri(u) + r)).mean()
    assert missing(N, j, lth, r) == pytest.approx(exact, rel=0.08)
    assert missing(N, j, lth, r) <= 0.05 < missing(N, j + 1, lth, r)


@pytest.mark.parametrize("N", [40, 41])
@pytest.mark.parametrize("r", [0.0, 0.6])
def test_fresh_medians_stay_within_their_bounds(N, r):
    """A linear score moved against its bound: the worst case."""
    rng = np.random.default_rng(N)
    y = np.sort(rng.normal(0, 1, (RUNS, N)), 1)
    found = predicted_bounds(y, r, ALPHA)
    for moved, missed in ((-r, lambda m: m < found.lower), (r, lambda m: m > found.upper)):
        share = missed(lower_median(rng.normal(moved, 1, (RUNS, N)))).mean()
        assert ALPHA / 4 < share <= ALPHA + SLOP  # and they are not much wider than they must be
    population = median_bounds(y, r, ALPHA)
    assert (found.lower <= population.lower).all()
    assert (found.upper >= population.upper).all()


def ross_q(y, gain, tail):
    low, middle, high = (np.sort(y, 1)[:, max(1, math.ceil(u * y.shape[1] - 1e-9)) - 1] for u in (tail, 0.5, 1 - tail))
    return gain(middle, high - low)


@pytest.mark.parametrize("r", [0.0, 0.5])
def test_fresh_scores_of_ross_and_ross_q_stay_within_theirs(r):
    rng, gain, N, extremes = np.random.default_rng(5), Gain(-0.5, 0.3, 0.05), 60, (-9.0, 9.0)
    y = np.sort(np.clip(rng.normal(0, 1, (RUNS, N)), *extremes), 1)
    moved = rng.normal(rng.choice([-r, 0, r], (RUNS, 1)), 1, (RUNS, N))
    q = predicted_bounds(y, r, ALPHA, gain, tail=0.1)
    ross = predicted_bounds(y, r, ALPHA, gain, extremes)
    m = lower_median(moved)
    for found, score in (
        (q, ross_q(moved, gain, 0.1)),
        (ross, gain(m, np.abs(moved - m[:, None]).mean(1))),
    ):
        assert (score < found.lower).mean() <= ALPHA + SLOP
        assert (score > found.upper).mean() <= ALPHA + SLOP
    assert np.isfinite(ross.upper).all()


def test_out_of_reach_there_is_no_bound():
    found = predicted_bounds(np.arange(25.0)[None], 3.0, 1e-3)
    assert (found.lower.item(), found.upper.item()) == (-math.inf, math.inf)
    assert found.vacuous_lower.all()
