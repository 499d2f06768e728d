"""How well scores separate ID from OOD: the AUROC of raw scores in float64, its averages and differences.

Scores are (n,) per draw or (R, n) for R draws of a randomised detector; higher = more in-distribution. A randomised
detector's metric is the mean over its draws, never the metric of mean scores. Intervals lie in `intervals`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..words import counted
from .intervals import LEVEL, ONE_SIDED, Estimate, finite, student, two_sided, unseen, within

Groups = tuple[np.ndarray | None, np.ndarray | None]
"""Of ID (n,) and OOD (m,), for each image the number of its group; None where each image is its own. OOD sets that are
averaged have one numbering: images of several sets with one number are one image."""

EACH_ALONE: Groups = (None, None)


def draws(scores: np.ndarray) -> np.ndarray:
    """(R, n) float64, of (n,) with R = 1; ValueError for a score that is not finite or fewer than two images.

    >>> draws(np.array([3, 1])).tolist()
    [[3.0, 1.0]]
    """
    scores = np.atleast_2d(finite(scores))
    if scores.shape[1] < 2:
        raise ValueError(f"{counted(scores.shape[1], 'image')} in a population: expected at least 2")
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
        raise ValueError(f"{counted(len(a), 'draw')} of ID scores but {len(b)} of OOD scores")
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


Values = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Of the scores of one draw, (n,) and (m,): each image's value, whose mean over either population is the metric."""


def grouped(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers (k,) of the groups of images (n,), in the order of their first images, and each image's place there.

    >>> [found.tolist() for found in grouped(np.array([7, 3, 7, 5]))]
    [[7, 3, 5], [0, 1, 0, 2]]
    """
    numbers, start, group = np.unique(first, return_index=True, return_inverse=True)
    order = np.argsort(start)
    return numbers[order], np.argsort(order)[group]


def by_cluster(values: np.ndarray, first: np.ndarray | None) -> np.ndarray:
    """(R, k) of the values (R, n) of k groups: the mean is the same, the variance that of groups, not of images.

    mean + k / n sum_{i in group} (v_i - mean) (docs/theorems.md, T20)

    >>> by_cluster(np.array([[1.0, 1.0, 0.0, 0.0]]), np.array([0, 0, 2, 2])).tolist()
    [[1.0, 0.0]]
    """
    if first is None:
        return values
    if np.shape(first) != values.shape[1:]:
        raise ValueError(f"groups of shape {np.shape(first)}: expected {values.shape[1:]}, one entry for each image")
    heads, group = grouped(first)
    if len(heads) == len(group):
        return values
    mean = values.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(group, row) for row in values - mean])
    return mean + len(heads) / len(group) * sums


def by_image(values: Sequence[np.ndarray], numbers: Sequence[np.ndarray | None]) -> np.ndarray:
    """(R, g) of the values (R, m_k) of K OOD sets that have g images in all: the mean is that of their means.

    mean + g sum_{k, i: image i of set k} (v_ki - mean_k) / (K m_k) (docs/theorems.md, T34)

    >>> near, far = np.array([[1.0, 0.0]]), np.array([[0.5, 0.0, 0.25]])
    >>> by_image([near, far], [np.array([0, 1]), np.array([0, 2, 3])]).round(3).tolist()
    [[1.042, -0.125, 0.208, 0.375]]
    """
    means = [v.mean(axis=1, keepdims=True) for v in values]
    parts = [(v - mean) / (len(values) * v.shape[1]) for v, mean in zip(values, means, strict=True)]
    places = np.split(np.arange(sum(v.shape[1] for v in values)), np.cumsum([v.shape[1] for v in values])[:-1])
    own = [-1 - alone if its is None else its for alone, its in zip(places, numbers, strict=True)]
    heads, image = np.unique(np.concatenate(own), return_inverse=True)
    sums = np.stack([np.bincount(image, row) for row in np.concatenate(parts, axis=1)])
    return np.mean(means, axis=0) + len(heads) * sums


def relative_sizes(first: np.ndarray | None, k: int) -> np.ndarray:
    """(k,) numbers of images of k groups over their mean."""
    counts = np.ones(k) if first is None else np.bincount(grouped(first)[1])
    return counts / counts.mean()


def variance_of_mean(values: np.ndarray) -> float:
    """The estimated variance of the mean of independent values (k,); 0 of a single one, which shows none."""
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Components:
    """An AUROC or an AUPR as a mean of values of each image, over draws (docs/theorems.md, T17).

    Draws are independent per image, so their noise is part of the variance between images of the values' means over
    draws; what all images of a draw have in common shows in the draws' metrics beyond that. Images of one group have
    one value together (`by_cluster`).
    """

    value: float
    v_id: np.ndarray
    """(R, n), of R draws."""
    v_ood: Sequence[np.ndarray]
    """(R, m) per OOD set: several when AUROCs over sets are averaged."""
    difference: bool = False
    """Whether it is one of two metrics on the same images, in [-1, 1]."""
    sizes: Sequence[np.ndarray] = ()
    """Of ID and of each OOD set (k,), the groups' numbers of images over their mean; all 1 where it is empty."""
    numbers: Sequence[np.ndarray | None] = ()
    """Of each OOD set (k,), the numbers of its groups (`Groups`), None or empty where it shares none with another."""
    floor: float = 1.0
    """What three images beyond all of the other side would leave of a metric that is no mean over pairs, of sets the
    mean; 1 of an AUROC, whose `unseen` says it (docs/theorems.md, T18)."""

    def minus(self, other: Components) -> Components:
        """The paired difference of two AUROCs on the same images (DeLong et al. 1988) and draws; one draw serves all.

        ValueError where both have several draws, but not the same number.
        """
        R, others = len(self.v_id), len(other.v_id)
        if others != R and min(R, others) > 1:
            raise ValueError(f"{counted(R, 'draw')} of one metric but {others} of the other: expected as many, or one")
        v_ood = [a - b for a, b in zip(self.v_ood, other.v_ood, strict=True)]
        gap, v_id, its = self.value - other.value, self.v_id - other.v_id, self if self.overlap else other
        return Components(gap, v_id, v_ood, difference=True, sizes=self.sizes, numbers=its.numbers)

    @property
    def overlap(self) -> bool:
        """Whether OOD sets share images."""
        known = [its for its in self.numbers if its is not None]
        return len(known) > 1 and len(np.unique(np.concatenate(known))) < sum(map(len, known))

    def weighted(self) -> list[tuple[np.ndarray, int, int]]:
        """The values of each population, by what their mean is divided in the metric, and their degrees of freedom;
        OOD sets that share images are one population, as sure as the smallest of them."""
        degrees = [max(1, v.shape[1] - 1) for v in (self.v_id, *self.v_ood)]
        if self.overlap:
            return [(self.v_id, 1, degrees[0]), (by_image(self.v_ood, self.numbers), 1, min(degrees[1:]))]
        by = [1, *[len(self.v_ood)] * len(self.v_ood)]
        return list(zip((self.v_id, *self.v_ood), by, degrees, strict=True))

    @cached_property
    def variances(self) -> list[tuple[float, int]]:
        """What each population adds to the variance, with its degrees of freedom."""
        return [(variance_of_mean(v.mean(axis=0)) / by**2, degrees) for v, by, degrees in self.weighted()]

    def shared(self) -> tuple[float, float]:
        """What the draws' randomness adds to the variance, and half the variance of that estimate (T19)."""
        if len(self.v_id) == 1:
            return 0.0, 0.0
        own = sum(float(v.var(axis=0, ddof=1).mean()) / v.shape[1] / by**2 for v, by, _ in self.weighted())
        return shared_by_draws(self.v_id.mean(axis=1), own)

    def standard_error(self) -> float:
        """Over images (DeLong) and over draws."""
        return float(np.sqrt(self.shared()[0] + sum(variance for variance, _ in self.variances)))

    def degrees(self) -> float:
        """The degrees of freedom of the standard error (Satterthwaite; docs/theorems.md, T19)."""
        doubt = self.shared()[1] + sum(variance**2 / freedom for variance, freedom in self.variances)
        return self.standard_error() ** 4 / doubt if doubt > 0 else float("inf")

    def unseen(self, level: float = LEVEL) -> float:
        """The probability of what the images may fail to show, of OOD sets the mean (docs/theorems.md, T18).

        Of a difference that probability times the share of `still`: what the other images hide is in their variance.
        """
        miss = float(np.mean([unseen(min(self.v_id.shape[1], v.shape[1]), level) for v in self.v_ood]))
        return miss * self.still() if self.difference else miss

    def still(self) -> float:
        """Of a difference, the share of ID images, or of an OOD set's if larger, that moved not at all or fully."""
        values = [v.mean(axis=0) for v in (self.v_id, *self.v_ood)]
        sizes = self.sizes or [np.ones(len(v)) for v in values]
        moved = [v.mean() + (v - v.mean()) / size for v, size in zip(values, sizes, strict=True)]  # means of groups
        return max(float(np.mean(np.abs(m - np.round(m)) < 1e-12)) for m in moved)

    def fewest(self) -> int:
        """The images, or groups of them, of the smallest population."""
        return min(v.shape[1] for v in (self.v_id, *self.v_ood))

    def interval(self, level: float = LEVEL) -> Estimate:
        """Student's on the logit scale, of a difference on its own, and never inside what may be unseen."""
        half = student(two_sided(level), self.degrees()) * self.standard_error()
        found = within(self.value, half, self.unseen(level), lowest=-1.0 if self.difference else 0.0)
        return found if self.difference else replace(found, low=min(found.low, self.floor))


def components(
    id_scores: np.ndarray, ood_scores: np.ndarray, groups: Groups = EACH_ALONE, *, values: Values | None = None
) -> Components:
    """The AUROC of one ID (R, n) and one OOD population (R, m), ready for intervals, averages and differences.

    `values` of another metric, as `rates.aupr_in_values`, give that metric; it must take infinite scores.

    >>> found = components(np.array([3.0, 2.0, 1.0]), np.array([1.0, 0.0, 0.5]))
    >>> round(found.value, 4), round(found.standard_error(), 4)
    (0.9444, 0.0786)
    """
    scores = same_draws(id_scores, ood_scores)
    pairs = [(values or placement_values)(i, o) for i, o in zip(*scores, strict=True)]
    both = (np.stack(part) for part in zip(*pairs, strict=True))  # (R, n), (R, m)
    v_id, v_ood = (by_cluster(part, first) for part, first in zip(both, groups, strict=True))
    sizes = [relative_sizes(first, v.shape[1]) for first, v in zip(groups, (v_id, v_ood), strict=True)]
    floor = 1.0 if values is None else with_three_failures(values, scores, (v_id.shape[1], v_ood.shape[1]))
    value = min(1.0, float(v_id.mean()))  # the mean of values on both sides of 1 may be rounded up
    numbers = [None if groups[1] is None else grouped(groups[1])[0]]
    return Components(value, v_id, [v_ood], sizes=sizes, numbers=numbers, floor=floor)


def with_three_failures(values: Values, scores: tuple[np.ndarray, np.ndarray], counts: tuple[int, int]) -> float:
    """The lower of a metric with three further ID images below all, and with three further OOD images above all.

    Of (R, n) and (R, m) in `counts` groups: an event that these do not show is expected fewer than three times. Images
    in groups are added by the groups' mean size.
    """
    (id_scores, ood_scores), extra = scores, [-(-3 * s.shape[1] // k) for s, k in zip(scores, counts, strict=True)]
    low = [values(np.append(i, np.full(extra[0], -np.inf)), o) for i, o in zip(id_scores, ood_scores, strict=True)]
    high = [values(i, np.append(o, np.full(extra[1], np.inf))) for i, o in zip(id_scores, ood_scores, strict=True)]
    return min(float(np.mean([v_id.mean() for v_id, _ in found])) for found in (low, high))


def shared_by_draws(metric: np.ndarray, own: float) -> tuple[float, float]:
    """What the draws' randomness adds to the variance of a metric's mean over draws (R,), and half that one's variance.

    `own` is the part of the variance of one draw's metric that is each image's own (docs/theorems.md, T17, T19).
    """
    R = len(metric)
    if R == 1:
        return 0.0, 0.0
    variance = float(metric.var(ddof=1))
    return max(0.0, variance - own) / R, (variance / R) ** 2 / (R - 1)


def paired_gap(first: Components, second: Components) -> tuple[float, float, float]:
    """first - second with its standard error and the lower end of its one-sided 95% interval.

    >>> a = components(np.array([3.0, 1.0]), np.array([2.0, 0.0]))
    >>> [round(number, 4) for number in paired_gap(a, a)]  # two images may hide anything of 78% probability
    [0.0, 0.0, -0.7764]
    """
    gap = first.minus(second)
    error = gap.standard_error()
    low = within(gap.value, student(ONE_SIDED, gap.degrees()) * error, gap.unseen(), lowest=-1.0).low
    return gap.value, error, low
