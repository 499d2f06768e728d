"""How well scores separate ID from OOD: the AUROC of raw scores in float64, its interval, averages and differences.

Scores are (n,) per draw or (R, n) for R draws of a randomised detector; higher = more in-distribution. A randomised
detector's metric is the mean over its draws, never the metric of mean scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
"""Of every interval."""

TWO_SIDED, ONE_SIDED = 1.959963984540054, 1.6448536269514722
"""Standard normal quantiles at 1/2 + LEVEL / 2 and LEVEL: written out, since importing scipy.special takes 0.2 s."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval at level 95%.

    >>> Estimate(0.9, 0.85, 0.94).ci
    [0.85, 0.94]
    """

    value: float
    low: float
    high: float

    @property
    def ci(self) -> list[float]:
        return [self.low, self.high]


def finite(scores: np.ndarray) -> np.ndarray:
    """(..., n) float64; ValueError for a score that is NaN or infinite."""
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        bad = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"score of image {bad[-1]} is {scores[tuple(bad)]}: expected a finite number")
    return scores


def draws(scores: np.ndarray) -> np.ndarray:
    """(R, n) float64, of (n,) with R = 1; ValueError for a score that is not finite or fewer than two images.

    >>> draws(np.array([3, 1])).tolist()
    [[3.0, 1.0]]
    """
    scores = np.atleast_2d(finite(scores))
    if scores.shape[1] < 2:
        raise ValueError(f"{scores.shape[1]} images in a population: expected at least 2")
    return scores


def auroc(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
    """P(s_id > s_ood) + P(s_id = s_ood) / 2, in [0, 1]; of R draws the mean.

    >>> auroc(np.array([3.0, 1.0]), np.array([1.0, 0.0]))
    0.875
    """
    return components(id_scores, ood_scores).value


def same_draws(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, n) and (R, m); ValueError where the populations differ in their number of draws."""
    a, b = draws(id_scores), draws(ood_scores)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} draws of ID scores but {len(b)} of OOD scores")
    return a, b


def share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Per score (n,) the share of `others` (m,) below it, of those equal to it one half."""
    ascending = np.sort(others)
    below, not_above = (np.searchsorted(ascending, scores, side=side) for side in ("left", "right"))
    return (below + not_above) / (2 * len(ascending))


def placement_values(id_scores: np.ndarray, ood_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's structural components: per ID image the share of OOD below it, per OOD image the share of ID above.

    Ties count one half. The mean of either is the AUROC (DeLong, DeLong and Clarke-Pearson 1988).

    >>> v_id, v_ood = placement_values(np.array([3.0, 1.0]), np.array([1.0, 0.0]))
    >>> v_id.tolist(), v_ood.tolist()
    ([1.0, 0.75], [0.75, 1.0])
    """
    return share_below(id_scores, ood_scores), 1 - share_below(ood_scores, id_scores)


@dataclass(frozen=True)
class Components:
    """An AUROC as a two-sample U-statistic: components of each image, averaged over draws (docs/theorems.md, T17).

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
    difference: bool = False
    """Whether it is one of two AUROCs on the same images, in [-1, 1]."""

    def minus(self, other: Components) -> Components:
        """The paired difference of two AUROCs on the same images (DeLong et al. 1988)."""
        v_ood = [a - b for a, b in zip(self.v_ood, other.v_ood, strict=True)]
        floor = float(np.hypot(self.floor, other.floor))
        value, v_id, shared = self.value - other.value, self.v_id - other.v_id, self.shared + other.shared
        return Components(value, v_id, v_ood, shared, floor, difference=True)

    def standard_error(self) -> float:
        """Over images (DeLong) and over draws."""
        variance = self.shared + self.v_id.var(ddof=1) / len(self.v_id)
        variance += sum(v.var(ddof=1) / len(v) for v in self.v_ood) / len(self.v_ood) ** 2
        return float(np.sqrt(variance))

    def interval(self) -> Estimate:
        """The normal interval, cut to [0, 1], or [-1, 1] of a difference; `miss` where the variance is 0 at an end."""
        half = float(np.hypot(TWO_SIDED * self.standard_error(), self.floor or self.miss()))
        lowest = -1.0 if self.difference else 0.0
        return Estimate(self.value, max(lowest, self.value - half), min(1.0, self.value + half))

    def miss(self) -> float:
        """The one-sided binomial bound on the smaller population where the variance is 0 at an end, else 0.

        Twice that for a difference of exactly 1 or -1 (docs/theorems.md, T18).
        """
        if self.value not in (-1.0, 0.0, 1.0) or self.standard_error() > 0:
            return 0.0
        one = 1 - (1 - LEVEL) ** (1 / min(len(self.v_id), *(len(v) for v in self.v_ood)))
        return float(2 * one if self.difference and self.value else one)


def components(id_scores: np.ndarray, ood_scores: np.ndarray) -> Components:
    """The AUROC of one ID (R, n) and one OOD population (R, m), ready for intervals, averages and differences.

    >>> found = components(np.array([3.0, 2.0, 1.0]), np.array([1.0, 0.0, 0.5]))
    >>> round(found.value, 4), round(found.standard_error(), 4)
    (0.9444, 0.0786)
    """
    pairs = [placement_values(i, o) for i, o in zip(*same_draws(id_scores, ood_scores), strict=True)]
    v_id, v_ood = (np.stack(part) for part in zip(*pairs, strict=True))  # (R, n), (R, m)
    R, shared = len(v_id), 0.0
    if R > 1:
        own = sum(v.var(axis=0, ddof=1).mean() / v.shape[1] for v in (v_id, v_ood))
        shared = max(0.0, float(v_id.mean(1).var(ddof=1) - own) / R)
    return Components(float(v_id.mean()), v_id.mean(0), [v_ood.mean(0)], shared)


def average(parts: Sequence[Components]) -> Components:
    """The mean AUROC over OOD sets that share the ID population.

    >>> own, near, far = np.array([3.0, 1.0]), np.array([2.0, 0.0]), np.array([0.0, -1.0])
    >>> average([components(own, near), components(own, far)]).value
    0.875
    """
    v_ood = [v for part in parts for v in part.v_ood]
    value, shared = (float(np.mean([getattr(p, name) for p in parts])) for name in ("value", "shared"))
    floor = float(np.mean([p.miss() for p in parts]))  # the sets share their ID images: no independence
    return Components(value, np.mean([p.v_id for p in parts], axis=0), v_ood, shared, floor)


def paired_gap(first: Components, second: Components) -> tuple[float, float, float]:
    """first - second with its standard error and the lower end of its one-sided 95% interval.

    >>> a = components(np.array([3.0, 1.0]), np.array([2.0, 0.0]))
    >>> paired_gap(a, a)
    (0.0, 0.0, 0.0)
    """
    gap = first.minus(second)
    error = gap.standard_error()
    return gap.value, error, gap.value - ONE_SIDED * error
