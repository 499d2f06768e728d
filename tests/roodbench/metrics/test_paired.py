"""DeLong's paired test against his own example, a bootstrap and what it must be; Holm's correction; ranges of ranks."""

from math import erf, erfc, sqrt

import numpy as np
import pytest

from roodbench.metrics import auroc, components
from roodbench.metrics.paired import by_error, holm, paired_test, rank_ranges, worst_of, worst_test

OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""
"""Albumin, total protein, K-G score and outcome of the 43 patients of DeLong et al. 1988 without a missing value."""


@pytest.fixture(scope="module")
def ovarian():
    data = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4)
    good = data[:, 3] == 1
    found = {"albumin": data[:, 0], "protein": data[:, 1], "K-G": -data[:, 2]}
    return {name: components(values[good], values[~good]) for name, values in found.items()}


def test_the_example_of_the_paper(ovarian):
    """Areas and standard errors, and the contrasts with the K-G score: published to four digits."""
    found = {name: (round(c.value, 4), round(c.standard_error(), 4)) for name, c in ovarian.items()}
    assert found == {"albumin": (0.7366, 0.0927), "protein": (0.6478, 0.1000), "K-G": (0.7258, 0.1028)}
    for name, gap, error, square, p in (
        ("albumin", 0.0108, 0.0953, 0.0127, 0.9102),
        ("protein", -0.0780, 0.1046, 0.5554, 0.4561),
    ):
        test = paired_test(ovarian[name], ovarian["K-G"])
        z = test.difference.value / test.error
        assert (round(test.difference.value, 4), round(test.error, 4)) == (gap, error)
        assert round(z**2, 4) == square
        assert round(erfc(abs(z) / sqrt(2)), 4) == p
        assert p < by_error(ovarian[name].minus(ovarian["K-G"])) < p + 0.02  # Student's, with fewer degrees of freedom


def brute_force(one, other):
    """The standard error of a difference of AUROCs from the definition: covariances of psi over all pairs."""

    def parts(id_scores, ood_scores):
        psi = (id_scores[:, None] > ood_scores[None]) + 0.5 * (id_scores[:, None] == ood_scores[None])
        return psi.mean(axis=1), psi.mean(axis=0)

    (a_id, a_ood), (b_id, b_ood) = parts(*one), parts(*other)
    s_id, s_ood = np.cov(a_id, b_id), np.cov(a_ood, b_ood)
    contrast = np.array([1.0, -1.0])
    return float(np.sqrt(contrast @ (s_id / len(a_id) + s_ood / len(a_ood)) @ contrast))


def correlated(seed, n=60, m=40):
    """Two detectors' scores of the same images, with ties."""
    rng = np.random.default_rng(seed)
    shared_id, shared_ood = rng.normal(1, 1, n), rng.normal(0, 1, m)
    return [
        tuple(np.round(shared + rng.normal(0, noise, len(shared)), 1) for shared in (shared_id, shared_ood))
        for noise in (0.3, 1.0)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_midranks_give_what_all_pairs_give(seed):
    one, other = correlated(seed)
    test = paired_test(components(*one), components(*other))
    assert test.error == pytest.approx(brute_force(one, other), abs=1e-14)
    assert test.difference.value == pytest.approx(auroc(*one) - auroc(*other), abs=1e-14)


def test_the_standard_error_is_the_bootstraps():
    one, other = correlated(5, n=150, m=120)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        i, j = rng.integers(0, 150, 150), rng.integers(0, 120, 120)
        found.append(auroc(one[0][i], one[1][j]) - auroc(other[0][i], other[1][j]))
    assert paired_test(components(*one), components(*other)).error == pytest.approx(np.std(found), rel=0.08)


def test_p_values_of_equal_detectors_are_uniform():
    """Two detectors of equal noise: 5% of tests say that they differ, within three standard errors."""
    rng, ps = np.random.default_rng(1), []
    for _ in range(400):
        id_scores, ood = rng.normal(1, 1, 60), rng.normal(0, 1, 60)
        both = [components(id_scores + rng.normal(0, 1, 60), ood + rng.normal(0, 1, 60)) for _ in range(2)]
        ps.append(paired_test(*both).p)
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 400))


@pytest.mark.parametrize("seed", range(20))
def test_test_and_interval_say_the_same(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(10, 80))
    id_scores, ood = rng.normal(2, 1, n), rng.normal(0, 1, n)
    both = [components(id_scores + rng.normal(0, s, n), ood + rng.normal(0, s, n)) for s in (0.1, 1.5)]
    test = paired_test(*both)
    if abs(test.p - 0.05) > 2e-3:  # the interval's quantile is an expansion
        assert (test.p < 0.05) == (test.difference.low > 0 or test.difference.high < 0)


def test_nothing_seen_is_nothing_proved():
    ood = np.zeros(30)
    perfect, nearly = components(ood + 2, ood), components(np.append(np.full(29, 2.0), -1.0), ood)
    assert paired_test(perfect, perfect).p == 1.0
    assert paired_test(perfect, nearly).p > 0.05  # one image of 30
    assert paired_test(perfect, components(ood, ood + 2)).p == pytest.approx(0.5**30)


def test_draws_enter_the_test():
    rng = np.random.default_rng(3)
    id_scores, ood = rng.normal(1, 1, 50), rng.normal(0, 1, 50)
    drawn = components(id_scores + rng.normal(0, 1, (10, 50)), ood + rng.normal(0, 1, (10, 50)))
    assert paired_test(drawn, components(id_scores, ood)).p < 0.5
    with pytest.raises(ValueError, match="10 draws of one metric but 3 of the other"):
        paired_test(drawn, components(np.stack([id_scores] * 3), np.stack([ood] * 3)))


def test_holm_by_hand():
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_ranks_hold_what_tests_leave():
    none = np.zeros((3, 3), dtype=bool)
    assert rank_ranges([0.5, 0.7, 0.7], none) == [(3, 1, 3), (1, 1, 3), (1, 1, 3)]
    assert rank_ranges([0.1, 0.5, 0.9], ~np.eye(3, dtype=bool)) == [(3, 3, 3), (2, 2, 2), (1, 1, 1)]


def drawn(rng, *means, n=40, draws=1):
    """AUROCs of detectors against OOD sets of these mean scores; of each image half of the score is shared."""
    images = [rng.normal(size=(1, n)) for _ in (0, *means[0])]
    found = []
    for its in means:
        scores = [0.5 * (x + rng.normal(size=(draws, n))) + mean for x, mean in zip(images, (0.75, *its), strict=True)]
        found.append([components(scores[0], ood) for ood in scores[1:]])
    return found


@pytest.mark.parametrize("means", [(0.0, 0.0), (0.0, -3.0), (0.0, 0.0, 0.0)], ids=str)
def test_equal_worst_cases_are_rarely_called_different(means):
    rng = np.random.default_rng(3)
    wrong = sum(worst_test(*drawn(rng, means, means, draws=draws)) < 0.05 for draws in (1, 3) for _ in range(40))
    assert wrong <= 8  # of 80: two standard deviations above 5%


def test_the_worst_set_may_be_another_one():
    """One detector fails on the first set, the other on the second: no set's AUROCs are alike, the worst cases are."""
    one, other = drawn(np.random.default_rng(0), (0.5, -2.0), (-2.0, 0.5))
    assert paired_test(one[0], other[0]).p < 1e-3
    assert paired_test(one[1], other[1]).p < 1e-3
    assert worst_test(one, other) > 0.05
    worse, better = drawn(np.random.default_rng(1), (1.6, -2.0), (-2.0, -0.5), n=100)
    assert worst_test(worse, better) == worst_test(better, worse) < 1e-3


def test_of_one_set_the_worst_case_is_its_auroc():
    one, other = drawn(np.random.default_rng(1), (0.0,), (0.3,))
    assert worst_test(one, other) == paired_test(one[0], other[0]).p
    assert (worst_of(one).value, worst_of(one).ci) == (one[0].value, one[0].interval().ci)


def test_the_interval_of_the_worst_case_holds_it():
    """Of three sets of the same AUROC, the lowest estimate is too low."""
    rng, truth = np.random.default_rng(5), 0.5 * (1 + erf(0.75 / 2**0.5))
    found = [worst_of(drawn(rng, (0.0, 0.0, 0.0), n=60)[0]) for _ in range(200)]
    assert np.mean([its.value for its in found]) < truth - 0.02
    assert sum(its.low <= truth <= its.high for its in found) >= 184
