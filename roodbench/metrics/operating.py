"""What certified numbers say of new images, and how many images that takes.

The worst score of an image within the radius is a function of the image alone, so that it misses a threshold (of ID),
or reaches it (of OOD), is an event with a probability over images. What is seen is whether its certified bound does:
that happens for every image that has the event, but for a probability `miss` over the noise that was drawn.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from scipy.special import betaincinv, xlogy

STEPS = 60
"""Halvings of an interval."""


def threshold_of(scores: np.ndarray, tpr: float) -> float:
    """The highest of the scores (n,) that at least a share `tpr` of them reach.

    >>> threshold_of(np.arange(100.0), 0.95)
    5.0
    """
    return float(np.sort(scores)[min(len(scores) - 1, math.floor((1 - tpr) * len(scores) + 1e-9))])


def most_probable(k: int, n: int, alpha: float) -> float:
    """The upper limit of Clopper and Pearson (1934): below a probability with an error of alpha, k of n seen.

    >>> round(most_probable(0, 50, 1e-3), 4), most_probable(50, 50, 1e-3)
    (0.129, 1.0)
    """
    return 1.0 if k >= n else float(betaincinv(k + 1, n - k, 1 - alpha))


def rate_of_new(k: int, n: int, alpha: float, miss: float) -> float:
    """The probability of the event of a new image, at most, where k of n images seem to have it.

    Holds with probability 1 - alpha over images and noise: most_probable(k, n, alpha) / (1 - miss).

    >>> round(rate_of_new(2, 100, 1e-3, 1e-4), 4)
    0.1073

    Derived in docs/theorems.md, T28.
    """
    return min(1.0, most_probable(k, n, alpha) / (1 - miss))


def divergence(p: float, q: float) -> float:
    """kl(p, q) = p ln(p / q) + (1 - p) ln((1 - p) / (1 - q)), in nats, for 0 < q < 1."""
    return float(xlogy(p, p / q) + xlogy(1 - p, (1 - p) / (1 - q)))


def auroc_of_new(value: float, k: int, alpha: float, miss: float) -> float:
    """The AUROC of new images, at least: `value` is the certified one of at least k ID and k OOD images.

    The least theta with k kl(value, theta) <= ln(1 / alpha), less what bounds may have missed: `miss` is the sum of the
    probabilities that an ID and an OOD bound fails. It holds with probability 1 - alpha for every k, not only large
    ones (Hoeffding 1963).

    >>> auroc_of_new(1.0, 100, 1e-3, 0.0) == 1e-3 ** (1 / 100), round(auroc_of_new(0.9, 1000, 1e-3, 1e-4), 3)
    (True, 0.861)

    Derived in docs/theorems.md, T29.
    """
    return max(0.0, 1 - (1 - least_mean(value, k, alpha)) / (1 - miss))


def least_mean(value: float, k: int, alpha: float) -> float:
    """The least theta with k kl(value, theta) <= ln(1 / alpha) (docs/theorems.md, T29)."""
    if value >= 1:
        return float(alpha ** (1 / k))
    low, high = 0.0, value
    for _ in range(STEPS if value > 0 else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if k * divergence(value, middle) <= -math.log(alpha) else (middle, high)
    return low


def images_for_rate(most: float, alpha: float, share: float = 0.0) -> int:
    """Of how many images `share` < `most` may seem to have an event for it to be shown no more probable than `most`.

    >>> images_for_rate(0.05, 1e-3), images_for_rate(0.05, 1e-3, 0.01)
    (135, 257)

    Derived in docs/theorems.md, T31.
    """
    return fewest(lambda n: most_probable(math.ceil(share * n), n, alpha) <= most)


def images_for_auroc(width: float, alpha: float, value: float) -> int:
    """The fewest images of either population that give an AUROC `value` an interval of this width for new ones.

    Its ends are `least_mean` of the value and, from above, of 1 - value, with alpha / 2 each.

    >>> images_for_auroc(0.05, 1e-3, 0.9)
    2188

    Derived in docs/theorems.md, T31.
    """
    return fewest(lambda n: 1 - least_mean(1 - value, n, alpha / 2) - least_mean(value, n, alpha / 2) <= width)


def fewest(enough: Callable[[int], bool]) -> int:
    """A number that is enough, found by halving: the least where all greater ones are enough too."""
    most = 1
    while not enough(most):
        most *= 2
    return 1 + bisect_left(range(1, most), True, key=enough)
