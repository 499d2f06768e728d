"""FPR95, AUPR and their intervals against scikit-learn, a plain loop and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t
from sklearn.metrics import auc, precision_recall_curve, roc_curve

from roodbench import metrics
from roodbench.metrics import rates
from tests.roodbench.metrics.samples import population


def fpr_of_curve(is_positive, scores, **how):
    fpr, tpr, _ = roc_curve(is_positive, scores, **how)
    return fpr[np.argmax(tpr >= 0.95)]


def aupr_of_curve(is_positive, scores):
    precision, recall, _ = precision_recall_curve(is_positive, scores)
    return auc(recall, precision)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_rates_match_scikit_learn(seed, ties):
    i, o = population(seed, ties)
    is_id, scores = np.repeat([1, 0], [len(i), len(o)]), np.concatenate([i, o])
    of_curve = fpr_of_curve(1 - is_id, -scores, drop_intermediate=False)
    assert metrics.fpr95_ood(i, o) == pytest.approx(of_curve, abs=1e-12)
    assert metrics.aupr_in(i, o) == pytest.approx(aupr_of_curve(is_id, scores), abs=1e-12)
    assert metrics.aupr_out(i, o) == pytest.approx(aupr_of_curve(1 - is_id, -scores), abs=1e-12)


@pytest.mark.parametrize("i", [[1.0, 1.0, 1.0], [1.0, 1.0, 2.0], [0.0, 0.0, 1.0], [-0.0, 0.0, 2.0]])
@pytest.mark.parametrize("o", [[1.0, 1.0], [0.0, 1.0], [2.0, 2.0], [-5.0, 0.0]])
def test_areas_of_tied_scores_match_scikit_learn(i, o):
    i, o = np.array(i), np.array(o)
    is_id, scores = np.repeat([1, 0], [3, 2]), np.concatenate([i, o])
    assert metrics.aupr_in(i, o) == pytest.approx(aupr_of_curve(is_id, scores), abs=1e-12)
    assert metrics.aupr_out(i, o) == pytest.approx(aupr_of_curve(1 - is_id, -scores), abs=1e-12)


def test_thresholds():
    i = np.arange(100.0)
    assert metrics.threshold95(i) == 5.0
    assert metrics.fpr95_id(i, np.array([4.9, 5.0, 6.0, -1.0])) == 0.5
    assert metrics.fpr95_ood(i, np.arange(20.0)) == 0.19  # the threshold 18 flags 19 of 20 OOD and ID 0..18


def test_the_published_fpr95_skips_a_collinear_point():
    """The curve's last points (4/6, 19/21), (5/6, 20/21) and (1, 1) lie on a line: the middle one is dropped."""
    i, o = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 4.0]), np.repeat([0.0, 1.0, 2.0, 3.0, 4.0], [7, 7, 5, 1, 1])
    assert metrics.fpr95_ood(i, o) == 5 / 6
    assert metrics.fpr95_ood(i, o, published=True) == 1.0
    assert metrics.fpr95_ood(np.stack([i, i + 9]), np.stack([o, o]), published=True).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("metric", [metrics.fpr95_id, metrics.fpr95_ood, metrics.aupr_in, metrics.aupr_out])
def test_each_row_has_its_own_rate(metric):
    rng = np.random.default_rng(6)
    i, o = np.round(rng.normal(0.7, 1, (2, 3, 30)), 1), np.round(rng.normal(0, 1, (2, 3, 50)), 1)
    one_by_one = [[metric(i[a, b], o[a, b]) for b in range(3)] for a in range(2)]
    assert isinstance(one_by_one[0][0], float)
    assert metric(i, o).tolist() == one_by_one
    assert len(set(np.ravel(one_by_one))) > 1


@pytest.mark.parametrize(("n", "m"), [(40, 25), (700, 900)], ids=["one block", "many blocks"])
def test_resamples_are_a_loop_over_two_seeded_streams(n, m):
    rng, of_id, of_ood = np.random.default_rng(7), np.random.default_rng(0), np.random.default_rng([1, 4])
    i, o = np.round(rng.normal(1, 1, (3, n)), 2), np.round(rng.normal(0, 1, (3, m)), 2)
    is_ood, values = np.repeat([0, 1], [n, m]), []
    for _ in range(200):
        own, other = of_id.integers(0, n, n), of_ood.integers(0, m, m)
        scores = [np.concatenate([i[r, own], o[r, other]]) for r in range(3)]
        values.append([fpr_of_curve(is_ood, -s, drop_intermediate=False) for s in scores])
    found = metrics.resample(metrics.fpr95_ood, i, o, stream=4)
    assert found.again == pytest.approx(np.array(values), abs=1e-12)
    low, high = found.interval().ci
    assert low < found.draws.mean() < high


def test_the_interval_of_a_rate_is_symmetric_in_the_log_odds():
    rng = np.random.default_rng(8)
    found = metrics.resample(metrics.fpr95_id, rng.normal(1, 1, 900), rng.normal(0, 1, 1000))
    value, error = found.draws[0], np.std(found.again, ddof=1)
    odds = np.log(value / (1 - value)) + np.array([-1, 1]) * t.ppf(0.975, 899) * error / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-odds))
    inner = np.quantile(found.again, [0.025, 0.975])
    assert low < inner[0]
    assert found.interval().ci == pytest.approx([low, max(high, inner[1])], abs=1e-6)


@pytest.mark.parametrize("metric", [metrics.fpr95_id, metrics.fpr95_ood])
def test_the_interval_of_a_rate_holds_where_nearly_5_percent_of_images_fail(metric):
    """4.8% of one population lie far beyond: a sample's threshold is among these, or where the others begin."""
    rng, held = np.random.default_rng(18), 0
    truth = norm.sf(4 + norm.ppf((0.05 - 0.048) / (1 - 0.048)))
    for _ in range(60):
        own, other = rng.normal(4, 1, 400), rng.normal(0, 1, 400)
        own[rng.random(400) < 0.048] -= 100
        scores = (own, other) if metric is metrics.fpr95_id else (-other, -own)
        found = metrics.resample(metric, *scores).interval()
        held += found.low <= truth <= found.high
    assert held >= 54


def test_a_population_with_one_duplicate_is_resampled_by_groups():
    rng, first = np.random.default_rng(19), np.arange(9)
    first[4] = 1
    i, o = rng.normal(1, 1, 9), rng.normal(0, 1, 7)
    found = metrics.resample(np.vectorize(lambda i, o: i.mean(), signature="(n),(m)->()"), i, o, (first, None))
    of_id, groups = np.random.default_rng(0), [[0], [1, 4], [2], [3], [5], [6], [7], [8]]
    for value in found.again[:, 0]:
        assert value == pytest.approx(np.mean([i[one] for g in of_id.integers(0, 8, 8) for one in groups[g]]))


def test_noise_that_all_images_of_a_draw_share_widens_the_interval_of_a_rate():
    """The mean over draws varies with the shift of each draw, which resampled images alone do not show."""
    rng = np.random.default_rng(10)

    def once():
        shift = rng.normal(0, 0.5, (4, 1))
        return rng.normal(1, 1, (1, 200)) + rng.normal(0, 0.3, (4, 200)), rng.normal(0, 1, (1, 200)) + shift

    found = [metrics.resample(metrics.fpr95_id, *once()) for _ in range(60)]
    spread = np.std([metrics.fpr95_id(*once()).mean() for _ in range(400)])
    of_images = np.mean([f.again.mean(axis=1).std() for f in found])
    assert of_images < 0.8 * spread
    assert np.mean([np.ptp(f.interval().ci) for f in found]) > 2 * 1.96 * spread


@pytest.mark.parametrize("often", [np.tile, np.repeat], ids=["the list eight times", "each line eight times"])
@pytest.mark.parametrize("metric", [metrics.fpr95_id, metrics.fpr95_ood, metrics.aupr_in])
def test_a_list_with_every_line_eight_times_has_the_interval_of_the_list(often, metric):
    rng = np.random.default_rng(11)
    i, o = rng.normal(1, 1, 40), rng.normal(0, 1, 60)
    groups = tuple(often(np.arange(len(scores)), 8) for scores in (i, o))
    eight = metrics.resample(metric, often(i, 8), often(o, 8), groups).interval()
    assert eight.ci == pytest.approx(metrics.resample(metric, i, o).interval().ci, abs=1e-12)
    assert np.ptp(metrics.resample(metric, often(i, 8), often(o, 8)).interval().ci) < 0.7 * np.ptp(eight.ci)


def test_groups_of_unequal_size_are_resampled_whole():
    i, o = np.repeat([0.0, 1.0, 2.0], [1, 2, 5]), np.array([0.0, 1.0, 2.0])
    share_of_twos = np.vectorize(lambda i, o: np.mean(i == 2), signature="(n),(m)->()")
    found = metrics.resample(share_of_twos, i, o, (np.repeat([0, 1, 3], [1, 2, 5]), None)).again.ravel()
    possible = {5 * c / (a + 2 * b + 5 * c) for a in range(4) for b in range(4 - a) for c in [3 - a - b]}
    assert {round(share, 12) for share in found} == {round(share, 12) for share in possible}


def test_sets_that_share_their_id_images_share_their_resamples():
    """A rate of the ID images alone is the same on every resample, so that its mean over two sets varies as much."""
    rng = np.random.default_rng(12)
    i, near, far = rng.normal(1, 1, 50), rng.normal(0, 1, 50), rng.normal(-1, 1, 30)
    of_id, of_ood = (lambda i, o: np.mean(i > 1, axis=-1)), (lambda i, o: np.mean(o > 0, axis=-1))
    first, second = (metrics.resample(of_id, i, o, stream=s) for s, o in enumerate((near, far)))
    assert first.again.tolist() == second.again.tolist()
    first, second = (metrics.resample(of_ood, i, o, stream=s) for s, o in enumerate((near, near)))
    assert abs(np.corrcoef(first.again.ravel(), second.again.ravel())[0, 1]) < 0.2
    mean = metrics.average_rate([first, second])
    assert mean.again.ravel() == pytest.approx((first.again + second.again).ravel() / 2)
    assert mean.draws == (first.draws + second.draws) / 2


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", ["aupr_in", "aupr_out"])
def test_the_values_of_an_aupr_have_its_mean_and_the_bootstraps_variance(name, ties):
    rng = np.random.default_rng(13)
    i, o = rng.normal(1, 1, 80), rng.normal(0, 1, 120)
    i, o = (np.round(i, 1 - ties), np.round(o, 1 - ties)) if ties else (i, o)
    metric, values = getattr(metrics, name), getattr(metrics, f"{name}_values")
    assert [v.mean() for v in values(i, o)] == pytest.approx([metric(i, o)] * 2, abs=1e-12)
    again = [metric(rng.choice(i, 80), rng.choice(o, 120)) for _ in range(2000)]
    assert metrics.components(i, o, values=values).standard_error() == pytest.approx(np.std(again), rel=0.1)


def test_an_image_moves_an_aupr_by_its_derivative():
    """Weights of 1 + h and 1 - h / 3 on the scores, by the definition of the area: central differences."""
    i, o = np.array([3.0, 2.0, 2.0, 0.5]), np.array([2.0, 1.0, 0.0])

    def area(weights_id, weights_ood):
        recall, precision, total = [0.0], [1.0], weights_id.sum()
        for level in (3.0, 2.0, 1.0, 0.5, 0.0):
            p, f = weights_id[i >= level].sum(), weights_ood[o >= level].sum()
            recall.append(p / total)
            precision.append(p / (p + f))
        return auc(recall, precision)

    v_id, v_ood = metrics.aupr_in_values(i, o)
    for values, n, at in ((v_id, 4, 0), (v_ood, 3, 1)):
        for image in range(n):
            moved = []
            for h in (1e-5, -1e-5):
                weights = [np.ones(4), np.ones(3)]
                weights[at] = (1 - h) * np.ones(n) + h * n * np.eye(n)[image]
                moved.append(area(*weights))
            assert values[image] - values.mean() == pytest.approx((moved[0] - moved[1]) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("name", ["aupr_in", "aupr_out"])
def test_the_interval_of_a_perfect_aupr_holds_three_failures_that_its_images_may_hide(name):
    """With three images of the other side ahead of all 20, the k-th of these has precision k / (k + 3)."""
    values, n = getattr(metrics, f"{name}_values"), 20
    precision = np.arange(n + 1) / (np.arange(n + 1) + 3)
    found = metrics.components(np.arange(n) + 100.0, np.arange(n) - 100.0, values=values).interval()
    assert found.value == pytest.approx(1.0)
    assert found.low == pytest.approx((precision[1:] + precision[:-1]).mean() / 2, abs=1e-12)
    assert found.low < 1 - 0.1 * np.log(1.1 / 0.1) + 0.05  # the loss at a share of 0.1 is no 0.1, but 0.24


@pytest.mark.parametrize("n", [7, 30, 100, 1000])
def test_a_perfect_aupr_is_1_and_never_more(n):
    i, o = np.arange(n) + 1e4, np.arange(n) * 1.0
    assert metrics.aupr_in(i, o) == metrics.aupr_out(i, o) == 1.0
    for values in (metrics.aupr_in_values, metrics.aupr_out_values):
        found = metrics.components(i, o, values=values).interval()
        assert found.low < found.value <= found.high <= 1


@pytest.mark.parametrize(("name", "share"), [("aupr_in", 0.001), ("aupr_out", 0.001), ("aupr_in", 0.002)])
def test_the_interval_of_an_aupr_holds_where_a_few_of_a_thousand_images_fail(name, share):
    """Of separate scores a share a of negatives ahead of all positives leaves 1 - a ln((1 + a) / a)."""
    rng, truth, held = np.random.default_rng(16), 1 - share * np.log((1 + share) / share), 0
    for _ in range(150):
        positive, negative = np.arange(1000) + 100.0, np.arange(1000) - 2000.0
        negative[: rng.binomial(1000, share)] += 9000
        scores = (positive, negative) if name == "aupr_in" else (-negative, -positive)
        found = metrics.components(*scores, values=getattr(metrics, f"{name}_values")).interval()
        held += found.low <= truth <= found.high
    assert held / 150 > 0.88


def test_three_images_anywhere_take_no_more_than_three_ahead_of_all():
    rng = np.random.default_rng(17)
    i, o = rng.normal(1, 1, 15), np.round(rng.normal(0, 1, 25), 1)
    floor = metrics.components(i, o, values=metrics.aupr_in_values).floor
    for _ in range(50):
        moved = o.copy()
        moved[rng.choice(25, 3, replace=False)] = rng.normal(1, 3, 3)
        assert metrics.aupr_in(i, moved) > floor
    once, again = metrics.aupr_in(i, np.append(o, [99.0] * 3)), metrics.aupr_in(np.append(i, [-99.0] * 3), o)
    assert floor == pytest.approx(min(once, again), abs=1e-12)


def test_blocks_do_not_change_the_interval(monkeypatch):
    rng = np.random.default_rng(8)
    i, o = rng.normal(1, 1, (2, 30)), rng.normal(0, 1, (2, 20))
    found = metrics.resample(metrics.fpr95_id, i, o).interval()
    monkeypatch.setattr(rates, "BLOCK", 700)  # 7 resamples at once: the last block holds 4
    assert metrics.resample(metrics.fpr95_id, i, o).interval() == found


def test_bootstrap_is_as_wide_as_the_value_varies():
    """Ten draws: the interval belongs to their mean, not to one of them."""
    rng = np.random.default_rng(5)

    def once():
        return rng.normal(1, 0.5, (1, 150)) + rng.normal(0, 2, (10, 150)), rng.normal(0, 2.1, (10, 150))

    values = [metrics.fpr95_id(*once()).mean() for _ in range(300)]
    widths = [
        np.ptp([e.low, e.high]) for e in (metrics.resample(metrics.fpr95_id, *once()).interval() for _ in range(20))
    ]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(values), rel=0.25)


def test_bootstrap_of_a_certain_share_has_a_binomial_bound():
    estimate = metrics.resample(metrics.fpr95_id, np.arange(50) + 100.0, np.arange(40.0)).interval()
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(1 - 0.05 ** (1 / 40))


def test_a_metric_of_one_draw_is_refused_until_it_is_vectorised():
    rng = np.random.default_rng(9)
    i, o = rng.normal(1, 1, (2, 30)), rng.normal(0, 1, (2, 20))

    def of_one_draw(i, o):
        return np.mean(o.ravel() >= np.sort(i.ravel())[int(0.05 * i.size)])

    with pytest.raises(ValueError, match=r"metric of shape \(\): expected \(2,\), a value for each row; wrap a metric"):
        metrics.resample(of_one_draw, i, o).interval()
    vectorised = np.vectorize(of_one_draw, signature="(n),(m)->()")
    assert metrics.resample(vectorised, i, o).interval() == metrics.resample(metrics.fpr95_id, i, o).interval()


def test_bad_scores_have_no_rate():
    good, bad = np.array([1.0, 2.0]), np.array([1.0, np.nan])
    with pytest.raises(ValueError, match="score of image 1 is nan"):
        metrics.resample(metrics.fpr95_id, good, bad).interval()
    with pytest.raises(ValueError, match="score of image 1 is nan"):
        metrics.aupr_in(good, bad)
    with pytest.raises(ValueError, match="2 draws of ID scores but 1"):
        metrics.resample(metrics.fpr95_id, np.zeros((2, 3)), np.zeros(3))
