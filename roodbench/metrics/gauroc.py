"""Certified AUROC and FPR95: what no adversary within the radius can push them below, above."""

from __future__ import annotations

import numpy as np

SPARED = 1e-3
"""Share of a population's bounds that may fail, for a counted GAUROC."""


def gauroc(lower_id: np.ndarray, upper_ood: np.ndarray) -> float:
    """Guaranteed AUROC: the share of pairs with l_i > u_j, strict; ties lose (docs/theorems.md, T12).

    >>> gauroc(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    0.75
    """
    below = np.searchsorted(np.sort(upper_ood), lower_id, side="left")
    return float(below.mean() / len(upper_ood))


def gfpr95(lower_id: np.ndarray, upper_ood: np.ndarray) -> float:
    """Guaranteed FPR95: the share of u_j that reach the 5% quantile of l_i, ID positive (docs/theorems.md, T12).

    For the conditions `min` and `max` give the clean lower bounds (r = 0) as `lower_id`.

    >>> gfpr95(np.arange(100.0), np.array([4.9, 5.0, 6.0, -1.0]))
    0.5
    """
    threshold = np.sort(lower_id)[int(0.05 * len(lower_id))]
    return float(np.mean(upper_ood >= threshold))


def spared(n: int) -> int:
    """How many bounds of n a counted GAUROC lets fail: a thousandth, which costs a tenth of a point of AUROC.

    >>> spared(50), spared(9000)
    (0, 9)
    """
    return int(SPARED * n)


def image_alpha(n: int, alpha: float) -> float:
    """The largest error of one of n bounds at which more than `spared` of them fail with probability alpha / 2.

    It is fixed by n and alpha, before anything is drawn.

    >>> round(image_alpha(50, 1e-3) * 1e5, 2), round(image_alpha(9000, 1e-3) * 1e5, 1)
    (1.0, 30.0)

    Derived in docs/theorems.md, T30.
    """
    from scipy.special import betaincinv

    return float(betaincinv(spared(n) + 1, n - spared(n), alpha / 2))


def counted(n_id: int, n_ood: int) -> float:
    """What to take from a GAUROC whose bounds hold at 1 - image_alpha(n, alpha) each to have it hold at 1 - alpha.

    All but k_id of the ID and k_ood of the OOD bounds hold; each that fails costs at most its share of pairs.

    >>> counted(100, 2000)
    0.001

    Derived in docs/theorems.md, T13, T30.
    """
    return sum(spared(n) / n for n in (n_id, n_ood))
