"""What a threshold on the scores lets through: FPR95 and AUPR, and their means and intervals over draws.

A rate takes the scores of one ID (n,) and one OOD population (m,), higher = more in-distribution, and gives a float in
[0, 1]. Of (..., n) and (..., m) it gives an array (...), a value for each row: draws, or resamples of draws. A score
that is not finite is a ValueError, and so is a population without images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .auroc import EACH_ALONE, Groups, grouped, same_draws, shared_by_draws
from .intervals import LEVEL, TWO_SIDED, Estimate, finite, student, unseen, within

BOOTSTRAPS = 200
"""Resamples of an interval."""

BLOCK = 2**17
"""Resampled scores that are in memory at once."""

Rate = Callable[[np.ndarray, np.ndarray], Any]


def kth_lowest(scores: np.ndarray, k: int) -> Any:
    """The k-th lowest score of each row, from 0."""
    lowest = np.partition(finite(scores), k, axis=-1)[..., k]
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
    return share(finite(ood_scores) >= np.expand_dims(threshold95(clean_id), -1))


def fpr95_ood(id_scores: np.ndarray, ood_scores: np.ndarray, *, published: bool = False) -> Any:
    """Share of ID flagged at the first threshold that flags at least 95% of OOD (OpenOOD's FPR@95).

    `published` drops collinear points of the ROC curve first, as OpenOOD's call of scikit-learn does: with ties it
    may then read the curve at a later point.

    >>> fpr95_ood(np.arange(100.0), np.arange(20.0))  # the threshold 18 flags 19 of 20 OOD and ID 0..18
    0.19
    """
    if published:
        return of_each(published_fpr95, id_scores, ood_scores)
    id_scores, ood_scores = finite(id_scores), finite(ood_scores)
    m = ood_scores.shape[-1]
    threshold = kth_lowest(ood_scores, int(np.argmax(np.arange(1, m + 1) / m >= 0.95)))
    return share(id_scores <= np.expand_dims(threshold, -1))


def published_fpr95(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """FPR@95 of scikit-learn's ROC curve with OOD positive, collinear points dropped."""
    from sklearn.metrics import roc_curve

    is_ood = np.repeat([0, 1], [len(id_scores), len(ood_scores)])
    fpr, tpr, _ = roc_curve(is_ood, -np.concatenate([id_scores, ood_scores]))
    return float(fpr[np.argmax(tpr >= 0.95)])


def of_each(metric: Rate, id_scores: np.ndarray, ood_scores: np.ndarray) -> Any:
    """A metric of one row (n,) and (m,), of every row; ValueError for a score that is not finite."""
    populations = finite(id_scores), finite(ood_scores)
    shape = np.broadcast_shapes(*(scores.shape[:-1] for scores in populations))
    each = [np.broadcast_to(s, (*shape, s.shape[-1])).reshape(-1, s.shape[-1]) for s in populations]
    rates = [metric(*pair) for pair in zip(*each, strict=True)]
    return np.reshape(rates, shape) if shape else float(rates[0])


def aupr_in(id_scores: np.ndarray, ood_scores: np.ndarray) -> Any:
    """Area under precision-recall with ID positive, by trapezoids as OpenOOD (not average precision).

    The curve has a point for each distinct score, from the highest, after (recall 0, precision 1).

    >>> round(aupr_in(np.array([3.0, 1.0]), np.array([2.0, 0.0])), 4)  # 1/2 + (1/2 + 2/3) / 4
    0.7917
    """
    return of_each(lambda i, o: area(*down_to_each(i, o)[:2]), id_scores, ood_scores)


def aupr_out(id_scores: np.ndarray, ood_scores: np.ndarray) -> Any:
    """Area under precision-recall with OOD positive, by trapezoids as OpenOOD.

    >>> round(aupr_out(np.array([3.0, 1.0]), np.array([1.0, 0.0])), 4)  # 1/2 + (1 + 2/3) / 4
    0.9167
    """
    return aupr_in(-finite(ood_scores), -finite(id_scores))


def down_to_each(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers P and N of ID and OOD down to each of K distinct scores, from the highest, and each image's level.

    (K,), (K,) and (n + m,), ID before OOD.
    """
    levels, level = np.unique(-np.concatenate([id_scores, ood_scores]), return_inverse=True)
    n = len(id_scores)
    P, N = (np.cumsum(np.bincount(part, minlength=len(levels))) for part in (level[:n], level[n:]))
    return P, N, level


def area(P: np.ndarray, N: np.ndarray) -> float:
    """sum (P_k - P_{k-1}) (h_k + h_{k-1}) / 2n with precision h = P / (P + N), h_0 = 1."""
    precision = P / (P + N)
    return float(np.diff(P, prepend=0) @ (precision + np.append(1.0, precision[:-1]))) / (2 * int(P[-1]))


def aupr_in_values(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUPR with ID positive, plus how each image moves it: (n,) and (m,), the mean of either is the AUPR.

    With P and N the numbers of ID and OOD down to each distinct score, an ID image moves the `area` by its derivatives
    by P_k at all k from the image's own on, an OOD image by those by N_k (docs/theorems.md, T22).

    >>> v_id, v_ood = aupr_in_values(np.array([3.0, 1.0]), np.array([2.0, 0.0]))
    >>> round(float(v_id.mean()), 4), round(float(v_ood.mean()), 4)
    (0.7917, 0.7917)
    """
    n, m = len(id_scores), len(ood_scores)
    P, N, level = down_to_each(id_scores, ood_scores)
    steps = np.diff(P, prepend=0)
    precision = P / (P + N)
    before, after = np.append(1.0, precision[:-1]), np.append(precision[1:], 0.0)
    after[-1] = -precision[-1]  # no step follows the last point
    slope = (steps + np.append(steps[1:], 0)) / (P + N) ** 2
    by_id, by_ood = (before - after + slope * N) / (2 * n), -slope * P / (2 * n)
    moved = [
        np.cumsum(derivative[::-1])[::-1][part] * size
        for derivative, part, size in ((by_id, level[:n], n), (by_ood, level[n:], m))
    ]
    whole = area(P, N)
    return whole + moved[0] - moved[0].mean(), whole + moved[1] - moved[1].mean()


def aupr_out_values(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUPR with OOD positive, plus how each image moves it: (n,) and (m,), the mean of either is the AUPR."""
    v_ood, v_id = aupr_in_values(-ood_scores, -id_scores)
    return v_id, v_ood


def of_rows(metric: Rate, id_scores: np.ndarray, ood_scores: np.ndarray) -> np.ndarray:
    """The rates (...) of (..., n) and (..., m); ValueError for a metric that gives something else."""
    rates, expected = np.asarray(metric(id_scores, ood_scores)), id_scores.shape[:-1]
    if rates.shape != expected:
        hint = "wrap a metric of one draw in numpy.vectorize(metric, signature='(n),(m)->()')"
        raise ValueError(f"metric of shape {rates.shape}: expected {expected}, a value for each row; {hint}")
    return rates


@dataclass(frozen=True)
class Resampled:
    """A rate of R draws, and what it is on resamples of the images (docs/theorems.md, T21)."""

    draws: np.ndarray
    """(R,), of the images themselves."""
    again: np.ndarray
    """(resamples, R)."""
    images: int
    """Of the smallest population, or its groups."""
    unseen: float

    def interval(self) -> Estimate:
        """Student's on the logit scale with the resamples' variance, never inside their central 95% or `unseen`.

        Where the scores have no density at the threshold, resamples jump, and their variance says too little.
        """
        means = self.again.mean(axis=1)
        R, variance = len(self.draws), float(means.var(ddof=1))
        own = (float(self.again.var(axis=0, ddof=1).mean()) - variance) * R / max(1, R - 1)
        shared, doubt = shared_by_draws(self.draws, own)
        doubt += variance**2 / max(1, self.images - 1)
        degrees = (variance + shared) ** 2 / doubt if doubt > 0 else float("inf")
        half = student(TWO_SIDED, degrees) * float(np.sqrt(variance + shared))
        found = within(float(self.draws.mean()), half, self.unseen)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
        return replace(found, low=min(found.low, low), high=max(found.high, high))


def average_rate(parts: Sequence[Resampled]) -> Resampled:
    """The mean rate over OOD sets that share the ID population, and its resamples."""
    draws, again = np.mean([p.draws for p in parts], axis=0), np.mean([p.again for p in parts], axis=0)
    return Resampled(draws, again, min(p.images for p in parts), float(np.mean([p.unseen for p in parts])))


class Members:
    """The images of each of k groups, in the order of their first images; each is its own where `first` is None."""

    def __init__(self, first: np.ndarray | None, n: int) -> None:
        group = np.arange(n) if first is None else grouped(first)[1]
        self.sizes = np.bincount(group)
        self.images = np.argsort(group, kind="stable")
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.ragged = len(set(self.sizes.tolist())) > 1

    def of(self, picks: np.ndarray) -> np.ndarray:
        """(B, n') images of groups (B, k), one group after another; B must be 1 where groups differ in size."""
        sizes = self.sizes[picks].ravel()
        ends = np.cumsum(sizes)
        within_group = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
        return self.images[np.repeat(self.starts[picks].ravel(), sizes) + within_group].reshape(len(picks), -1)


def resample(
    metric: Rate, id_scores: np.ndarray, ood_scores: np.ndarray, groups: Groups = EACH_ALONE, *, stream: int = 0
) -> Resampled:
    """`metric` of each draw on resamples of each population's groups of images; an image keeps its R draws together.

    OOD sets that share the ID population have the same resamples of it; `stream` gives each set its own of OOD.

    >>> resample(fpr95_id, np.arange(200.0), np.arange(100.0) - 50).again.shape
    (200, 1)
    """
    populations = same_draws(id_scores, ood_scores)
    draws = of_rows(metric, *populations)
    grouped = [Members(first, s.shape[1]) for first, s in zip(groups, populations, strict=True)]
    counts = [len(g.sizes) for g in grouped]
    rngs = [np.random.default_rng(0), np.random.default_rng([1, stream])]
    again: list[np.ndarray] = []
    at_once = max(1, BLOCK // sum(scores.size for scores in populations))
    if any(g.ragged for g in grouped):  # resamples differ in size
        at_once = 1
    for start in range(0, BOOTSTRAPS, at_once):
        some = min(at_once, BOOTSTRAPS - start)
        picks = [g.of(rng.integers(0, k, (some, k))) for g, rng, k in zip(grouped, rngs, counts, strict=True)]
        again.append(of_rows(metric, *(s[:, p].swapaxes(0, 1) for s, p in zip(populations, picks, strict=True))))
    k = min(counts)
    return Resampled(draws, np.concatenate(again), k, unseen(k))
