"""Metrics against scikit-learn, brute force and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score, roc_curve

from roodbench import metrics


def population(seed, ties):
    rng = np.random.default_rng(seed)
    id_scores, ood = rng.normal(0.7, 1, rng.integers(2, 60)), rng.normal(0, 1, rng.integers(2, 60))
    return (np.round(id_scores), np.round(ood)) if ties else (id_scores, ood)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_metrics_match_scikit_learn(seed, ties):
    i, o = population(seed, ties)
    y, s = np.repeat([1, 0], [len(i), len(o)]), np.concatenate([i, o])
    assert metrics.auroc(i, o) == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    fpr, tpr, _ = roc_curve(1 - y, -s, drop_intermediate=False)
    assert metrics.fpr95_ood(i, o) == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=1e-12)
    precision, recall, _ = precision_recall_curve(y, s)
    assert metrics.aupr_in(i, o) == pytest.approx(auc(recall, precision), abs=1e-12)
    precision, recall, _ = precision_recall_curve(1 - y, -s)
    assert metrics.aupr_out(i, o) == pytest.approx(auc(recall, precision), abs=1e-12)


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


def test_thresholds():
    i = np.arange(100.0)
    assert metrics.threshold95(i) == 5.0
    assert metrics.fpr95_id(i, np.array([4.9, 5.0, 6.0, -1.0])) == 0.5
    assert metrics.fpr95_ood(i, np.arange(20.0)) == 0.19  # the threshold 18 flags 19 of 20 OOD and ID 0..18


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


def test_bootstrap_is_as_wide_as_the_value_varies():
    """Ten draws: the interval belongs to their mean, not to one of them."""
    rng = np.random.default_rng(5)

    def once():
        return rng.normal(1, 0.5, (1, 150)) + rng.normal(0, 2, (10, 150)), rng.normal(0, 2.1, (10, 150))

    values = [metrics.over_draws(metrics.fpr95_id, *once()) for _ in range(300)]
    widths = [np.ptp([e.low, e.high]) for e in (metrics.bootstrap(metrics.fpr95_id, *once()) for _ in range(20))]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(values), rel=0.25)


def test_bootstrap_of_a_certain_share_has_a_binomial_bound():
    estimate = metrics.bootstrap(metrics.fpr95_id, np.arange(50) + 100.0, np.arange(40.0))
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(1 - 0.05 ** (1 / 40))


def test_a_total_collapse_has_an_interval_too():
    clean, fallen = (metrics.components(np.arange(20) + shift, np.arange(20.0)) for shift in (100.0, -100.0))
    assert clean.minus(fallen).interval(-1.0).ci == [pytest.approx(0.05 ** (1 / 20)), 1.0]


def test_bad_scores_are_errors():
    with pytest.raises(ValueError, match="score of image 1 is nan"):
        metrics.auroc(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="score of image 0 is inf"):
        metrics.auroc(np.array([1.0, 2.0]), np.array([np.inf, 2.0]))
    with pytest.raises(ValueError, match="1 images in a population: expected at least 2"):
        metrics.auroc(np.array([1.0]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="2 draws of ID scores but 1"):
        metrics.auroc(np.zeros((2, 3)), np.zeros(3))
