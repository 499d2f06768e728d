"""Which of N ordered samples bounds a quantile, how far a median can be bounded, and how many samples that takes.

Ranks are 1-based; rank 0 is the lowest value that a score can have and rank N + 1 the highest.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from scipy.special import betaincc, ndtr, ndtri


def binomial(k: int, N: int, p: float) -> float:
    """P(Bin(N, p) <= k) for 0 <= k < N, exact to the last digits, where scipy's `bdtr` may be off by 1e-12.

    >>> binomial(1, 2, 0.5)
    0.75
    """
    return float(betaincc(k + 1, N - k, p))


def lower_rank(N: int, v: float, alpha: float) -> int:
    """The largest k with P(Y_(k) > q(v)) <= alpha, from P(Bin(N, v) < k); 0 where not even the smallest score will do.

    >>> lower_rank(2000, ndtr(-1.44), 1e-5), lower_rank(25, ndtr(-0.71), 1e-3)
    (102, 0)

    Derived in docs/theorems.md, T3.
    """
    return bisect_right(range(N), alpha, key=lambda k: binomial(k, N, v))


def rank(N: int, z: float, alpha: float, *, lower: bool) -> int:
    """The rank of a bound on q(Phi(z)): from below, or from above by the mirrored distribution (docs/theorems.md, T3).

    >>> rank(2000, 1.44, 1e-5, lower=False), rank(25, 0.71, 1e-3, lower=False)
    (1899, 26)
    """
    return lower_rank(N, float(ndtr(z)), alpha) if lower else N + 1 - lower_rank(N, float(ndtr(-z)), alpha)


def largest_radius(N: int, alpha: float) -> float:
    """r_max = z(alpha^(1/N)): beyond it (in units of sigma) no median has a bound from N copies (docs/theorems.md, T4).

    >>> [round(largest_radius(N, 1e-3), 2) for N in (25, 100, 1000, 10**4)]
    [0.7, 1.5, 2.46, 3.2]
    """
    return -float(ndtri(-math.expm1(math.log(alpha) / N)))


def samples_needed(r: float, alpha: float) -> int:
    """The smallest N whose median has bounds at radius r sigma: Phi(r)^N <= alpha (docs/theorems.md, T4).

    >>> samples_needed(1.0, 1e-3)
    40
    """
    return max(1, math.ceil(math.log(alpha) / math.log1p(-float(ndtr(-r)))))
