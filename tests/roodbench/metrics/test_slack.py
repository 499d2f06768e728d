"""What rounding does to scores must stay within bounds that give way to it, and no more."""

import numpy as np
import pytest

from roodbench.metrics.bounds import median_bounds, ross_bounds, ross_q_bounds
from roodbench.metrics.gain import Gain

GAIN, ENDS, SLACK = Gain(-0.4, 0.05, 1e-2), (-5.0, 5.0), 1e-3
BOUNDS = {
    "median": lambda y, **more: median_bounds(y, 0.4, 1e-3, **more),
    "ross": lambda y, **more: ross_bounds(y, 0.4, 1e-3, GAIN, ENDS, **more),
    "ross-q": lambda y, **more: ross_q_bounds(y, 0.4, 1e-3, GAIN, **more),
}


def scores(seed=0):
    """Some images whose copies all but agree, where the gain is steep."""
    rng = np.random.default_rng(seed)
    spreads = np.array([1.0, 0.3, 0.02, 0.004, 1e-4, 0.0])[:, None]
    return np.sort(rng.normal(-0.2, 1, (6, 400)) * spreads, 1)


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_of_rounded_scores_contain_those_of_the_scores_meant(name):
    bounds, y = BOUNDS[name], scores()
    meant = bounds(y)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rounded = np.sort(y + rng.choice([-SLACK, 0, SLACK], (6, 1 if seed % 2 else 400)), 1)
        found = bounds(rounded, slack=SLACK)
        assert (found.lower <= meant.lower + 1e-12).all()
        assert (found.upper >= meant.upper - 1e-12).all()
        granted = bounds(rounded, slack=SLACK, confident=False)
        other = bounds(y, confident=False)
        assert (granted.lower >= other.lower - 1e-12).all()
        assert (granted.upper <= other.upper + 1e-12).all()


@pytest.mark.parametrize("slack", [SLACK, -SLACK])
def test_the_gain_beside_is_on_the_right_side_everywhere(slack):
    m, D = np.meshgrid(np.linspace(-2, 2, 81), np.concatenate([[0.0], np.geomspace(1e-4, 10, 60)]))
    beside = GAIN.beside(slack)(m, D) + slack
    exact = GAIN(m + slack, np.maximum(D - 2 * slack, 0))
    assert (np.sign(slack) * (beside - exact) >= -1e-12).all()


def test_no_slack_is_no_change():
    assert GAIN.beside(0.0) == GAIN


def test_slack_costs_what_the_slope_makes_of_it():
    y = scores()
    for bounds in (BOUNDS["ross-q"], BOUNDS["ross"]):
        wider, plain = bounds(y, slack=1e-6), bounds(y)
        lost = plain.lower - wider.lower
        in_m, in_D = 1 + GAIN.gain / GAIN.eta, 0.41 * GAIN.gain / GAIN.eta**2  # m - tau is up to 0.41
        assert (lost > 0).all()
        assert (lost <= 1e-6 * (in_m + 2 * in_D) * 1.001).all()


def test_an_eta_within_the_rounding_is_refused():
    with pytest.raises(ValueError, match=r"eta 0.01: expected more than 0.02"):
        GAIN.beside(0.01)
