"""The AUROC and its intervals against scikit-learn, brute force and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata, t
from sklearn.metrics import roc_auc_score

from roodbench import metrics
from roodbench.metrics.intervals import LEVEL, ONE_SIDED, TWO_SIDED, student, within
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


def test_average_over_a_perfect_set_holds_what_its_images_may_hide():
    rng = np.random.default_rng(0)
    id_scores, near, far = rng.normal(2, 1, 50), rng.normal(0, 1, 50), np.full(50, -9.0)
    parts = [metrics.components(id_scores, near), metrics.components(id_scores, far)]
    mean, near_alone = metrics.average(parts), parts[0].interval()
    assert mean.interval().low == pytest.approx(0.05 ** (1 / 50) * mean.value, abs=1e-12)
    assert mean.interval().high - mean.value > (near_alone.high - near_alone.value) / 2 - 1e-3
    perfect = metrics.average([parts[1], parts[1]])
    assert perfect.interval().low == pytest.approx(0.05 ** (1 / 50), abs=1e-12)


def logit_interval(value, error, quantile):
    odds = np.log(value / (1 - value)) + np.array([-1, 1]) * quantile * error / (value * (1 - value))
    return (1 / (1 + np.exp(-odds))).tolist()


def test_an_interval_is_symmetric_in_the_log_odds():
    """900 pairs by hand: v of 29 ID images is 1, of one 1/2; w of 15 OOD images is 1, of 15 is 29/30."""
    i, o = np.append(np.full(29, 9.0), 2.0), np.repeat([1.0, 3.0], 15)
    found = metrics.components(i, o)
    variance = [(29 / 30) * 0.5**2 / 29 / 30, (1 / 30) ** 2 / 4 * 30 / 29 / 30]
    degrees = sum(variance) ** 2 * 29 / (variance[0] ** 2 + variance[1] ** 2)
    assert (found.value, found.degrees()) == (pytest.approx(885 / 900), pytest.approx(degrees))
    low, high = logit_interval(885 / 900, sum(variance) ** 0.5, t.ppf(0.975, degrees))
    assert found.interval().ci == pytest.approx([low, high], abs=1e-6)
    assert low < 885 / 900 * 0.05 ** (1 / 30)  # where a tenth of the images is unseen


@pytest.mark.parametrize("value", [0.5, 0.93])
def test_many_images_have_the_plain_logit_interval(value):
    rng = np.random.default_rng(0)
    found = metrics.components(rng.normal(norm.ppf(value) * 2**0.5, 1, 2000), rng.normal(0, 1, 2000))
    expected = logit_interval(found.value, found.standard_error(), t.ppf(0.975, found.degrees()))
    assert found.interval().ci == pytest.approx(expected, abs=1e-9)


def test_a_constant_score_has_the_interval_of_what_may_hide():
    """All pairs tied: more than 1 - 0.05^(1/20) of untied ones would have shown, and each moves AUROC by a half."""
    found = metrics.components(np.zeros(20), np.zeros(50)).interval()
    half = (1 - 0.05 ** (1 / 20)) / 2
    assert (found.value, *found.ci) == (0.5, pytest.approx(0.5 - half), pytest.approx(0.5 + half))


@pytest.mark.parametrize("degrees", [1, 2.5, 3.99, 4, 5, 9, 12.3, 29, 198, 1e6])
def test_students_quantile_is_that_of_scipy(degrees):
    error = 2e-5 if degrees >= 9 else 1e-3
    assert student(TWO_SIDED, degrees) == pytest.approx(t.ppf(0.975, degrees), abs=error)
    assert student(ONE_SIDED, degrees) == pytest.approx(t.ppf(0.95, degrees), abs=error)
    assert student(TWO_SIDED, np.inf) == TWO_SIDED


def test_an_interval_never_leaves_its_range():
    assert within(0.5, 1e9, 0.1).ci == [pytest.approx(0.0), pytest.approx(1.0)]
    assert within(0.2, 3.0, 0.1, lowest=-1.0).ci == [-1.0, 1.0]
    assert within(1.0, 0.0, 0.1).ci == [0.9, 1.0]


def test_shared_noise_of_few_draws_has_students_quantile():
    """All variance is what draws share, so it has R - 1 = 3 degrees of freedom, less than any of 1000 images'."""
    rng = np.random.default_rng(5)
    i, o = rng.normal(0, 1, (1, 1000)), rng.normal(0, 1, (1, 1000))
    found = metrics.components(i + np.array([[-2.0], [0.0], [1.0], [3.0]]), o + np.zeros((4, 1)))
    shared, _ = found.shared()
    assert shared > 100 * (found.standard_error() ** 2 - shared)
    assert found.degrees() == pytest.approx(3, rel=0.05)
    assert metrics.components(i, o).degrees() > 1000


def clustered_error(i, o, first_id, first_ood):
    """Obuchowski (1997): sums of DeLong's components over each cluster, the populations independent."""
    value = np.mean([(a > b) + (a == b) / 2 for a in i for b in o])
    v = [np.mean([(a > b) + (a == b) / 2 for b in o]) - value for a in i]
    w = [np.mean([(a > b) + (a == b) / 2 for a in i]) - value for b in o]
    variance = 0.0
    for parts, first in ((v, first_id), (w, first_ood)):
        clusters = {head: sum(x for x, f in zip(parts, first, strict=True) if f == head) for head in first}
        k = len(clusters)
        variance += k / (k - 1) * sum(total**2 for total in clusters.values()) / len(parts) ** 2
    return variance**0.5


def test_images_of_a_group_are_one_cluster():
    rng = np.random.default_rng(6)
    first_id, first_ood = np.array([0, 0, 2, 2, 2, 5, 6]), np.array([0, 1, 0, 3, 3, 1])
    i, o = rng.normal(1, 1, 7), np.round(rng.normal(0, 1, 6), 1)
    found = metrics.components(i, o, (first_id, first_ood))
    assert found.value == pytest.approx(metrics.auroc(i, o), abs=1e-12)
    assert found.standard_error() == pytest.approx(clustered_error(i, o, first_id, first_ood), rel=1e-12)
    assert (found.fewest(), found.unseen()) == (3, pytest.approx(1 - 0.05 ** (1 / 3)))


@pytest.mark.parametrize("often", [np.tile, np.repeat], ids=["the list eight times", "each line eight times"])
@pytest.mark.parametrize("draws", [1, 3])
def test_a_list_with_every_line_eight_times_has_the_interval_of_the_list(often, draws):
    rng = np.random.default_rng(7)
    i, o = rng.normal(1, 1, (draws, 40)), rng.normal(0, 1, (draws, 25))
    again = [np.stack([often(row, 8) for row in scores]) for scores in (i, o)]
    groups = tuple(
        np.unique(scores[0], return_index=True)[1][np.unique(scores[0], return_inverse=True)[1]] for scores in again
    )
    once, eight = metrics.components(i, o), metrics.components(*again, groups)
    assert eight.interval().ci == pytest.approx(once.interval().ci, abs=1e-12)
    other = metrics.components(*again, (groups[0], groups[1] + 1000))  # numbers of no image of the first
    assert metrics.average([eight, other]).interval().ci == pytest.approx(
        metrics.average([once, once]).interval().ci, abs=1e-12
    )
    assert eight.minus(eight).interval().ci == pytest.approx(once.minus(once).interval().ci, abs=1e-12)
    if draws == 1:
        assert metrics.components(*again).interval().low > once.interval().low + 0.02


def test_images_that_are_all_the_same_say_next_to_nothing():
    found = metrics.components(np.ones(9), np.zeros(30), (np.zeros(9, dtype=int), None))
    assert found.interval().ci == [pytest.approx(0.05), 1.0]


def test_groups_of_another_length_are_an_error():
    with pytest.raises(ValueError, match=r"groups of shape \(3,\): expected \(2,\), one entry for each image"):
        metrics.components(np.ones(2), np.ones(2), (np.arange(3), None))


def test_bad_scores_are_errors():
    with pytest.raises(ValueError, match="score of image 1 is nan"):
        metrics.auroc(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="score of image 0 is inf"):
        metrics.auroc(np.array([1.0, 2.0]), np.array([np.inf, 2.0]))
    with pytest.raises(ValueError, match="1 image in a population: expected at least 2"):
        metrics.auroc(np.array([1.0]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="2 draws of ID scores but 1"):
        metrics.auroc(np.zeros((2, 3)), np.zeros(3))


def test_the_mean_over_id_sets_knows_which_images_are_copies():
    """Of the same images as of one set; of others the variances of two means add up, by the square of their weight."""
    rng = np.random.default_rng(0)
    ood, one, other = rng.normal(0, 1, 40), rng.normal(1, 1, 30), rng.normal(2, 2, 50)
    alone, also = metrics.components(one, ood), metrics.components(other, ood)
    twice = metrics.average_over_id([alone, alone], [range(30), range(30)])
    assert twice.value == alone.value
    assert twice.standard_error() == pytest.approx(alone.standard_error())
    both = metrics.average_over_id([alone, also], [range(30), range(30, 80)])
    assert both.value == pytest.approx((auroc_by_hand(one, ood) + auroc_by_hand(other, ood)) / 2)
    of_id = sum(part.v_id[0].var() / len(part.v_id[0]) for part in (alone, also)) / 4
    of_ood = ((alone.v_ood[0] + also.v_ood[0])[0] / 2).var(ddof=1) / 40
    assert both.standard_error() ** 2 == pytest.approx(of_id * 80 / 79 + of_ood)


def auroc_by_hand(own, other):
    return np.mean(own[:, None] > other)
