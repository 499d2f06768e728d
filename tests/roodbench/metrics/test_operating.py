"""Statements about new images: exact binomials, an AUROC's lower end by simulation, and how many images they take."""

import numpy as np
import pytest
from scipy.stats import binom

from roodbench.metrics.gauroc import gauroc
from roodbench.metrics.operating import (
    auroc_of_new,
    images_for_auroc,
    images_for_rate,
    least_mean,
    most_probable,
    rate_of_new,
    threshold_of,
)


@pytest.mark.parametrize("n", [1, 2, 19, 20, 100, 150])
@pytest.mark.parametrize("tpr", [0.5, 0.9, 0.95, 0.999])
def test_the_threshold_is_the_highest_that_so_many_reach(n, tpr):
    scores = np.random.default_rng(n).integers(0, 40, n).astype(float)
    t = threshold_of(scores, tpr)
    assert (scores >= t).mean() >= tpr - 1e-9
    higher = scores[scores > t]
    assert not len(higher) or (scores >= higher.min()).mean() < tpr - 1e-9


@pytest.mark.parametrize("n", [10, 200])
@pytest.mark.parametrize("miss", [0.0, 0.05])
@pytest.mark.parametrize("alpha", [0.001, 0.1])
def test_a_rate_of_new_images_is_wrong_less_often_than_alpha(n, miss, alpha):
    """For every true rate: images that have the event seem to with probability 1 - miss, the others never."""
    k = np.arange(n + 1)
    most = np.array([rate_of_new(int(i), n, alpha, miss) for i in k])
    errors = [binom.pmf(k, n, p * (1 - miss))[most < p].sum() for p in np.linspace(0, 1, 401)]
    assert max(errors) <= alpha * (1 + 1e-9)
    assert max(errors) > alpha / 3  # and it could not be much tighter


def test_nothing_seen_is_the_rule_of_three():
    assert most_probable(0, 1000, 0.05) == pytest.approx(0.003, abs=1e-5)


def bernoulli(rng, n, m, theta):
    """The AUROC turns on ID alone: each image is above all OOD or below all."""
    return (rng.random(n) < theta) * 2.0, np.ones(m), theta


def normal(rng, n, m, gap):
    from scipy.special import ndtr

    return rng.normal(gap, 1, n), rng.normal(0, 1, m), ndtr(gap / 2**0.5)


def errors(draw, parameter, n, m, alpha, miss, runs):
    """How often the lower end is above the truth; a bound of either population that fails is at its best."""
    rng, wrong = np.random.default_rng(n), 0
    for _ in range(runs):
        lower, upper, truth = draw(rng, n, m, parameter)
        lower[rng.random(n) < miss], upper[rng.random(m) < miss] = np.inf, -np.inf
        wrong += auroc_of_new(gauroc(lower, upper), min(n, m), alpha, 2 * miss) > truth
    return wrong / runs


CASES = [(bernoulli, 0.9), (bernoulli, 0.99), (normal, 0.5), (normal, 2.5)]


@pytest.mark.parametrize(("draw", "parameter"), CASES)
def test_an_auroc_of_new_images_is_wrong_less_often_than_alpha(draw, parameter):
    alpha = 0.2
    assert errors(draw, parameter, 20, 30, alpha, 0.01, 400) <= alpha + 3 * (alpha / 400) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "parameter"), CASES)
@pytest.mark.parametrize(("n", "m"), [(10, 40), (40, 10), (100, 100)])
@pytest.mark.parametrize("miss", [0.0, 0.02])
def test_an_auroc_of_new_images_holds_in_twenty_thousand_samples(draw, parameter, n, m, miss):
    alpha, runs = 0.1, 20_000
    assert errors(draw, parameter, n, m, alpha, miss, runs) <= alpha + 3 * (alpha / runs) ** 0.5


def test_an_auroc_of_one_or_zero():
    assert auroc_of_new(1.0, 50, 1e-3, 0.0) == pytest.approx(1e-3 ** (1 / 50))  # all of 50 pairs
    assert auroc_of_new(0.0, 50, 1e-3, 0.0) == 0.0
    assert auroc_of_new(0.2, 5, 1e-3, 0.9) == 0.0


@pytest.mark.parametrize("value", [0.5, 0.9, 1.0])
def test_the_number_of_images_is_the_least(value):
    n = images_for_auroc(0.1, 0.01, value)
    width = [1 - least_mean(1 - value, k, 0.005) - least_mean(value, k, 0.005) for k in (n - 1, n)]
    assert width[1] <= 0.1 < width[0]


@pytest.mark.parametrize(("most", "share"), [(0.05, 0.0), (0.01, 0.0), (0.05, 0.02)])
def test_the_number_of_images_shows_the_rate(most, share):
    n = images_for_rate(most, 1e-3, share)
    seen = [most_probable(int(np.ceil(share * k)), k, 1e-3) for k in (n - 1, n)]
    assert seen[1] <= most < seen[0]
