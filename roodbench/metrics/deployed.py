"""What can be promised for a detector as it is deployed: the median of n noisy scores, drawn afresh for every image.

Under any l2 shift of radius r sigma the median M of n copies (n odd) obeys

    P(M <= t) <= B(Phi(z(F_x(t)) + r)),    P(M <= t) >= B(Phi(z(F_x(t)) - r)),    B(p) = P(Bin(n, p) >= (n + 1) / 2),

with F_x the distribution function of one noisy score of the clean image. So ID medians lie above, and OOD medians
below, variables with these distribution functions, and the expected AUROC over draws is at least theirs.

F_x is known from N scores up to a band that holds at a few ranks, the knots. It is narrow in the tails, which a large r
makes all of F_x: one of constant width (Dvoretzky, Kiefer, Wolfowitz) says nothing there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from scipy.special import betainc, betainccinv, betaincinv, ndtr, ndtri

THRESHOLDS = 2000
SINGLE = 20
"""Ranks at either end at each of which a band holds."""

Highest = Callable[[np.ndarray], np.ndarray]


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
    return betainc(half, half, ndtr(ndtri(F) + r))


@cache
def knots(N: int) -> np.ndarray:
    """The ranks (m,), mirrored, of N scores at which their band holds: the first 20, then the next one to k + d,

        d = min(k / 10, sqrt(k N) / 40),

    so that between two of them F_x moves little in relation to F_x (1 - F_x) in the tails, and to 1 in the middle.

    >>> len(knots(10**4)), knots(10**4)[17:23].tolist(), len(knots(12))
    (186, [18, 19, 20, 22, 24, 26], 12)

    Derived in docs/theorems.md, T23.
    """
    half = list(range(1, min(N, SINGLE) + 1))
    while (k := half[-1]) < (N + 1) / 2:
        half.append(k + max(1, round(min(k / 10, math.sqrt(k * N) / 40))))
    half = [k for k in half if k <= (N + 1) / 2]
    return np.array(sorted({*half, *(N + 1 - k for k in half)}))


def at_knots(y: np.ndarray) -> np.ndarray:
    """Of sorted scores (n, N) those at the knots (n, m): all that a band needs."""
    return y[:, knots(y.shape[1]) - 1]


@lru_cache(maxsize=256)
def band(N: int, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """What F_x(t) is at least and at most, (m + 1,) each, where 0, 1, .., m of the knots' scores are <= t.

    Either holds for all t at once with probability 1 - alpha.

    >>> [side.round(4).tolist() for side in band(2, 0.02)]
    [[0.0, 0.005, 0.1], [0.9, 0.995, 1.0]]

    Derived in docs/theorems.md, T23.
    """
    k = knots(N)
    least = betaincinv(k, N + 1 - k, alpha / len(k))
    return np.append(0.0, least), np.append(1 - least[::-1], 1.0)


def disproved_knots(at: np.ndarray, y: np.ndarray, N: int, alpha: float, error: float, slack: float) -> np.ndarray:
    """Which bands of level alpha, around the scores `at` (n, m) at the knots of N, fresh sorted scores (n, M) disprove.

    (n,) bool, wrong with probability `error` each, where no score is off by more than `slack`.

    Derived in docs/theorems.md, T15, T23.
    """
    M, m = y.shape[1], at.shape[1]
    least, most = band(N, alpha)
    below = np.stack([np.searchsorted(row, knot - slack, side="left") for row, knot in zip(y, at, strict=True)])
    upto = np.stack([np.searchsorted(row, knot + slack, side="right") for row, knot in zip(y, at, strict=True)])
    share = error / (2 * m)
    at_least = np.where(below > 0, betaincinv(np.maximum(below, 1), M + 1 - below, share), 0.0)
    not_more = np.where(upto < M, betainccinv(upto + 1, np.maximum(M - upto, 1), share), 1.0)
    return np.logical_or.reduce((at_least > most[:-1]) | (not_more < least[1:]), axis=1)


def deployed_auroc(
    y_id: np.ndarray,
    y_ood: np.ndarray,
    n: int,
    r_id: float,
    r_ood: float,
    alpha: float,
    *,
    highest: Highest | None = None,
) -> float:
    """A lower bound on the expected AUROC (ties lose) of the median of n copies, ID and OOD moved by up to r sigma.

    From sorted scores (n_id, N) and (n_ood, N); holds with probability 1 - alpha * (n_id + n_ood), bands of level
    alpha for each image. alpha = 1 leaves the bands out: the estimate. `highest` maps a median to the largest score a
    detector may give it, of one whose score is at least its median: the bound then is that detector's.

    >>> y_id, y_ood = np.array([[1.0, 2.0, 3.0]]), np.array([[-2.0, -1.0, 0.0]])
    >>> deployed_auroc(y_id, y_ood, 25, 0.0, 0.0, 1.0)
    1.0

    Derived in docs/theorems.md, T11.
    """
    N_id, N_ood = y_id.shape[1], y_ood.shape[1]
    if alpha >= 1:
        most, least = np.arange(N_id + 1) / N_id, np.arange(N_ood + 1) / N_ood
    else:
        y_id, y_ood, most, least = at_knots(y_id), at_knots(y_ood), band(N_id, alpha)[1], band(N_ood, alpha)[0]
    return within_bands(y_id, y_ood, most, least, n, r_id, r_ood, highest)


def within_bands(
    at_id: np.ndarray,
    at_ood: np.ndarray,
    most: np.ndarray,
    least: np.ndarray,
    n: int,
    r_id: float,
    r_ood: float,
    highest: Highest | None = None,
) -> float:
    """`deployed_auroc` from ascending scores (n_id, m) and (n_ood, m') of which t passes 0, 1, .. with F_x(t) at most
    `most` (m + 1,) for ID, at least `least` (m' + 1,) for OOD.

    Derived in docs/theorems.md, T11.
    """
    pooled = np.concatenate([at_id.ravel(), at_ood.ravel()])
    t = np.unique(np.quantile(pooled, np.linspace(0, 1, THRESHOLDS)).astype(at_ood.dtype))
    below_ood = at_most(steps(at_ood, t, least), n, -r_ood).mean(0)  # P(U <= t), at least
    reached = t if highest is None else highest(t.astype(np.float64)).astype(np.float64)
    below_id = at_most(steps(at_id, reached, most), n, r_id).mean(0)  # P(L <= highest(t)), at most
    # P(L > U) >= sum over (t_{b-1}, t_b] of P(U in it) P(L > t_b); above the last threshold nothing is promised
    return float(np.diff(below_ood, prepend=0.0) @ (1 - below_id))


def steps(at: np.ndarray, t: np.ndarray, F: np.ndarray) -> np.ndarray:
    """(n, T): the step functions that are F (m + 1,) where 0, 1, .., m of ascending scores (n, m) are <= t (T,)."""
    return np.stack([F[np.searchsorted(row, t, side="right")] for row in at])
