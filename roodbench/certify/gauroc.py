"""Certified AUROC and FPR95: what no adversary within the radius can push them below, above."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom


def gauroc(lower_id: np.ndarray, upper_ood: np.ndarray) -> float:
    """Guaranteed AUROC: the share of pairs with l_i > u_j, strict; ties lose.

    >>> gauroc(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    0.75
    """
    below = np.searchsorted(np.sort(upper_ood), lower_id, side="left")
    return float(below.mean() / len(upper_ood))


def gfpr95(lower_id: np.ndarray, upper_ood: np.ndarray) -> float:
    """Guaranteed FPR95: the share of u_j that reach the 5% quantile of l_i, ID positive.

    For the conditions `min` and `max` give the clean lower bounds (r = 0) as `lower_id`.
    """
    threshold = np.sort(lower_id)[int(0.05 * len(lower_id))]
    return float(np.mean(upper_ood >= threshold))


def counted(n_id: int, n_ood: int, alpha: float, beta: float) -> float:
    """What to take from a GAUROC whose bounds hold at 1 - alpha each to have it hold at 1 - beta.

    All but k_id of the ID and k_ood of the OOD bounds hold, k = binom.ppf(1 - beta / 2, n, alpha): each bound that
    fails costs at most its share of pairs.
    """
    return float(sum(binom.ppf(1 - beta / 2, n, alpha) / n for n in (n_id, n_ood)))
