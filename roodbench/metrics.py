"""How well scores separate ID from OOD: AUROC, FPR95 and AUPR of raw scores in float64, with intervals.

Scores are (n,) per draw or (R, n) for R draws of a randomised detector; higher = more in-distribution. A randomised
detector's metric is the mean over its draws, never the metric of mean scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata
from sklearn.metrics import auc, precision_recall_curve, roc_curve

LEVEL = 0.95
BOOTSTRAPS = 200


@dataclass(frozen=True)
class Estimate:
    """A value with its interval at level 95%."""

    value: float
    low: float
    high: float

    @property
    def ci(self) -> list[float]:
        return [self.low, self.high]


def draws(scores: np.ndarray) -> np.ndarray:
    """(R, n) float64; ValueError for a score that is NaN or infinite."""
    scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if not np.isfinite(scores).all():
        bad = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"score of image {bad[1]} is {scores[tuple(bad)]}: expected a finite number")
    if scores.shape[1] < 2:
        raise ValueError(f"{scores.shape[1]} images in a population: expected at least 2")
    return scores


def auroc(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """P(s_id > s_ood) + P(s_id = s_ood) / 2, from mid-ranks.

    >>> auroc(np.array([3.0, 1.0]), np.array([1.0, 0.0]))
    0.875
    """
    return components(id_scores, ood_scores).value


def same_draws(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = draws(id_scores), draws(ood_scores)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} draws of ID scores but {len(b)} of OOD scores")
    return a, b


def placement_values(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's structural components: per ID image the share of OOD below it, per OOD image the share of ID above."""
    n, m = len(id_scores), len(ood_scores)
    together = rankdata(np.concatenate([id_scores, ood_scores]))
    v_id = (together[:n] - rankdata(id_scores)) / m
    v_ood = 1 - (together[n:] - rankdata(ood_scores)) / n
    return v_id, v_ood


@dataclass(frozen=True)
class Components:
    """An AUROC as a two-sample U-statistic: components of each image, averaged over draws.

    Draws are independent per image, so their noise is part of the components' variance between images; `shared` is the
    variance of the mean over draws beyond that, of randomness that all images of a draw have in common.
    """

    value: float
    v_id: np.ndarray
    v_ood: Sequence[np.ndarray]
    """One array per OOD set: several when AUROCs over sets are averaged."""
    shared: float = 0.0
    floor: float = 0.0
    """Of a mean over OOD sets: what the sets at exactly 0 or 1, whose variance is 0, add to its interval."""

    def minus(self, other: Components) -> Components:
        """The paired difference of two AUROCs on the same images (DeLong et al. 1988)."""
        v_ood = [a - b for a, b in zip(self.v_ood, other.v_ood, strict=True)]
        floor = float(np.hypot(self.floor, other.floor))
        return Components(self.value - other.value, self.v_id - other.v_id, v_ood, self.shared + other.shared, floor)

    def standard_error(self) -> float:
        """Over images (DeLong) and over draws."""
        variance = self.shared + self.v_id.var(ddof=1) / len(self.v_id)
        variance += sum(v.var(ddof=1) / len(v) for v in self.v_ood) / len(self.v_ood) ** 2
        return float(np.sqrt(variance))

    def interval(self, lowest: float = 0.0) -> Estimate:
        """The normal interval, cut to [lowest, 1]; a one-sided binomial bound where the variance is 0 at an end.

        `lowest` is -1 for a difference.
        """
        half = float(np.hypot(norm.ppf(0.5 + LEVEL / 2) * self.standard_error(), self.floor or self.miss()))
        return Estimate(self.value, max(lowest, self.value - half), min(1.0, self.value + half))

    def miss(self) -> float:
        """The binomial bound on the smaller population where the variance is 0 at an end, else 0."""
        if self.value not in (-1.0, 0.0, 1.0) or self.standard_error() > 0:
            return 0.0
        return float(1 - (1 - LEVEL) ** (1 / min(len(self.v_id), *(len(v) for v in self.v_ood))))


def components(id_scores: np.ndarray, ood_scores: np.ndarray) -> Components:
    """The AUROC of one ID and one OOD population, ready for intervals, averages and differences."""
    pairs = [placement_values(i, o) for i, o in zip(*same_draws(id_scores, ood_scores), strict=True)]
    v_id, v_ood = (np.stack(part) for part in zip(*pairs, strict=True))  # (R, n), (R, m)
    R, shared = len(v_id), 0.0
    if R > 1:
        own = sum(v.var(axis=0, ddof=1).mean() / v.shape[1] for v in (v_id, v_ood))
        shared = max(0.0, float(v_id.mean(1).var(ddof=1) - own) / R)
    return Components(float(v_id.mean()), v_id.mean(0), [v_ood.mean(0)], shared)


def average(parts: Sequence[Components]) -> Components:
    """The mean AUROC over OOD sets that share the ID population."""
    v_ood = [v for part in parts for v in part.v_ood]
    value, shared = (float(np.mean([getattr(p, name) for p in parts])) for name in ("value", "shared"))
    floor = float(np.mean([p.miss() for p in parts]))  # the sets share their ID images: no independence
    return Components(value, np.mean([p.v_id for p in parts], axis=0), v_ood, shared, floor)


def paired_gap(first: Components, second: Components) -> tuple[float, float, float]:
    """first - second with its standard error and the lower end of its one-sided 95% interval."""
    gap = first.minus(second)
    error = gap.standard_error()
    return gap.value, error, gap.value - float(norm.ppf(LEVEL)) * error


def threshold95(id_scores: np.ndarray) -> float:
    """The score that 95% of ID reach: sorted_id[floor(0.05 n)]."""
    return float(np.sort(id_scores)[int(0.05 * len(id_scores))])


def fpr95_id(clean_id: np.ndarray, ood_scores: np.ndarray) -> float:
    """Share of OOD that reaches the threshold which 95% of (clean) ID reach."""
    return float(np.mean(ood_scores >= threshold95(clean_id)))


def fpr95_ood(id_scores: np.ndarray, ood_scores: np.ndarray, *, published: bool = False) -> float:
    """Share of ID flagged at the first threshold that flags at least 95% of OOD (OpenOOD's FPR@95).

    `published` drops collinear points of the ROC curve first, as OpenOOD's call of scikit-learn does: with ties it
    may then read the curve at a later point.
    """
    if not published:
        recall = np.arange(1, len(ood_scores) + 1) / len(ood_scores)
        return float(np.mean(id_scores <= np.sort(ood_scores)[np.argmax(recall >= 0.95)]))
    is_ood = np.repeat([0, 1], [len(id_scores), len(ood_scores)])
    fpr, tpr, _ = roc_curve(is_ood, -np.concatenate([id_scores, ood_scores]))
    return float(fpr[np.argmax(tpr >= 0.95)])


def aupr_in(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Area under precision-recall with ID positive, by trapezoids as OpenOOD (not average precision)."""
    is_id = np.repeat([1, 0], [len(id_scores), len(ood_scores)])
    precision, recall, _ = precision_recall_curve(is_id, np.concatenate([id_scores, ood_scores]))
    return float(auc(recall, precision))


def aupr_out(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """Area under precision-recall with OOD positive, by trapezoids as OpenOOD."""
    return aupr_in(-np.asarray(ood_scores), -np.asarray(id_scores))


def over_draws(metric: Callable[..., float], *scores: np.ndarray) -> float:
    """The mean over draws of `metric(*scores of one draw)`."""
    return float(np.mean([metric(*row) for row in zip(*map(draws, scores), strict=True)]))


def bootstrap(metric: Callable[..., float], *scores: np.ndarray) -> Estimate:
    """`metric`, averaged over draws, with a percentile interval from resampling each population's images.

    At a share of 0 or 1 resampling shows no spread: there the one-sided binomial bound on the smallest population.
    """
    arrays, rng = [draws(s) for s in scores], np.random.default_rng(0)
    value = over_draws(metric, *arrays)
    if value in (0.0, 1.0):
        miss = 1 - (1 - LEVEL) ** (1 / min(a.shape[1] for a in arrays))
        return Estimate(value, max(0.0, value - miss), min(1.0, value + miss))
    values = []
    for _ in range(BOOTSTRAPS):
        resampled = [a[:, rng.integers(0, a.shape[1], a.shape[1])] for a in arrays]
        values.append(over_draws(metric, *resampled))
    low, high = np.quantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Estimate(value, float(low), float(high))
