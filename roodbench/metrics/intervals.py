"""From a value and its standard error to an interval at level 95% that holds near 0 and 1 too.

docs/intervals.md shows how often such intervals hold the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
"""Of every interval."""

TWO_SIDED, ONE_SIDED = 1.959963984540054, 1.6448536269514722
"""Standard normal quantiles at 1/2 + LEVEL / 2 and LEVEL: written out, since importing scipy.special takes 0.2 s."""

FEW, EXTREME = 100, 0.98
"""Fewer images than this and an AUROC (or one minus it) above that: the number of images limits the interval."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval at level 95%.

    >>> Estimate(0.9, 0.85, 0.94).ci
    [0.85, 0.94]
    """

    value: float
    low: float
    high: float

    @property
    def ci(self) -> list[float]:
        return [self.low, self.high]


def student(z: float, degrees: float) -> float:
    """Student's quantile at the level of the normal quantile z: t = z + (z^3 + z) / (4 degrees) + ...

    By its expansion (Abramowitz and Stegun 1964, 26.7.5), right to 1e-3 from 4 degrees of freedom on; below by scipy.

    >>> round(student(TWO_SIDED, 9), 4), round(student(TWO_SIDED, 30), 4), round(student(TWO_SIDED, math.inf), 4)
    (2.2621, 2.0423, 1.96)
    """
    if degrees < 4:
        from scipy.special import ndtr, stdtrit

        return float(stdtrit(degrees, ndtr(z)))
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, start=1))


def unseen(k: int, level: float = LEVEL) -> float:
    """1 - 0.05^(1/k): an event more probable than this shows in k independent images with 95% probability (`level`).

    >>> round(unseen(30), 4), round(unseen(1000), 4)
    (0.095, 0.003)
    """
    return float(1 - (1 - level) ** (1 / k))


def two_sided(level: float) -> float:
    """The standard normal quantile at 1/2 + level / 2."""
    if level == LEVEL:
        return TWO_SIDED
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))


def within(value: float, half: float, miss: float, *, lowest: float = 0.0) -> Estimate:
    """The interval of a value in [lowest, 1] with the half-width `half`, and of what the images may have missed.

    Of a share in (0, 1) logit(value) -+ half / (value (1 - value)), transformed back; of a difference (`lowest` -1) or
    a share of 0 or 1, value -+ half. An event of probability `miss` moves the value by that part of its way to either
    end, and the interval holds both (docs/theorems.md, T18):

        value - miss (value - lowest)  and  value + miss (1 - value)

    >>> [round(end, 4) for end in within(0.99, 0.009, 0.03).ci]  # the event's lower end, the logit's upper one
    [0.9603, 0.9959]
    """
    low, high = value - half, value + half
    if lowest == 0 and 0 < value < 1:
        odds = math.exp(min(half / (value * (1 - value)), 700.0))
        low, high = value / (value + (1 - value) * odds), value / (value + (1 - value) / odds)
    low, high = min(low, value - miss * (value - lowest)), max(high, value + miss * (1 - value))
    return Estimate(value, max(lowest, low), min(1.0, high))


def finite(scores: np.ndarray) -> np.ndarray:
    """(..., n) float64; ValueError for no scores, complex ones, or one that is NaN or infinite."""
    scores = np.asarray(scores)
    if np.iscomplexobj(scores) or not scores.size:
        raise ValueError(f"scores are {scores.dtype} {scores.shape}: expected real numbers, one of each image")
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        bad = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"score of image {bad[-1]} is {scores[tuple(bad)]}: expected a finite number")
    return scores
