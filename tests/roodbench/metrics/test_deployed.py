"""The deployed detector's own guarantee: the median of a few noisy scores."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr, ndtri
from scipy.stats import binom, norm

import detectors
import roodbench
from roodbench.certify.sampling import noisy_scores
from roodbench.engine.worker import Worker
from roodbench.metrics.bounds import median_bounds
from roodbench.metrics.deployed import at_knots, at_most, band, deployed_auroc, knots, within_bands
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
    assert bound > truth - 0.15
    assert deployed_auroc(y_id, y_ood, 25, r, r, 1.0) == pytest.approx(truth, abs=0.02)
    assert deployed_auroc(y_id, y_ood, 25, 0, r, 1e-3) > bound
    gained = deployed_auroc(y_id, y_ood, 25, r, r, 1e-3, highest=lambda m: m + 0.3)
    assert gained < bound


def test_an_even_number_of_draws_has_no_bound():
    with pytest.raises(ValueError, match="copies 24: expected an odd number"):
        at_most(np.array([0.5]), 24, 0.1)


@pytest.mark.parametrize("N", [1, 2, 12, 39, 40, 41, 300, 1000, 10**4, 10**6])
def test_knots_are_mirrored_few_and_dense_at_the_ends(N):
    k = knots(N)
    assert len(k) <= 300
    assert (k + k[::-1] == N + 1).all()
    assert (k[:20] == np.arange(1, min(N, 20) + 1)).all()
    assert (np.diff(k) > 0).all()


def misses(N, alpha, runs, seed):
    """How often the true distribution function, uniform, leaves either side of its band anywhere."""
    u = np.sort(np.random.default_rng(seed).random((runs, N)), 1)[:, knots(N) - 1]
    least, most = band(N, alpha)
    # below the next knot's score F comes up to it; at a knot's score it is its least
    return (u > most[:-1]).any(1).mean(), (u < least[1:]).any(1).mean()


@pytest.mark.parametrize("alpha", [0.3, 0.05])
@pytest.mark.parametrize("N", [25, 400])
def test_the_band_holds_everywhere_at_once(N, alpha):
    runs = 4000
    for missed in misses(N, alpha, runs, seed=N):
        assert missed <= alpha + 3 * (alpha / runs) ** 0.5
        assert missed > alpha / 10  # and is not much wider than it must be


def expected_auroc(gap, n, r):
    """P(the median of n of N(gap - r, 1) is above that of n of N(r, 1)), by quadrature: the worst case of a linear
    score whose clean means lie `gap` sigma apart."""

    def above(t):
        return binom.cdf((n - 1) // 2, n, norm.cdf(t - gap + r))

    def density(t):
        p = norm.cdf(t - r)
        return n * binom.pmf((n - 1) // 2, n - 1, p) * norm.pdf(t - r)

    return quad(lambda t: above(t) * density(t), r - 3, r + 3, epsabs=1e-10)[0]


def excesses(r, gap, N, alpha, runs, images=3, seed=0):
    """How often the bound of a linear score is above its closed form."""
    rng, truth = np.random.default_rng(seed), expected_auroc(gap, 25, r)
    draw = lambda mean: np.sort(rng.normal(mean, 1, (images, N)), 1)  # noqa: E731
    found = np.array([deployed_auroc(draw(gap), draw(0.0), 25, r, r, alpha / (2 * images)) for _ in range(runs)])
    return np.mean(found > truth)


@pytest.mark.parametrize(("r", "gap"), [(0.1, 0.5), (2.08, 4.3)])
def test_the_bound_is_below_the_closed_form(r, gap):
    assert excesses(r, gap, 400, 0.2, 60) <= 0.2 + 3 * (0.2 * 0.8 / 60) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("r", "gap"), [(0.0, 0.3), (0.5, 1.2), (2.08, 4.3), (2.5, 5.1)])
def test_the_bound_is_above_the_closed_form_less_often_than_alpha(r, gap):
    assert excesses(r, gap, 2000, 0.05, 2000) <= 0.05


def with_dkw(y_id, y_ood, r, alpha):
    """The bound with a band of constant width, from the inequality of Dvoretzky, Kiefer and Wolfowitz."""
    F, w = np.arange(y_id.shape[1] + 1) / y_id.shape[1], math.sqrt(math.log(2 / alpha) / (2 * y_id.shape[1]))
    return within_bands(y_id, y_ood, np.clip(F + w, 0, 1), np.clip(F - w, 0, 1), 25, r, r)


def test_far_from_the_image_the_band_keeps_most_and_dkw_nothing():
    """r = 2.08, a linear score: the population's bound is 1, since all means are alike."""
    rng, r, alpha = np.random.default_rng(3), 0.25 / 0.12, 1e-5
    y_id, y_ood = (np.sort(rng.normal(mean, 1, (2, 10_000)), 1) for mean in (5.0, 0.0))
    assert with_dkw(y_id, y_ood, r, alpha) < 0.2
    truth = expected_auroc(5.0, 25, r)
    assert truth - 0.15 < deployed_auroc(y_id, y_ood, 25, r, r, alpha) < truth


@pytest.mark.slow
def test_digits_at_two_sigma_and_a_half():
    """GEN, sigma 0.12, 50 + 50 images, 10,000 draws, alpha 0.001 over all 150: r = 2.08 and 2.5."""
    bench = roodbench.load_benchmark("digits", limit=50, ood=["unseen-digits"])
    net = roodbench.load_model("digits-cnn")
    sampler = Worker(detectors.create("median", net, base="gen", copies=1, sigma=0.12))
    y_id, y_ood = (np.sort(noisy_scores(sampler, s, 10_000), 1) for s in (bench.id_test, bench.ood["unseen-digits"]))
    found = {}
    for radius in (0.25, 0.3):
        r, alpha = radius / 0.12, 1e-3 / 150
        population = gauroc(median_bounds(y_id, r, alpha).lower, median_bounds(y_ood, r, alpha).upper)
        found[radius] = population, deployed_auroc(y_id, y_ood, 25, r, r, alpha), with_dkw(y_id, y_ood, r, alpha)
    assert found[0.25] == pytest.approx((0.782, 0.766, 0.069), abs=0.01)
    assert found[0.3] == pytest.approx((0.66, 0.585, 0.0), abs=0.01)


def test_the_knots_are_all_that_the_bound_needs():
    rng = np.random.default_rng(4)
    y_id, y_ood = (np.sort(rng.normal(mean, 1, (3, 1000)), 1) for mean in (1.0, 0.0))
    most, least = band(1000, 1e-3)[1], band(1000, 1e-3)[0]
    found = within_bands(at_knots(y_id), at_knots(y_ood), most, least, 25, 0.1, 0.1)
    assert found == deployed_auroc(y_id, y_ood, 25, 0.1, 0.1, 1e-3)
