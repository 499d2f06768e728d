"""How good a bound can be, where of the sorted noisy scores only those at the knots of their band are known.

A bound is made of scores at ranks (`bounds`, `predicted`). One between two knots lies between their scores: a lower
bound on a quantile is at most the score at the next knot, an upper one at least that at the knot before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from .bounds import column, dkw, from_band, from_quantiles
from .deployed import knots
from .gain import Bounds, Gain, beside, flags
from .predicted import predicting_rank
from .ranks import rank

Extremes = tuple[float, float]
UNBOUNDED = (-math.inf, math.inf)


class Around(NamedTuple):
    """Ascending scores (n, m) at the knots of N, and the extremes of the score."""

    at: np.ndarray
    N: int
    extremes: Extremes

    def above(self, k: int) -> int:
        """The number, among the knots from 1, of the first of rank k or higher; 0 for k = 0."""
        return 0 if k < 1 else 1 + int(np.searchsorted(knots(self.N), k))

    def below(self, k: int) -> int:
        """The same of the last of rank k or lower; one more than there are for k = N + 1."""
        return len(knots(self.N)) + 1 - self.above(self.N + 1 - k)

    def both(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n,): at least Y_(low), and at most Y_(high)."""
        above, below = self.above(low), self.below(high)
        return column(self.at, above, self.extremes), column(self.at, below, self.extremes)

    def quantile(self, z: float, r: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """The narrowest bounds on the quantile at Phi(z) within r sigma."""
        return self.both(rank(self.N, z - r, alpha, lower=True), rank(self.N, z + r, alpha, lower=False))


def narrowest(
    around: Around, r: float, alpha: float, gain: Gain | None = None, *, tail: float | None = None, slack: float = 0.0
) -> Bounds:
    """No lower bound from N scores is above these, no upper one below: of the median (no gain), of ROSS-Q (`gain` and
    `tail`) or of ROSS (a gain alone).

    Derived in docs/theorems.md, T33.
    """
    extremes = around.extremes
    if gain is None:
        lower, upper = beside(*around.quantile(0.0, r, alpha), slack, confident=True)
        return Bounds(lower, upper, **flags(lower, upper, *extremes))
    if tail is not None:
        middle, bottom, top = (around.quantile(z, r, alpha / 3) for z in (0.0, float(ndtri(tail)), -float(ndtri(tail))))
        return from_quantiles(middle, bottom, top, gain, extremes, slack=slack)
    (m_low, m_high), N = around.quantile(0.0, r, alpha / 2), around.N
    ends = np.clip(np.append(0, knots(N)) / N + dkw(N, alpha / 2), 0, 1)
    highest = m_high, around.below(rank(N, r, alpha / 2, lower=False))
    return from_band(around.at, m_low, highest, (ends, 1 - ends[::-1]), r, gain, extremes, slack=slack)


def narrowest_predicted(
    around: Around, r: float, alpha: float, gain: Gain | None = None, *, tail: float | None = None, slack: float = 0.0
) -> Bounds:
    """The same of bounds on the score of N fresh copies (`predicted_bounds`).

    Derived in docs/theorems.md, T33.
    """
    N, extremes = around.N, around.extremes

    def both(lth: int, share: float) -> tuple[np.ndarray, np.ndarray]:
        """The narrowest bounds on the lth of the fresh copies' scores."""
        return around.both(predicting_rank(N, lth, r, share), N + 1 - predicting_rank(N, N + 1 - lth, r, share))

    if gain is not None and tail is not None:
        middle, bottom, top = (both(max(1, math.ceil(u * N - 1e-9)), alpha / 3) for u in (0.5, tail, 1 - tail))
        return from_quantiles(middle, bottom, top, gain, extremes, slack=slack)
    lower, upper = both((N + 1) // 2, alpha)
    if gain is not None:
        upper = gain.beside(slack)(upper, np.zeros_like(upper))
    lower, upper = beside(lower, upper, slack, confident=True)
    return Bounds(lower, upper, **flags(lower, upper, *(extremes if gain is None else gain.range(extremes))))
