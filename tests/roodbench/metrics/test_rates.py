"""FPR95, AUPR and their intervals against scikit-learn, a plain loop and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
    assert metrics.over_draws(metric, i[0], o[0]) == pytest.approx(np.mean(one_by_one[0]), abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(40, 25), (700, 900)], ids=["one block", "many blocks"])
def test_bootstrap_is_a_loop_over_seeded_resamples(n, m):
    rng, draw = np.random.default_rng(7), np.random.default_rng(0)
    i, o = np.round(rng.normal(1, 1, (3, n)), 2), np.round(rng.normal(0, 1, (3, m)), 2)
    is_ood, values = np.repeat([0, 1], [n, m]), []
    for _ in range(200):
        own, other = draw.integers(0, n, n), draw.integers(0, m, m)
        scores = [np.concatenate([i[r, own], o[r, other]]) for r in range(3)]
        values.append(np.mean([fpr_of_curve(is_ood, -s, drop_intermediate=False) for s in scores]))
    found = metrics.bootstrap(metrics.fpr95_ood, i, o)
    assert found.ci == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist(), abs=1e-12)
    assert found.low < found.value < found.high


def test_blocks_do_not_change_the_interval(monkeypatch):
    rng = np.random.default_rng(8)
    i, o = rng.normal(1, 1, (2, 30)), rng.normal(0, 1, (2, 20))
    found = metrics.bootstrap(metrics.fpr95_id, i, o)
    monkeypatch.setattr(rates, "BLOCK", 700)  # 7 resamples at once: the last block holds 4
    assert metrics.bootstrap(metrics.fpr95_id, i, o) == found


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


def test_a_metric_of_one_draw_is_refused_until_it_is_vectorised():
    rng = np.random.default_rng(9)
    i, o = rng.normal(1, 1, (2, 30)), rng.normal(0, 1, (2, 20))

    def of_one_draw(i, o):
        return np.mean(o.ravel() >= np.sort(i.ravel())[int(0.05 * i.size)])

    with pytest.raises(ValueError, match=r"metric of shape \(\): expected \(2,\), a value for each row; wrap a metric"):
        metrics.bootstrap(of_one_draw, i, o)
    vectorised = np.vectorize(of_one_draw, signature="(n),(m)->()")
    assert metrics.bootstrap(vectorised, i, o) == metrics.bootstrap(metrics.fpr95_id, i, o)


def test_bad_scores_have_no_rate():
    good, bad = np.array([1.0, 2.0]), np.array([1.0, np.nan])
    with pytest.raises(ValueError, match="score of image 1 is nan"):
        metrics.bootstrap(metrics.fpr95_id, good, bad)
    with pytest.raises(ValueError, match="score of image 1 is nan"):
        metrics.aupr_in(good, bad)
    with pytest.raises(ValueError, match="2 draws of ID scores but 1"):
        metrics.over_draws(metrics.fpr95_id, np.zeros((2, 3)), np.zeros(3))
