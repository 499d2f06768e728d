"""Bounds from one band: at every radius and of every detector at once, against closed forms."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from roodbench.metrics.bounds import median_bounds, ross_bounds, ross_q_bounds
from roodbench.metrics.deployed import at_knots
from roodbench.metrics.gain import Gain
from roodbench.metrics.simultaneous import bounds_together, knots_with

RADII = (0.0, 0.2, 0.7, 1.5, 2.6)
GAIN = Gain(tau=0.3, gain=0.4, eta=1e-3)
LEVELS = (np.arange(2000) + 0.5) / 2000


def scores_within(r, tail=None, gain=GAIN):
    """(least, most) of ROSS-Q, ROSS or (no gain) the median of the score Phi(v), v ~ N(shift, 1), abs(shift) <= r."""
    found = []
    for shift in np.linspace(-r, r, 9):
        m = ndtr(shift)
        if gain is None:
            found.append(m)
        elif tail is not None:
            z = -ndtri(tail)
            found.append(gain(m, ndtr(shift + z) - ndtr(shift - z)))
        else:
            found.append(gain(m, np.abs(ndtr(ndtri(LEVELS) + shift) - m).mean()))
    return min(found), max(found)


def missed(runs, N, alpha, seed=0):
    """How often any bound of any detector at any radius is wrong."""
    y = np.sort(ndtr(np.random.default_rng(seed).normal(size=(runs, N))), 1)
    known, wrong = knots_with(at_knots(y), N, alpha), np.zeros(runs, dtype=bool)
    for r in RADII:
        for gain, tail in ((None, None), (GAIN, 0.05), (GAIN, None)):
            found = bounds_together(known, r, gain, (0.0, 1.0), tail=tail)
            least, most = scores_within(r, tail, gain)
            wrong |= (found.lower > least + 1e-12) | (found.upper < most - 1e-12)
    return wrong.mean()


def test_all_radii_and_detectors_hold_at_once():
    alpha = 0.2
    assert missed(500, 300, alpha) <= alpha + 3 * (alpha * (1 - alpha) / 500) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("N", [40, 300, 2000])
def test_all_radii_and_detectors_hold_at_once_more_often_than_promised(N):
    assert missed(6000, N, 0.05, seed=N) <= 0.05 + 3 * (0.05 * 0.95 / 6000) ** 0.5


def test_scores_with_atoms():
    """A score of few levels: quantiles are levels, and no bound passes one."""
    rng, N, alpha = np.random.default_rng(2), 300, 0.2
    levels = np.arange(-6, 7) / 2
    y = np.sort(np.round(2 * rng.normal(size=(1000, N))) / 2, 1)
    F = ndtr(levels + 0.25)  # of s = round(2 v) / 2
    known, wrong = knots_with(at_knots(y), N, alpha), np.zeros(1000, dtype=bool)
    for r in RADII[:4]:
        found = bounds_together(known, r)
        low, high = (levels[np.searchsorted(F, ndtr(z))] for z in (-r, r))
        wrong |= (found.lower > low) | (found.upper < high)
    assert wrong.mean() <= alpha


@pytest.mark.parametrize("r", RADII[:4])
def test_they_are_wider_than_bounds_that_hold_alone_and_near(r):
    y = np.sort(ndtr(np.random.default_rng(3).normal(size=(20, 10_000))), 1)
    known = knots_with(at_knots(y), 10_000, 1e-5)
    alone = {
        None: median_bounds(y, r, 1e-5, (0.0, 1.0)),
        0.05: ross_q_bounds(y, r, 1e-5, GAIN, (0.0, 1.0)),
        -1: ross_bounds(y, r, 1e-5, GAIN, (0.0, 1.0)),
    }
    for tail, point in alone.items():
        gain, given = (None, None) if tail is None else (GAIN, None if tail < 0 else tail)
        found = bounds_together(known, r, gain, (0.0, 1.0), tail=given)
        if tail is None:
            assert (found.lower <= point.lower).all()
            assert (found.upper >= point.upper).all()
        assert found.lower == pytest.approx(point.lower, abs=0.06)
        if r < 1:
            assert found.upper == pytest.approx(point.upper, rel=0.09)


def test_slack_is_given_to_either_side():
    y = np.sort(np.random.default_rng(4).normal(size=(3, 500)), 1)
    known = knots_with(at_knots(y), 500, 1e-3)
    bare, wide = (bounds_together(known, 0.3, slack=s) for s in (0.0, 0.1))
    assert wide.lower == pytest.approx(bare.lower - 0.1)
    assert wide.upper == pytest.approx(bare.upper + 0.1)


def test_beyond_the_samples_there_is_no_bound():
    y = np.sort(np.random.default_rng(5).normal(size=(3, 100)), 1)
    found = bounds_together(knots_with(at_knots(y), 100, 1e-3), 4.0)
    assert found.vacuous_lower.all()
    assert found.vacuous_upper.all()
    assert (found.lower == -np.inf).all()
