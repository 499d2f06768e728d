"""What can be promised for a detector as it is deployed: the median of n noisy scores, drawn afresh for every image.

Under any l2 shift of radius r sigma the median M of n copies (n odd) obeys

    P(M <= t) <= B(Phi(z(F_x(t)) + r)),    P(M <= t) >= B(Phi(z(F_x(t)) - r)),    B(p) = P(Bin(n, p) >= (n + 1) / 2),

with F_x the distribution function of one noisy score of the clean image. So ID medians lie above, and OOD medians
below, variables with these distribution functions, and the expected AUROC over draws is at least theirs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import betainc, ndtr, ndtri

from .bounds import dkw

THRESHOLDS = 2000


def at_most(F: np.ndarray, n: int, r: float) -> np.ndarray:
    """The largest (r > 0) or least (r < 0) P(median of n <= t) within the radius, from F = F_x(t).

    B(p) is the regularised incomplete beta function I_p(h, h) of h = (n + 1) / 2.

    >>> at_most(np.array([0.0, 0.5, 1.0]), 25, 0.0).tolist()
    [0.0, 0.5, 1.0]

    Derived in docs/theorems.md, T10.
    """
    if n % 2 == 0:
        raise ValueError(f"copies {n}: expected an odd number, or the median of the copies has no rank of its own")
    half = (n + 1) / 2
    return betainc(half, half, ndtr(ndtri(np.clip(F, 0, 1)) + r))


def distribution(y: np.ndarray, t: np.ndarray, margin: float) -> np.ndarray:
    """(n, T): the empirical distribution functions of sorted scores (n, N) at t (T,), moved by `margin`.

    Derived in docs/theorems.md, T11.
    """
    F = np.stack([np.searchsorted(row, t, side="right") for row in y]) / y.shape[1]
    return np.clip(F + margin, 0, 1)


def deployed_auroc(
    y_id: np.ndarray,
    y_ood: np.ndarray,
    n: int,
    r_id: float,
    r_ood: float,
    alpha: float,
    *,
    highest: Callable[[np.ndarray], np.ndarray] | None = None,
) -> float:
    """A lower bound on the expected AUROC (ties lose) of the median of n copies, ID and OOD moved by up to r sigma.

    From sorted scores (n_id, N) and (n_ood, N); holds with probability 1 - alpha * (n_id + n_ood), DKW bands of level
    alpha for each image. alpha = 1 leaves the bands out: the estimate. `highest` maps a median to the largest score a
    detector may give it, of one whose score is at least its median: the bound then is that detector's.

    >>> y_id, y_ood = np.array([[1.0, 2.0, 3.0]]), np.array([[-2.0, -1.0, 0.0]])
    >>> deployed_auroc(y_id, y_ood, 25, 0.0, 0.0, 1.0)
    1.0

    Derived in docs/theorems.md, T11.
    """
    w_id, w_ood = (0.0 if alpha >= 1 else dkw(y.shape[1], alpha) for y in (y_id, y_ood))
    pooled = np.concatenate([y_id.ravel(), y_ood.ravel()])
    t = np.unique(np.quantile(pooled, np.linspace(0, 1, THRESHOLDS)).astype(y_ood.dtype))
    below_ood = at_most(distribution(y_ood, t, -w_ood), n, -r_ood).mean(0)  # P(U <= t), at least
    reached = t if highest is None else highest(t.astype(np.float64)).astype(np.float64)
    below_id = at_most(distribution(y_id, reached, w_id), n, r_id).mean(0)  # P(L <= highest(t)), at most
    # P(L > U) >= sum over (t_{b-1}, t_b] of P(U in it) P(L > t_b); above the last threshold nothing is promised
    return float(np.diff(below_ood, prepend=0.0) @ (1 - below_id))
