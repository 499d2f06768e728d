"""Bounds on the score that N fresh noisy copies will give: of the detector that can be run, not of its population.

Its median is an order statistic Z_(l) of N copies of the moved image. From the sorted scores Y_(1) <= ... <= Y_(N) of
as many copies of the clean one

    P(Z_(l) < Y_(j)) <= P(V < Phi(z(U) + r)),    U ~ Beta(j, N + 1 - j),  V ~ Beta(l, N + 1 - l) independent,

so that the largest j for which this is at most alpha gives a lower bound: below the rank that bounds the population's
quantile, since the fresh copies have noise of their own.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.special import betainc, betaincinv, ndtr, ndtri

from .bounds import checked, column, from_quantiles
from .gain import Bounds, Gain, beside, flags

CELLS, TAIL = 500, 1e-14
"""How finely the distribution of U is cut, and the probability at either end that is given up."""


def missing(N: int, j: int, lth: int, r: float) -> float:
    """An upper bound, some percent wide, on P(Z_(l) < Y_(j)) under a shift of r sigma; 0 for j = 0.

    >>> round(missing(1000, 451, 500, 0.0), 4)  # 451 bounds the population's median with an error of 0.001
    0.0145

    Derived in docs/theorems.md, T25.
    """
    if j < 1:
        return 0.0
    low, high = ndtri(betaincinv(j, N + 1 - j, TAIL)), -ndtri(betaincinv(N + 1 - j, j, TAIL))
    z = np.linspace(low, high, CELLS)
    below = betainc(j, N + 1 - j, ndtr(z))
    falls = betainc(lth, N + 1 - lth, ndtr(z + r))  # P(V < Phi(z + r)), which rises with z
    return float(np.diff(below, prepend=0.0) @ falls + TAIL)


@lru_cache(maxsize=4096)
def predicting_rank(N: int, lth: int, r: float, alpha: float) -> int:
    """The largest j with P(Z_(l) < Y_(j)) <= alpha, Z of an image moved by up to r sigma; 0 where there is none.

    >>> predicting_rank(1000, 500, 0.0, 1e-3), predicting_rank(1000, 500, 1.0, 1e-3)
    (430, 115)

    Derived in docs/theorems.md, T25.
    """
    low, high = 0, N + 1  # low will do, high will not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if missing(N, middle, lth, r) <= alpha else (low, middle)
    return low


def predicted_bounds(
    y: np.ndarray,
    r: float,
    alpha: float,
    gain: Gain | None = None,
    extremes: tuple[float, float] = (-math.inf, math.inf),
    *,
    tail: float | None = None,
    slack: float = 0.0,
) -> Bounds:
    """Of the score of N fresh copies under any shift within the radius: for each image with probability 1 - alpha.

    Without a gain of the lower median; with gain and `tail` of ROSS-Q, from three order statistics; with a gain alone
    of any g(m, D): from m to g(m, 0). The shift may depend on everything but the fresh noise.

    Derived in docs/theorems.md, T25.
    """
    y = checked(y, r, alpha)
    N = y.shape[1]

    def both(lth: int, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Bounds on the lth of the fresh copies' scores."""
        j, k = predicting_rank(N, lth, r, share), N + 1 - predicting_rank(N, N + 1 - lth, r, share)
        return column(y, j, extremes), column(y, k, extremes)

    if gain is None:
        lower, upper = beside(*both((N + 1) // 2, alpha), slack, confident=True)
        return Bounds(lower, upper, **flags(lower, upper, *extremes))
    if tail is not None:
        middle, bottom, top = (both(max(1, math.ceil(u * N - 1e-9)), alpha / 3) for u in (0.5, tail, 1 - tail))
        return from_quantiles(middle, bottom, top, gain, extremes, slack=slack)
    lower, upper = both((N + 1) // 2, alpha)
    lower, upper = beside(lower, gain.beside(slack)(upper, np.zeros_like(upper)), slack, confident=True)
    return Bounds(lower, upper, **flags(lower, upper, *gain.range(extremes)))
