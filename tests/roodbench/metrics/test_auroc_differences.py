"""Paired differences of AUROCs and their intervals, by hand and by simulation."""

import numpy as np
import pytest
from scipy.stats import norm, t

from roodbench import metrics


def test_paired_difference_is_tighter_than_unpaired():
    rng = np.random.default_rng(2)
    i, o = rng.normal(1, 1, 100), rng.normal(0, 1, 100)
    a, b = metrics.components(i, o), metrics.components(i - 0.2, o + rng.normal(0, 0.05, 100))
    gap, error, low = metrics.paired_gap(a, b)
    assert gap == pytest.approx(a.value - b.value)
    assert error < np.hypot(a.standard_error(), b.standard_error()) / 2
    assert low == pytest.approx(gap - t.ppf(0.95, a.minus(b).degrees()) * error, abs=1e-6)
    assert metrics.paired_gap(a, a) == (0.0, 0.0, pytest.approx(-(1 - 0.05**0.01)))


def test_a_large_gap_has_a_normal_lower_end():
    rng = np.random.default_rng(2)
    i, o = rng.normal(2, 1, 1000), rng.normal(0, 1, 1000)
    gap, error, low = metrics.paired_gap(metrics.components(i, o), metrics.components(i - 1.5, o))
    assert low == pytest.approx(gap - norm.ppf(0.95) * error, abs=2e-3 * error)


def test_a_total_collapse_has_an_interval_too():
    clean, fallen = (metrics.components(np.arange(20) + shift, np.arange(20.0)) for shift in (100.0, -100.0))
    assert clean.minus(fallen).interval().ci == [pytest.approx(1 - 2 * (1 - 0.05 ** (1 / 20))), 1.0]  # two misses


def test_a_difference_of_few_images_holds_what_the_others_may_hide():
    """One of 100 ID images passes one of 100 OOD images: 99 of either show nothing, and 3% of such may do anything."""
    i, o = np.arange(100) + 100.0, np.append(np.zeros(99), 99.5)
    gap = metrics.components(i, o).minus(metrics.components(np.append(i[1:], 99.0), o))
    assert gap.value == pytest.approx(1e-4)
    miss = 0.99 * (1 - 0.05 ** (1 / 100))
    assert gap.interval().ci == pytest.approx([1e-4 - miss * 1.0001, 1e-4 + miss * 0.9999], abs=1e-12)


def test_a_difference_that_all_images_show_hides_nothing():
    rng = np.random.default_rng(9)
    i, o = rng.normal(0.3, 1, 100), rng.normal(0, 1, 100)
    gap = metrics.components(i, o).minus(metrics.components(i - 0.3, o))
    half = t.ppf(0.975, gap.degrees()) * gap.standard_error()
    assert half < 1 - 0.05 ** (1 / 100)
    assert gap.interval().ci == pytest.approx([gap.value - half, gap.value + half], abs=2e-3)


def test_still_images_are_counted_in_groups_of_unequal_size():
    first = np.array([0, 0, 0, 3, 4, 5])
    i, o = np.array([9.0, 9.0, 9.0, 9.0, 9.0, 1.0]), np.array([0.0, 2.0])
    gap = metrics.components(i, o, (first, None)).minus(metrics.components(i + 2 * (first == 5), o, (first, None)))
    assert gap.value == pytest.approx(-1 / 12)
    assert gap.still() == 3 / 4  # of four groups


@pytest.mark.parametrize("sign", [1, -1], ids=["the same effect", "opposed effects"])
def test_noise_that_both_scores_of_a_draw_share_enters_their_difference_once(sign):
    """Ten draws of a shift of all ID images, in the second score too: its spread over repetitions is the error."""
    rng = np.random.default_rng(14)

    def once():
        i, o, shift = rng.normal(1.5, 1, (1, 100)), rng.normal(0, 1, (1, 100)), rng.normal(0, 0.7, (10, 1))
        o = o + np.zeros((10, 1))
        return metrics.components(i + shift, o).minus(metrics.components(i - 0.3 + sign * shift, o))

    found = [once() for _ in range(120)]
    assert np.mean([f.standard_error() for f in found]) == pytest.approx(np.std([f.value for f in found]), rel=0.15)


def test_a_difference_to_a_metric_of_one_draw_takes_it_for_every_draw():
    rng = np.random.default_rng(15)
    i, o = rng.normal(1, 1, (3, 20)), rng.normal(0, 1, (3, 20))
    several, one = metrics.components(i, o), metrics.components(i[0], o[0])
    three = metrics.components(np.tile(i[0], (3, 1)), np.tile(o[0], (3, 1)))
    assert several.minus(one).interval().ci == pytest.approx(several.minus(three).interval().ci, abs=1e-12)
    with pytest.raises(ValueError, match="3 draws of one metric but 2 of the other: expected as many, or one"):
        several.minus(metrics.components(i[:2], o[:2]))


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
