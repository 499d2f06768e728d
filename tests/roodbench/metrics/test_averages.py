"""Means over OOD sets that share images: how often their intervals hold the truth, by simulation."""

import numpy as np
import pytest
from scipy.stats import norm

from roodbench import metrics
from roodbench.metrics.paired import by_both, worst_test

ID, SAMPLES = 500, 300
SETS = {
    "one set thrice": [np.arange(80)] * 3,
    "half of either": [np.arange(80), np.arange(40, 120)],
    "a part of a larger one": [np.arange(80), np.arange(240)],
}
"""Which images of a pool OOD sets have."""


def sample(rng, sets, draws=1, noise=0.0):
    """The AUROC of each set against the same ID images, with and without numbers of images; the truth is 0.8."""
    pool = rng.normal(0, 1, (1, 240))
    scores = (1 - noise) ** 0.5 * pool + noise**0.5 * rng.normal(0, 1, (draws, 240))
    own = rng.normal(norm.ppf(0.8) * 2**0.5, 1, (draws, ID))
    alone = [metrics.components(own, scores[:, its]) for its in sets]
    return [metrics.components(own, scores[:, its], (None, its)) for its in sets], alone


@pytest.mark.parametrize(("name", "draws", "noise"), [*((name, 1, 0.0) for name in SETS), ("half of either", 5, 0.4)])
def test_intervals_hold_as_often_as_they_say(name, draws, noise):
    """Taken for different images, 78 to 92% of them do."""
    rng, held = np.random.default_rng(0), np.zeros(2)
    for _ in range(SAMPLES):
        found = [metrics.average(parts).interval() for parts in sample(rng, SETS[name], draws, noise)]
        held += [its.low <= 0.8 <= its.high for its in found]
    known, unknown = held / SAMPLES
    assert known > 0.92 >= unknown
    assert known - unknown > 0.03


def test_one_set_twice_is_as_sure_as_once():
    once, _ = sample(np.random.default_rng(1), [np.arange(80)])
    (alone,) = once
    twice = metrics.average([alone, alone])
    assert twice.standard_error() == pytest.approx(alone.standard_error())
    assert twice.degrees() == pytest.approx(alone.degrees())
    assert not metrics.average([alone, alone]).minus(twice).standard_error()


def test_sets_without_a_common_image_are_as_they_were():
    its, alone = sample(np.random.default_rng(1), [np.arange(80), np.arange(80, 200)])
    assert metrics.average(its).interval() == metrics.average(alone).interval()
    assert not metrics.average(its).overlap


def test_worst_cases_on_one_set_of_two_names_are_paired_by_its_images():
    rng = np.random.default_rng(2)
    own, pool = rng.normal(1, 1, 400), rng.normal(0, 1, 200)
    near = pool + rng.normal(0, 0.3, 200)
    first, second = ([metrics.components(own, s, (None, np.arange(200)))] for s in (pool, near + 0.15))
    one = by_both(first[0], second[0], same=True)
    assert by_both(first[0], second[0], same=False) == pytest.approx(one)
    apart = metrics.components(own, near + 0.15, (None, np.arange(200, 400)))
    assert by_both(first[0], apart, same=False) > 10 * one


def test_numbers_only_say_which_images_are_one():
    """Records of other OOD sets number an image otherwise: their detectors are still paired by image."""
    rng = np.random.default_rng(3)
    own, ood = rng.normal(1, 1, 30), np.repeat(rng.normal(0, 1, 20), 2)
    numbers = [np.repeat(places, 2) for places in (np.arange(20), rng.permutation(20))]
    first, second = (metrics.components(own, ood, (None, its)) for its in numbers)
    assert [v.tolist() for v in first.v_ood] == [v.tolist() for v in second.v_ood]
    rates = [metrics.resample(metrics.fpr95_ood, own, ood, (None, its)).again for its in numbers]
    assert rates[0].tolist() == rates[1].tolist()


def test_records_of_sets_in_another_order_are_of_the_same_images():
    """Each numbers its images in its own order; what one says of them is true of both, also where one says nothing."""
    rng = np.random.default_rng(4)
    own, near, far = rng.normal(1, 1, 60), rng.normal(0, 1, 40), rng.normal(-0.5, 1, 40)
    places, later = np.arange(40), np.arange(40, 80)

    def found(gain, numbers):
        scores = [(near + gain * rng.normal(0, 1, 40)), (far + gain * rng.normal(0, 1, 40))]
        return [
            [metrics.components(own, s, (None, its)) for s, its in zip(scores, its, strict=True)] for its in numbers
        ]

    first, _ = found(0.0, [(places, later)] * 2)
    second, turned = found(0.4, [(places, later), (later, places)])
    assert worst_test(first, turned) == worst_test(first, second)
    one, other = ([metrics.average(its) for its in found(gain, [(places, places), (None, None)])] for gain in (0, 0.4))
    known = one[0].minus(other[0]).standard_error()
    assert known != one[1].minus(other[1]).standard_error()
    assert one[0].minus(other[1]).standard_error() == one[1].minus(other[0]).standard_error() == known
