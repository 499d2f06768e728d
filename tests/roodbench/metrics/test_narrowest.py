"""What scores at the knots allow a bound to be: no honest one is beyond, one of another alpha or number is."""

import numpy as np
import pytest
from scipy.special import ndtr

from roodbench.metrics.bounds import median_bounds, ross_bounds, ross_q_bounds
from roodbench.metrics.deployed import at_knots
from roodbench.metrics.gain import Gain
from roodbench.metrics.narrowest import Around, narrowest, narrowest_predicted
from roodbench.metrics.predicted import predicted_bounds

RADII = (0.0, 0.4, 1.5, 2.6)
EXTREMES = (0.0, 1.0)
GAINS = {"median": (None, None), "ross": (Gain(0.3, 0.4, 1e-3), None), "ross-q": (Gain(0.6, 0.4, 0.2), 0.05)}
SLACK = 1e-6


def honest(y, r, alpha, name, predicted=False):
    gain, tail = GAINS[name]
    if predicted:
        return predicted_bounds(y, r, alpha, gain, EXTREMES, tail=tail, slack=SLACK)
    if gain is None:
        return median_bounds(y, r, alpha, EXTREMES, slack=SLACK)
    if tail is None:
        return ross_bounds(y, r, alpha, gain, EXTREMES, slack=SLACK)
    return ross_q_bounds(y, r, alpha, gain, EXTREMES, tail=tail, slack=SLACK)


def allowed(y, r, alpha, name, predicted=False):
    gain, tail = GAINS[name]
    limit = narrowest_predicted if predicted else narrowest
    return limit(Around(at_knots(y), y.shape[1], EXTREMES), r, alpha, gain, tail=tail, slack=SLACK)


def scores(n, N, seed=0):
    """Sorted, of several shapes: some in levels, some all alike."""
    rng = np.random.default_rng(seed)
    y = ndtr(rng.normal(size=(n, N)) * rng.uniform(0, 2, size=(n, 1)) + rng.normal(size=(n, 1)))
    y[: n // 4] = np.round(4 * y[: n // 4]) / 4
    y[-1] = 0.5
    return np.sort(y, 1)


@pytest.mark.parametrize("predicted", [False, True], ids=["population", "fresh copies"])
@pytest.mark.parametrize("name", GAINS)
def test_no_honest_bound_is_beyond(name, predicted):
    for N in (12, 40, 301, 3000):
        y = scores(24, N, seed=N)
        for r in RADII:
            for alpha in (1e-6, 1e-3, 0.3):
                bounds, limit = (of(y, r, alpha, name, predicted) for of in (honest, allowed))
                assert (bounds.lower <= limit.lower + 1e-9).all()
                assert (bounds.upper >= limit.upper - 1e-9).all()
                if N <= 40:  # every rank is a knot
                    assert limit.lower == pytest.approx(bounds.lower, abs=1e-9)
                    assert limit.upper == pytest.approx(bounds.upper, abs=1e-9)


@pytest.mark.parametrize("name", GAINS)
def test_bounds_at_another_alpha_of_another_number_or_kind_are_beyond(name):
    y, r = np.sort(ndtr(np.random.default_rng(1).normal(size=(30, 2000))), 1), 0.4
    limit = allowed(y, r, 1e-6, name)
    few = honest(y[:, ::8], r, 1e-6, name)
    assert (honest(y, r, 0.3, name).lower > limit.lower + 1e-3).all()
    assert (honest(y, r, 0.3, name).upper < limit.upper - 1e-3).all()
    assert (honest(y, r, 1e-6, name).lower > allowed(y, r, 1e-6, name, predicted=True).lower + 1e-3).all()
    fewer = Around(at_knots(y[:, ::8]), 250, EXTREMES)
    gain, tail = GAINS[name]
    assert (few.lower <= narrowest(fewer, r, 1e-6, gain, tail=tail).lower + 1e-9).all()
    assert (honest(y, r, 1e-6, name).lower > narrowest(fewer, r, 1e-6, gain, tail=tail).lower).mean() > 0.9
