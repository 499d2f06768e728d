"""What a threshold on the scores lets through: FPR95 and AUPR, and their means and intervals over draws.

A rate takes the scores of one ID (n,) and one OOD population (m,), higher = more in-distribution, and gives a float in
[0, 1]. Of (..., n) and (..., m) it gives an array (...), a value for each row: draws, or resamples of draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .auroc import LEVEL, Estimate, finite, same_draws

BOOTSTRAPS = 200
"""Resamples of an interval."""

BLOCK = 2**17
"""Resampled scores that are in memory at once."""

Rate = Callable[[np.ndarray, np.ndarray], Any]


def kth_lowest(scores: np.ndarray, k: int) -> Any:
    """The k-th lowest score of each row, from 0."""
    lowest = np.partition(scores, k, axis=-1)[..., k]
    return lowest if lowest.ndim else float(lowest)


def share(hits: np.ndarray) -> Any:
    """The share of True in each row."""
    shares = np.count_nonzero(hits, axis=-1) / hits.shape[-1]
    return shares if hits.ndim > 1 else float(shares)


def threshold95(id_scores: np.ndarray) -> Any:
    """The score that 95% of ID reach: sorted_id[floor(0.05 n)].

    >>> threshold95(np.arange(100.0))
    5.0
    """
    return kth_lowest(id_scores, int(0.05 * np.shape(id_scores)[-1]))


def fpr95_id(clean_id: np.ndarray, ood_scores: np.ndarray) -> Any:
    """Share of OOD that reaches the threshold which 95% of (clean) ID reach.

    >>> fpr95_id(np.arange(100.0), np.array([4.9, 5.0, 6.0, -1.0]))
    0.5
    """
    return share(ood_scores >= np.expand_dims(threshold95(clean_id), -1))


def fpr95_ood(id_scores: np.ndarray, ood_scores: np.ndarray, *, published: bool = False) -> Any:
    """Share of ID flagged at the first threshold that flags at least 95% of OOD (OpenOOD's FPR@95).

    `published` drops collinear points of the ROC curve first, as OpenOOD's call of scikit-learn does: with ties it
    may then read the curve at a later point.

    >>> fpr95_ood(np.arange(100.0), np.arange(20.0))  # the threshold 18 flags 19 of 20 OOD and ID 0..18
    0.19
    """
    if published:
        rates = np.vectorize(published_fpr95, signature="(n),(m)->()")(id_scores, ood_scores)
        return rates if rates.ndim else float(rates)
    m = np.shape(ood_scores)[-1]
    threshold = kth_lowest(ood_scores, int(np.argmax(np.arange(1, m + 1) / m >= 0.95)))
    return share(id_scores <= np.expand_dims(threshold, -1))


def published_fpr95(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """FPR@95 of scikit-learn's ROC curve with OOD positive, collinear points dropped."""
    from sklearn.metrics import roc_curve

    is_ood = np.repeat([0, 1], [len(id_scores), len(ood_scores)])
    fpr, tpr, _ = roc_curve(is_ood, -np.concatenate([id_scores, ood_scores]))
    return float(fpr[np.argmax(tpr >= 0.95)])


def aupr_in(id_scores: np.ndarray, ood_scores: np.ndarray) -> Any:
    """Area under precision-recall with ID positive, by trapezoids as OpenOOD (not average precision).

    The curve has a point for each distinct score, from the highest, after (recall 0, precision 1).

    >>> round(aupr_in(np.array([3.0, 1.0]), np.array([2.0, 0.0])), 4)  # 1/2 + (1/2 + 2/3) / 4
    0.7917
    """
    scores = np.concatenate([finite(id_scores), finite(ood_scores)], axis=-1)
    n, N = np.shape(id_scores)[-1], scores.shape[-1]
    order = np.argsort(-scores, axis=-1)
    descending = np.take_along_axis(scores, order, axis=-1)
    last = np.ones(scores.shape, dtype=bool)  # of equal scores
    last[..., :-1] = descending[..., :-1] != descending[..., 1:]
    point = np.minimum.accumulate(np.where(last, np.arange(N), N)[..., ::-1], axis=-1)[..., ::-1]
    positives = np.take_along_axis(np.cumsum(order < n, axis=-1), point, axis=-1)
    recall, precision = positives / n, positives / (point + 1)
    width = np.diff(recall, axis=-1, prepend=0.0)
    height = precision + np.concatenate([np.ones((*scores.shape[:-1], 1)), precision[..., :-1]], axis=-1)
    area = np.sum(width * height, axis=-1) / 2
    return area if area.ndim else float(area)


def aupr_out(id_scores: np.ndarray, ood_scores: np.ndarray) -> Any:
    """Area under precision-recall with OOD positive, by trapezoids as OpenOOD.

    >>> round(aupr_out(np.array([3.0, 1.0]), np.array([1.0, 0.0])), 4)  # 1/2 + (1 + 2/3) / 4
    0.9167
    """
    return aupr_in(-np.asarray(ood_scores), -np.asarray(id_scores))


def of_rows(metric: Rate, id_scores: np.ndarray, ood_scores: np.ndarray) -> np.ndarray:
    """The rates (...) of (..., n) and (..., m); ValueError for a metric that gives something else."""
    rates, expected = np.asarray(metric(id_scores, ood_scores)), id_scores.shape[:-1]
    if rates.shape != expected:
        hint = "wrap a metric of one draw in numpy.vectorize(metric, signature='(n),(m)->()')"
        raise ValueError(f"metric of shape {rates.shape}: expected {expected}, a value for each row; {hint}")
    return rates


def over_draws(metric: Rate, id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """The mean over draws of `metric`, of scores (R, n) and (R, m).

    >>> over_draws(fpr95_id, np.array([[1.0, 2.0], [5.0, 6.0]]), np.array([[0.0, 3.0], [0.0, 3.0]]))
    0.25
    """
    return float(of_rows(metric, *same_draws(id_scores, ood_scores)).mean())


def bootstrap(metric: Rate, id_scores: np.ndarray, ood_scores: np.ndarray) -> Estimate:
    """`metric`, averaged over draws, with a percentile interval from resampling each population's images.

    An image keeps its R draws together. At a share of 0 or 1 resampling shows no spread: there the one-sided binomial
    bound on the smaller population.

    >>> bootstrap(fpr95_id, np.arange(200.0), np.arange(100.0) - 50)
    Estimate(value=0.4, low=0.28, high=0.5)
    """
    populations, rng = same_draws(id_scores, ood_scores), np.random.default_rng(0)
    value = over_draws(metric, *populations)
    if value in (0.0, 1.0):
        miss = 1 - (1 - LEVEL) ** (1 / min(scores.shape[1] for scores in populations))
        return Estimate(value, max(0.0, value - miss), min(1.0, value + miss))
    values: list[float] = []
    at_once = max(1, BLOCK // sum(scores.size for scores in populations))
    while len(values) < BOOTSTRAPS:
        again = [
            [s.take(rng.integers(0, s.shape[1], s.shape[1]), axis=1) for s in populations]
            for _ in range(min(at_once, BOOTSTRAPS - len(values)))
        ]
        resampled = [np.stack(scores) for scores in zip(*again, strict=True)]  # (resamples, R, images)
        values += of_rows(metric, *resampled).mean(axis=1).tolist()
    low, high = np.quantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Estimate(value, float(low), float(high))
