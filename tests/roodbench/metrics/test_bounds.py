"""Certified bounds against closed forms, coverage by simulation, and brute force over shifts."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr, ndtri
from scipy.stats import binom, norm

from roodbench.metrics.bounds import (
    cells,
    deviation_weights,
    dkw,
    edges,
    least_deviation,
    median_bounds,
    padded,
    ross_bounds,
    ross_q_bounds,
)
from roodbench.metrics.gain import Gain
from roodbench.metrics.ranks import largest_radius, lower_rank, rank, samples_needed
from tests.roodbench.metrics.samples import normal_quantiles

MANY = 10**5
NORMAL = normal_quantiles(MANY)[None]


@pytest.mark.parametrize(
    ("N", "alpha", "r", "expected"),
    [
        (2000, 1e-5, 1.44, (102, 1899)),
        (10_000, 1e-3, 1.0, (1475, 8526)),
        (1000, 1e-3, 1.0, (124, 877)),
        (25, 1e-3, 0.6, (1, 25)),
        (25, 1e-3, 0.71, (0, 26)),
    ],
)
def test_ranks(N, alpha, r, expected):
    assert (rank(N, -r, alpha, lower=True), rank(N, r, alpha, lower=False)) == expected
    assert lower_rank(N, ndtr(-r), alpha) == expected[0]


@pytest.mark.parametrize("N", [1, 7, 25, 400, 10_000])
@pytest.mark.parametrize("alpha", [1e-9, 1e-3, 0.05, 0.4])
@pytest.mark.parametrize("v", [1e-6, 0.01, 0.3, 0.5, 0.9, 0.9999])
def test_ranks_are_valid_and_the_best(N, alpha, v):
    k, top = lower_rank(N, v, alpha), rank(N, ndtri(v), alpha, lower=False)
    assert k == 0 or binom.cdf(k - 1, N, v) <= alpha  # Y_(k) > q needs fewer than k draws below it
    assert k == N or binom.cdf(k, N, v) > alpha
    assert top == N + 1 or binom.sf(top - 1, N, v) <= alpha * (1 + 1e-9)
    assert top == 1 or binom.sf(top - 2, N, v) > alpha * (1 - 1e-9)


def test_largest_radius_and_the_samples_it_takes():
    assert [round(largest_radius(N, 1e-3), 2) for N in (25, 100, 1000, 10**4)] == [0.70, 1.50, 2.46, 3.20]
    for N in (25, 1000, 10**4):
        r = largest_radius(N, 1e-3)
        assert rank(N, -(r - 1e-6), 1e-3, lower=True) == 1
        assert rank(N, -(r + 1e-6), 1e-3, lower=True) == 0
        assert samples_needed(r - 1e-9, 1e-3) == N
        assert samples_needed(r + 1e-6, 1e-3) == N + 1


@pytest.mark.parametrize(
    ("r", "most", "least"), [(0.5, 1.29788, 0.39559), (1.0, 1.79788, 0.16663), (0.0, 0.79788, 0.79788)]
)
def test_deviation_of_a_linear_score(r, most, least):
    y = padded(NORMAL, (NORMAL[0, 0], NORMAL[0, -1]))
    weights = deviation_weights(edges(MANY, 0.0), edges(MANY, 0.0), r)
    assert (y @ weights[0]).item() == pytest.approx(most, abs=2e-4)
    assert (y @ weights[1]).item() == pytest.approx(least, abs=2e-4)
    assert most == pytest.approx(math.sqrt(2 / math.pi) + r, abs=1e-5)
    assert least == pytest.approx(2 * (norm.pdf(r) - r * norm.cdf(-r)), abs=1e-5)


@pytest.mark.parametrize("r", [0.5, 1.0])
def test_least_deviation_around_any_median(r):
    """At m+ the closed form; elsewhere the integral itself, by quadrature."""
    y = padded(NORMAL, (NORMAL[0, 0], NORMAL[0, -1]))
    k, v = math.ceil(MANY * ndtr(r)), edges(MANY, 0.0)
    weights = cells(v, r, 0, 1), cells(v, -r, 0, 1)
    (at_top,) = least_deviation(y, *weights, k, k)[0]
    assert at_top == pytest.approx(norm.pdf(2 * r) - 2 * r * norm.cdf(-2 * r) + norm.pdf(0), abs=2e-4)
    for m in (-0.3, 0.1, 0.4):
        i = int(np.searchsorted(y[0], m))
        wanted, _ = quad(lambda u: max(ndtri(u) - r - m, 0) + max(m - ndtri(u) - r, 0), 0, 1, limit=500)  # noqa: B023
        assert least_deviation(y, *weights, i, i)[0, 0] == pytest.approx(wanted, abs=3e-4)


def test_least_deviation_is_the_sum_it_abbreviates():
    rng = np.random.default_rng(0)
    y, w, r = padded(np.sort(rng.normal(size=(3, 40)), 1), (-4.0, 4.0)), 0.07, 0.6
    above, below = cells(edges(40, w), r, 0, 1), cells(edges(40, -w), -r, 0, 1)
    found = least_deviation(y, above, below, 12, 37)
    for i, row in enumerate(y):
        for j, m in enumerate(row[12:38]):
            wanted = above @ np.maximum(row - m, 0) + below @ np.maximum(m - row, 0)
            assert found[i, j] == pytest.approx(wanted, abs=1e-12)
    assert above.sum() == pytest.approx(1)
    assert below.sum() == pytest.approx(1)


@pytest.mark.parametrize("r", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("eta", [1e-3, 0.3, 2.0])
def test_tight_ross_bound_is_the_maximum_over_medians(r, eta):
    """Against a fine grid of medians; and between clean score and crude bound."""
    rng = np.random.default_rng(3)
    y = np.sort(rng.beta(2, 3, size=(6, 300)), 1)
    gain, N, alpha = Gain(tau=0.2, gain=0.5, eta=eta), 300, 0.01
    found = ross_bounds(y, r, alpha, gain, (0.0, 1.0))
    w = dkw(N, alpha / 2)
    above, below = cells(edges(N, w), r, 0, 1), cells(edges(N, -w), -r, 0, 1)
    for row, upper in zip(padded(y, (0.0, 1.0)), found.upper, strict=True):
        top = row[rank(N, r, alpha / 2, lower=False)]
        m = np.linspace(0, top, 4001)
        D = np.maximum(row - m[:, None], 0) @ above + np.maximum(m[:, None] - row, 0) @ below
        best = gain(m, D).max()
        assert best <= upper + 1e-12
        assert upper == pytest.approx(best, rel=2e-3, abs=2e-3)
    assert (found.upper <= found.crude_upper + 1e-12).all()
    median = np.median(y, axis=1)
    score = gain(median, np.abs(y - median[:, None]).mean(1))
    assert (found.lower < score).all()
    assert (score < found.upper).all()


@pytest.mark.parametrize("eta", [1e-3, 0.5, 5.0])
def test_ross_q_bound_is_the_maximum_over_medians(eta):
    rng = np.random.default_rng(5)
    y = np.sort(rng.normal(size=(20, 2000)) * rng.uniform(0.01, 3, size=(20, 1)), 1)
    gain, alpha, r, z = Gain(tau=-0.5, gain=0.4, eta=eta), 0.01, 0.7, 1.6448536269514722
    found = ross_q_bounds(y, r, alpha, gain)
    for row, upper in zip(y, found.upper, strict=True):

        def at(z, lower, row=row):
            return row[rank(2000, z, alpha / 3, lower=lower) - 1]

        A, B, top = at(z - r, True), at(r - z, False), at(r, False)
        m = np.linspace(row[0], top, 20001)
        best = gain(m, np.maximum(A - m, 0) + np.maximum(m - B, 0)).max()
        assert best <= upper + 1e-12
        assert upper == pytest.approx(best, rel=1e-3, abs=1e-3)


def test_bounds_of_little_evidence_say_nothing_and_say_so():
    y = np.sort(np.random.default_rng(0).normal(size=(4, 25)), 1)
    vacuous = median_bounds(y, 0.71, 1e-3)
    assert np.isneginf(vacuous.lower).all()
    assert np.isposinf(vacuous.upper).all()
    assert vacuous.vacuous_lower.all()
    assert vacuous.vacuous_upper.all()
    known = median_bounds(y, 0.71, 1e-3, (-9.0, 9.0))
    assert (known.lower == -9).all()
    assert (known.upper == 9).all()
    told = median_bounds(y, 0.6, 1e-3)
    assert np.array_equal(told.lower, y[:, 0])
    assert not told.vacuous_lower.any()
    with pytest.raises(ValueError, match="unbounded score"):
        ross_bounds(y, 0.5, 1e-3, Gain(0.0), (-math.inf, 0.0))
    unbounded = ross_q_bounds(y, 2.0, 1e-3, Gain(0.0))
    assert np.isneginf(unbounded.lower).all()
    assert np.isposinf(unbounded.upper).all()


@pytest.mark.parametrize(
    "bounds",
    [
        lambda y, r, alpha, confident=True: median_bounds(y, r, alpha, (0.0, 1.0), confident=confident),
        lambda y, r, alpha, confident=True: ross_bounds(y, r, alpha, GAIN, (0.0, 1.0), confident=confident),
        lambda y, r, alpha, confident=True: ross_q_bounds(y, r, alpha, GAIN, (0.0, 1.0), confident=confident),
    ],
    ids=["median", "ross", "ross-q"],
)
def test_bounds_widen_with_radius_confidence_and_less_evidence(bounds):
    y = np.sort(np.random.default_rng(2).beta(3, 2, size=(30, 4000)), 1)
    wide = [(0.0, 0.05), (0.2, 0.05), (0.2, 1e-4), (0.9, 1e-4)]
    found = [bounds(y, r, alpha) for r, alpha in wide] + [bounds(y[:, ::8], 0.9, 1e-4)]
    for near, far in pairwise(found):
        assert (far.lower <= near.lower + 1e-9).all()
        assert (far.upper >= near.upper - 1e-9).all()
    other = bounds(y, 0.2, 1e-4, confident=False)
    assert (other.lower >= found[2].lower).all()
    assert (other.upper <= found[2].upper).all()


GAIN = Gain(tau=0.3, gain=0.05, eta=1e-2)
ALPHA, REPEATS = 0.05, 10_000


def misses(bounds, truth):
    lower, upper = truth
    allowed = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / REPEATS)
    assert np.mean(bounds.lower > lower) <= allowed
    assert np.mean(bounds.upper < upper) <= allowed
    return np.mean(bounds.lower > lower), np.mean(bounds.upper < upper)


@pytest.mark.parametrize(("N", "r"), [(25, 0.1), (200, 0.5), (1001, 1.0)])
def test_median_bounds_miss_no_more_than_alpha(N, r):
    y = np.sort(np.random.default_rng(N).normal(size=(REPEATS, N)), 1)
    rates = misses(median_bounds(y, r, ALPHA), (-r, r))
    assert min(rates) > 0.005  # and are not needlessly wide: a rank lower would be


@pytest.mark.parametrize("r", [0.0, 0.5])
def test_ross_and_ross_q_bounds_miss_no_more_than_alpha(r):
    """Y uniform on [0, 1]: every functional of the shifted population in closed form or by quadrature."""
    N = 400
    y = np.sort(np.random.default_rng(1).random((REPEATS, N)), 1)
    q = ndtr  # the quantile Phi(z) of a uniform score is Phi(z)
    most, _ = quad(lambda u: q(ndtri(u) + r), 0.5, 1)
    down, _ = quad(lambda u: q(ndtri(u) - r), 0, 0.5)
    lower = float(GAIN(q(-r), most - down))

    def least(m):
        return quad(lambda u: max(q(ndtri(u) - r) - m, 0) + max(m - q(ndtri(u) + r), 0), 0, 1, limit=200, epsabs=1e-6)[
            0
        ]

    upper = max(float(GAIN(m, least(m))) for m in np.linspace(0.3, q(r), 100))
    misses(ross_bounds(y, r, ALPHA, GAIN, (0.0, 1.0)), (lower, upper))
    z = -ndtri(0.05)
    lower_q = float(GAIN(q(-r), q(z + r) - q(-z - r)))
    m = np.linspace(0.3, q(r), 2001)
    upper_q = GAIN(m, np.maximum(q(z - r) - m, 0) + np.maximum(m - q(r - z), 0)).max()
    misses(ross_q_bounds(y, r, ALPHA, GAIN, (0.0, 1.0)), (lower_q, upper_q))


def curved(points):
    """A nonlinear score of the plane between 0 and 1, with a valley, a ridge and a plateau."""
    a, b = points[..., 0], points[..., 1]
    return 1 / (1 + np.exp(-(2 * np.sin(2 * a) + a * b - np.clip(b, -0.5, 1.0) ** 2)))


@pytest.mark.parametrize("x", [(0.2, -0.1), (1.0, 0.8), (-0.7, 1.5)])
@pytest.mark.parametrize("radius", [0.2, 0.5])
def test_no_shift_leaves_the_certificate(x, radius):
    sigma, N = 0.5, 10**5
    noise = np.random.default_rng(11).normal(size=(N, 2)) * sigma
    y = np.sort(curved(np.array(x) + noise))[None]
    gain = Gain(tau=0.2, gain=0.05, eta=1e-3)
    r, alpha = radius / sigma, 1e-3
    bounds = {
        "median": median_bounds(y, r, alpha, (0.0, 1.0)),
        "ross": ross_bounds(y, r, alpha, gain, (0.0, 1.0)),
        "ross-q": ross_q_bounds(y, r, alpha, gain, (0.0, 1.0)),
    }
    fresh = np.random.default_rng(12).normal(size=(N, 2)) * sigma
    scores = {name: [] for name in bounds}
    for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
        for length in (radius, radius / 2):
            s = curved(np.array(x) + length * np.array([np.cos(angle), np.sin(angle)]) + fresh)
            low, m, high = np.quantile(s, [0.05, 0.5, 0.95])
            scores["median"].append(m)
            scores["ross"].append(gain(m, np.abs(s - m).mean()))
            scores["ross-q"].append(gain(m, high - low))
    for name, found in bounds.items():
        assert found.lower.item() <= min(scores[name]), name
        assert max(scores[name]) <= found.upper.item(), name
        assert found.upper.item() < 1 + gain.gain / gain.eta  # and the bound says something
        assert found.lower.item() > 0


@pytest.mark.parametrize(
    ("y", "r", "alpha", "message"),
    [
        (np.array([[2.0, 1.0]]), 0.1, 0.1, "not sorted"),
        (np.array([[1.0, np.nan]]), 0.1, 0.1, "not sorted"),
        (np.zeros(5), 0.1, 0.1, "expected \\(images, samples\\)"),
        (np.zeros((1, 5)), -0.1, 0.1, "expected r of at least 0"),
        (np.zeros((1, 5)), 0.1, 2.0, "alpha between 0 and 1"),
    ],
)
def test_bad_scores_have_no_bounds(y, r, alpha, message):
    with pytest.raises(ValueError, match=message):
        median_bounds(y, r, alpha)


def test_coverage_with_atoms():
    """Half of the mass at the top, as a saturated softmax has it: at radius 0 every truth is known by counting."""
    rng, N, top = np.random.default_rng(9), 101, 1.0
    y = np.sort(np.minimum(rng.uniform(0.0, 2.0, size=(REPEATS, N)), top), axis=1)
    misses_of = lambda bounds, low, high: (np.mean(bounds.lower > high), np.mean(bounds.upper < low))  # noqa: E731
    allowed = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / REPEATS)
    D = quad(lambda u: abs(min(2 * u, top) - top), 0, 1)[0]  # the median is 1
    for bounds, truth in (
        (median_bounds(y, 0.0, ALPHA, (0.0, top)), top),
        (ross_bounds(y, 0.0, ALPHA, GAIN, (0.0, top)), float(GAIN(top, D))),
        (ross_q_bounds(y, 0.0, ALPHA, GAIN, (0.0, top)), float(GAIN(top, top - 0.1))),
    ):
        assert max(misses_of(bounds, truth - 1e-9, truth + 1e-9)) <= allowed
