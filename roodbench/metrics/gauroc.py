"""Certified AUROC and FPR95: what no adversary within the radius can push them below, above."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np


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


def counted(n_id: int, n_ood: int, alpha: float, beta: float) -> float:
    """What to take from a GAUROC whose bounds hold at 1 - alpha each to have it hold at 1 - beta.

    All but k_id of the ID and k_ood of the OOD bounds hold, k the least with P(Bin(n, alpha) <= k) >= 1 - beta / 2:
    each bound that fails costs at most its share of pairs.

    >>> counted(100, 200, 0.001, 0.05)
    0.015

    Derived in docs/theorems.md, T13.
    """
    return sum(most_failures(n, alpha, beta / 2) / n for n in (n_id, n_ood))


def most_failures(n: int, alpha: float, beta: float) -> int:
    """The least k with P(Bin(n, alpha) <= k) >= 1 - beta."""
    from .ranks import binomial

    return bisect_left(range(n), 1 - beta, key=lambda k: binomial(k, n, alpha))
