"""Whether AUROCs on the same images differ: DeLong's paired test, worst cases, and Holm's correction for many tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .auroc import Components
from .intervals import LEVEL, Estimate


@dataclass(frozen=True)
class Paired:
    """The difference of two AUROCs on the same images, with its standard error and two-sided p-value."""

    difference: Estimate
    error: float
    p: float


def paired_test(first: Components, second: Components) -> Paired:
    """Whether two AUROCs on the same images are equal (DeLong, DeLong and Clarke-Pearson 1988).

    t = (A_1 - A_2) / se on Satterthwaite's degrees of freedom; se is that of the structural components' differences,
    image by image, with the noise of draws. Images that both detectors rank alike show no variance, though further ones
    may: p is at least the level at which the interval, which allows for them (`Components.unseen`), reaches zero. It is
    the larger of the two levels, and where OOD sets differ in size that of the smallest.

    >>> from .auroc import components
    >>> ood = np.arange(40.0)
    >>> good, bad = components(ood + 30, ood), components(ood + 5, ood)
    >>> found = paired_test(good, bad)
    >>> round(found.difference.value, 4), found.p < 1e-6
    (0.3516, True)
    >>> paired_test(good, good).p
    1.0
    """
    gap = first.minus(second)
    return Paired(gap.interval(), gap.standard_error(), max(by_error(gap), by_unseen(gap)))


def by_error(gap: Components) -> float:
    """P(|t| >= |difference| / se); of a difference without variance 1 where it is zero, else 0."""
    from scipy.special import ndtr, stdtr

    error, degrees = gap.standard_error(), gap.degrees()
    if error == 0:
        return float(gap.value == 0)
    t = -abs(gap.value) / error
    return float(2 * (stdtr(degrees, t) if np.isfinite(degrees) else ndtr(t)))


def by_unseen(gap: Components) -> float:
    """The level whose interval reaches zero by what k images may not show: still (1 - p^(1/k)) = |d| / (1 + |d|)."""
    needed, still = abs(gap.value) / (1 + abs(gap.value)), gap.still()
    return 0.0 if needed >= still else (1 - needed / still) ** gap.fewest()


def worst_of(parts: Sequence[Components]) -> Estimate:
    """min_k A_k of AUROCs A_k against K OOD sets, with an interval that holds it with 95% probability.

    The lower end is the least of the sets' own: where that of the truly worst set holds, so does it. The upper end is
    the least of ends that each fail with a K-th of the probability (Bonferroni): which set gives it is chosen by the
    images.

    >>> from .auroc import components
    >>> own, ood = np.arange(40.0) + 20, np.arange(40.0)
    >>> near, far = components(own, ood), components(own, ood - 10)
    >>> worst = worst_of([near, far])
    >>> worst.value == near.value, worst.low == near.interval().low, worst.high > near.interval().high
    (True, True, True)
    """
    level = 1 - (1 - LEVEL) / len(parts)
    low, high = min(part.interval().low for part in parts), min(part.interval(level).high for part in parts)
    return Estimate(min(part.value for part in parts), low, high)


def worst_test(first: Sequence[Components], second: Sequence[Components]) -> float:
    """The p-value of equal worst cases, min_k A_k = min_k B_k, over K OOD sets that two detectors share.

    min B > min A where some A_i lies below every B_j. For one i that is shown by the least significant of K tests (an
    intersection-union test), and i is chosen among K: p = K min_i max_j p(A_i < B_j), the smaller of both directions.
    Each test is paired: on one set as in `paired_test`, on two by the ID images. The first's images have the numbers.

    >>> from .auroc import components
    >>> ood = np.arange(40.0)
    >>> good, bad = components(ood + 30, ood), components(ood + 5, ood)
    >>> worst_test([good, bad], [good, good]) < 1e-6, worst_test([good, bad], [bad, good])
    (True, 1.0)
    """
    second = [
        replace(b, numbers=a.numbers) for a, b in zip(first, second, strict=True)
    ]  # records of sets in two orders
    return min(1.0, below(first, second), below(second, first))


def below(first: Sequence[Components], second: Sequence[Components]) -> float:
    """K min_i max_j p(A_i < B_j)."""
    found = [
        max(by_both(b, a, same=i == j) if b.value > a.value else 1.0 for j, b in enumerate(second))
        for i, a in enumerate(first)
    ]
    return len(first) * min(found)


def by_both(first: Components, second: Components, *, same: bool) -> float:
    """The p-value of equal AUROCs of the same ID images, against the `same` OOD images or a set of others, perhaps with
    some of them in it."""
    if same:
        return paired_test(first, second).p
    sizes = [*first.sizes, *second.sizes[1:]] if first.sizes and second.sizes else []
    gap = Components(
        first.value - second.value,
        first.v_id - second.v_id,
        [*first.v_ood, *(-v for v in second.v_ood)],
        difference=True,
        sizes=sizes,
        numbers=[*first.numbers, *second.numbers],
    )
    R = len(gap.v_id)
    # a mean over sets halves their values, a difference does not
    wide = replace(gap, v_ood=[np.broadcast_to(2 * v, (R, v.shape[1])) for v in gap.v_ood])
    return max(by_error(wide), min(1.0, 2 * by_unseen(gap)))  # each set may hide something


def holm(p: Sequence[float]) -> list[float]:
    """p-values that hold for all tests together (Holm 1979): one at most alpha is wrong with probability alpha at most.

    max_{i <= j} (m - i + 1) p_(i), at most 1, for the j-th smallest of m, whatever their dependence.

    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.arange(len(p), 0, -1) * np.asarray(p, dtype=float)[order])
    found = np.empty(len(p))
    found[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in found]


def rank_ranges(values: Sequence[float], differs: np.ndarray) -> list[tuple[int, int, int]]:
    """Of each value its rank, 1 for the largest, with the best and the worst rank that tests leave it.

    `differs` (k, k) says which pairs differ significantly. The range excludes those that are so above or below: where
    the tests hold together, all ranges do (Al Mohamad, Goeman and van Zwet 2022). Equal values share the better rank.

    >>> differs = np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]], dtype=bool)
    >>> rank_ranges([0.9, 0.8, 0.5], differs)
    [(1, 1, 2), (2, 1, 2), (3, 3, 3)]
    """
    above = np.asarray(values)[None, :] > np.asarray(values)[:, None]  # [i, j]: j is above i
    best = 1 + (above & differs).sum(axis=1)
    worst = len(values) - (above.T & differs).sum(axis=1)
    return [(int(rank), int(b), int(w)) for rank, b, w in zip(1 + above.sum(axis=1), best, worst, strict=True)]
