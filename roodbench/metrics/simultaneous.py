"""Bounds that hold together, at every radius and of every detector over one base score: all from one band per image.

F_x, the distribution function of one noisy score of the clean image, lies between the two sides of a band that holds at
a few ranks, the knots (`deployed.band`). On that one event all quantiles are bounded, and so every detector that is a
function of quantiles, at every radius and against every threshold. What it needs are the scores at the knots.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from .bounds import column, from_band, from_quantiles
from .deployed import band
from .gain import Bounds, Gain, beside, flags


class Knots(NamedTuple):
    """Ascending scores (n, m) at the knots, and what F_x is at least and at most, (m + 1,) each, where 0, 1, .., m of
    them are <= t."""

    at: np.ndarray
    least: np.ndarray
    most: np.ndarray

    def quantile(self, z: float, extremes: tuple[float, float], *, lower: bool) -> tuple[np.ndarray, int]:
        """A bound (n,) on q_x(Phi(z)) from below (`lower`) or above, and its rank among the knots.

        Derived in docs/theorems.md, T27.
        """
        v = ndtr(z)
        k = int(np.searchsorted(self.most[:-1], v) if lower else 1 + np.searchsorted(self.least[1:], v))
        return column(self.at, k, extremes), k

    def both(self, low: float, high: float, extremes: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Bounds on q_x(Phi(low)) from below and on q_x(Phi(high)) from above."""
        return self.quantile(low, extremes, lower=True)[0], self.quantile(high, extremes, lower=False)[0]


def knots_with(at: np.ndarray, N: int, alpha: float) -> Knots:
    """Scores (n, m) at the knots of N, with both sides of each image's band: for an image with probability 1 - alpha.

    Derived in docs/theorems.md, T23, T27.
    """
    least, most = band(N, alpha / 2)
    return Knots(at, least, most)


def bounds_together(
    known: Knots,
    r: float,
    gain: Gain | None = None,
    extremes: tuple[float, float] = (-math.inf, math.inf),
    *,
    tail: float | None = None,
    slack: float = 0.0,
) -> Bounds:
    """Of the median (no gain), of ROSS-Q (`gain` and `tail`) or of ROSS (a gain alone), under any shift within r sigma.

    On the event that an image's band holds, its bounds at all r and of all of these detectors hold.

    Derived in docs/theorems.md, T27.
    """
    if gain is None:
        lower, upper = beside(*known.both(-r, r, extremes), slack, confident=True)
        return Bounds(lower, upper, **flags(lower, upper, *extremes))
    if tail is not None:
        z = -float(ndtri(tail))
        middle, bottom, top = (known.both(at - r, at + r, extremes) for at in (0.0, -z, z))
        return from_quantiles(middle, bottom, top, gain, extremes, slack=slack)
    (m_low, _), m_high = known.quantile(-r, extremes, lower=True), known.quantile(r, extremes, lower=False)
    return from_band(known.at, m_low, m_high, (known.most, known.least), r, gain, extremes, slack=slack)
