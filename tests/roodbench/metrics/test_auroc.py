"""The AUROC and its intervals against scikit-learn, brute force and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score

from roodbench import metrics
from roodbench.metrics.auroc import LEVEL, ONE_SIDED, TWO_SIDED
from tests.roodbench.metrics.samples import population


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_auroc_matches_scikit_learn(seed, ties):
    i, o = population(seed, ties)
    is_id, scores = np.repeat([1, 0], [len(i), len(o)]), np.concatenate([i, o])
    assert metrics.auroc(i, o) == pytest.approx(roc_auc_score(is_id, scores), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_placement_values_are_differences_of_mid_ranks(seed, ties):
    i, o = population(seed, ties)
    together = rankdata(np.concatenate([i, o]))
    v_id, v_ood = metrics.placement_values(i, o)
    assert v_id == pytest.approx((together[: len(i)] - rankdata(i)) / len(o), abs=1e-12)
    assert v_ood == pytest.approx(1 - (together[len(i) :] - rankdata(o)) / len(i), abs=1e-12)


def test_auroc_counts_pairs():
    i, o = population(3, True)
    wins = np.mean([(a > b) + (a == b) / 2 for a in i for b in o])
    assert metrics.auroc(i, o) == pytest.approx(wins, abs=1e-12)


def test_auroc_of_huge_and_tiny_scores_is_rank_based():
    i, o = np.array([1e10, 1e10 + 1e-3, 2.0]), np.array([1e10, 1.0 - 1e-12, 1.0])
    assert metrics.auroc(i, o) == pytest.approx(np.mean([[a > b or (a == b) / 2 for b in o] for a in i]))


def test_auroc_of_draws_is_the_mean_of_aurocs():
    rng = np.random.default_rng(0)
    i, o = rng.normal(1, 1, (10, 30)), rng.normal(0, 1, (10, 40))
    assert metrics.auroc(i, o) == pytest.approx(np.mean([metrics.auroc(a, b) for a, b in zip(i, o, strict=True)]))
    assert metrics.auroc(i, o) != pytest.approx(metrics.auroc(i.mean(0), o.mean(0)), abs=1e-3)


def test_the_written_quantiles_are_those_of_the_level():
    assert pytest.approx(norm.ppf([0.5 + LEVEL / 2, LEVEL]), rel=1e-15) == [TWO_SIDED, ONE_SIDED]


def test_delong_interval_covers_the_truth():
    """Gaussian scores a standard deviation apart: AUROC = Phi(1 / sqrt 2)."""
    rng, truth, hits, repeats = np.random.default_rng(0), norm.cdf(1 / 2**0.5), 0, 600
    for _ in range(repeats):
        e = metrics.components(rng.normal(1, 1, 60), rng.normal(0, 1, 80)).interval()
        hits += e.low <= truth <= e.high
    assert abs(hits / repeats - 0.95) < 3 * (0.95 * 0.05 / repeats) ** 0.5 + 0.01


def test_delong_variance_matches_the_bootstrap():
    rng = np.random.default_rng(1)
    i, o = rng.normal(1, 1, 80), rng.normal(0, 1, 60)
    again = [metrics.auroc(rng.choice(i, 80), rng.choice(o, 60)) for _ in range(1500)]
    assert metrics.components(i, o).standard_error() == pytest.approx(np.std(again), rel=0.1)


def test_paired_difference_is_tighter_than_unpaired():
    rng = np.random.default_rng(2)
    i, o = rng.normal(1, 1, 100), rng.normal(0, 1, 100)
    a, b = metrics.components(i, o), metrics.components(i - 0.2, o + rng.normal(0, 0.05, 100))
    gap, error, low = metrics.paired_gap(a, b)
    assert gap == pytest.approx(a.value - b.value)
    assert error < np.hypot(a.standard_error(), b.standard_error()) / 2
    assert low == pytest.approx(gap - norm.ppf(0.95) * error)
    assert metrics.paired_gap(a, a)[:2] == (0.0, 0.0)


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_noise_of_draws_enters_the_standard_error_once(shared):
    """Noise of each image, and noise that all ID images of a draw share, against the spread over repetitions."""
    rng = np.random.default_rng(3)

    def once():
        i, o = rng.normal(1, 1, 50), rng.normal(0, 1, 50)
        together = shared * rng.normal(size=(10, 1))
        return metrics.components(i + rng.normal(0, 2, (10, 50)) + together, o + rng.normal(0, 2, (10, 50)))

    found = [once() for _ in range(800)]
    assert np.mean([c.standard_error() for c in found]) == pytest.approx(np.std([c.value for c in found]), rel=0.1)


@pytest.mark.parametrize("n", [10, 100])
def test_perfect_separation_has_a_one_sided_binomial_bound(n):
    perfect = metrics.components(np.arange(n) + 1000.0, np.arange(n + 5.0)).interval()
    assert perfect.ci == [pytest.approx(0.05 ** (1 / n)), 1.0]
    inverted = metrics.components(np.arange(n) - 1000.0, np.arange(n + 5.0)).interval()
    assert inverted.ci == [0.0, pytest.approx(1 - 0.05 ** (1 / n))]


def test_average_over_sets():
    rng = np.random.default_rng(4)
    i, a, b = rng.normal(1, 1, 50), rng.normal(0, 1, 60), rng.normal(-1, 1, 70)
    mean = metrics.average([metrics.components(i, a), metrics.components(i, b)])
    assert mean.value == pytest.approx((metrics.auroc(i, a) + metrics.auroc(i, b)) / 2)

    def resampled():
        j = rng.choice(i, 50)
        return (metrics.auroc(j, rng.choice(a, 60)) + metrics.auroc(j, rng.choice(b, 70))) / 2

    assert mean.standard_error() == pytest.approx(np.std([resampled() for _ in range(1500)]), rel=0.1)


def test_average_over_a_perfect_set_is_no_narrower_than_without_its_certainty():
    rng = np.random.default_rng(0)
    id_scores, near, far = rng.normal(2, 1, 50), rng.normal(0, 1, 50), np.full(50, -9.0)
    parts = [metrics.components(id_scores, near), metrics.components(id_scores, far)]
    low_near, low_far = (p.value - p.interval().low for p in parts)
    mean = metrics.average(parts)
    assert mean.value - mean.interval().low == pytest.approx(np.hypot(low_near, low_far) / 2, rel=1e-9)
    perfect = metrics.average([parts[1], parts[1]])
    assert perfect.interval().low == pytest.approx(0.05 ** (1 / 50), abs=1e-12)


def test_a_total_collapse_has_an_interval_too():
    clean, fallen = (metrics.components(np.arange(20) + shift, np.arange(20.0)) for shift in (100.0, -100.0))
    assert clean.minus(fallen).interval().ci == [pytest.approx(1 - 2 * (1 - 0.05 ** (1 / 20))), 1.0]  # two misses


def test_bad_scores_are_errors():
    with pytest.raises(ValueError, match="score of image 1 is nan"):
        metrics.auroc(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="score of image 0 is inf"):
        metrics.auroc(np.array([1.0, 2.0]), np.array([np.inf, 2.0]))
    with pytest.raises(ValueError, match="1 images in a population: expected at least 2"):
        metrics.auroc(np.array([1.0]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="2 draws of ID scores but 1"):
        metrics.auroc(np.zeros((2, 3)), np.zeros(3))


def test_a_difference_of_exactly_one_is_bounded_by_two_misses():
    """99 of 100 ID images change sides for sure: of a true difference of 0.97 the sample shows 1 in 22% of cases."""
    ones, zeros = np.ones(100), np.zeros(100)
    gap = metrics.components(2 * ones, ones).minus(metrics.components(zeros, ones))
    assert gap.value == 1.0
    miss = 1 - 0.05 ** (1 / 100)
    assert gap.interval().low == pytest.approx(1 - 2 * miss)
    assert gap.interval().low < 0.97
    same = metrics.components(2 * ones, ones)
    assert same.minus(same).interval().low == pytest.approx(-miss)
    assert same.interval().low == pytest.approx(1 - miss)
