"""A smoothed detector in its population form: its score from all noisy copies, and certified bounds of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from detectors import ROSS, ROSSQ, Median, Smoothed

from ..data import SHARD, ImageSet
from ..metrics.bounds import median_bounds, ross_bounds, ross_q_bounds
from ..metrics.gain import Bounds, Gain
from ..metrics.narrowest import Around, narrowest, narrowest_predicted
from ..metrics.predicted import predicted_bounds
from ..metrics.simultaneous import Knots, bounds_together
from .config import CERTIFIABLE

PARTS = 8
"""Into which the draws are cut to measure the noise of a population's AUROC."""
LEAST_ETA = 1e-4
"""Of the spread of the noisy scores: with less, an upper bound is made of what rounding does to their agreement."""
LEAST_ROUNDINGS = 8
"""By how much more than its rounding eta must be."""
ULPS = 4
"""Roundings in float32 by which a score may be off, at least."""


@dataclass
class Scored:
    """One population: sorted noisy scores (n, N) and what the detector makes of them, clean and per radius attacked."""

    images: ImageSet
    y: np.ndarray
    clean: np.ndarray
    """The population's score (n,): of all N copies."""
    parts: np.ndarray
    """(8, n): the same from an eighth of the copies each."""
    deployed: np.ndarray
    """(10, n): scores of the detector as it is deployed, on ten draws of its own copies."""
    first: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    """(n, blocks): the first noisy score of every block, as it was drawn."""
    attacked: dict[float, Scored] = field(default_factory=dict)
    """By l2 radius, of the images moved by the suite."""
    bounds: dict[tuple[float, str], Bounds] = field(default_factory=dict)
    """By l2 radius and kind."""

    def worse(self, moved: Scored, *, lower: bool) -> Scored:
        """Per image this or the moved one, whichever the adversary prefers; `deployed` is the moved one's."""
        gain = moved.clean < self.clean if lower else moved.clean > self.clean
        y = np.where(gain[:, None], moved.y, self.y)
        return Scored(
            self.images,
            y,
            np.where(gain, moved.clean, self.clean),
            np.where(gain, moved.parts, self.parts),
            moved.deployed,
        )


def check_certifiable(detector: Smoothed) -> None:
    """ValueError for a detector that has no certificate, saying why."""
    if not isinstance(detector, ROSS | Median):
        raise ValueError(f"{detector.label} has no certificate: expected one of {', '.join(CERTIFIABLE)}")
    if isinstance(detector, ROSS) and not detector.floored:
        raise ValueError(f"{detector.label}: D + eta has no certificate, give floored=True and eta, as 1e-3")
    bounded = np.isfinite(detector.base.extremes()).all()
    if isinstance(detector, ROSS) and not isinstance(detector, ROSSQ) and not bounded:
        name = detector.base.name
        raise ValueError(
            f"{detector.label} has no certificate: {name} is unbounded; take ross-q, or base msp, msp-t, ent, gen"
        )


def gain_of(detector: ROSS) -> Gain:
    """The g(m, D) of a fitted ROSS or ROSS-Q (docs/theorems.md, T6)."""
    return Gain(detector.fitted()["tau"], detector.gain, detector.eta)


def form_of(detector: Smoothed) -> tuple[Gain | None, float | None]:
    """What makes the score of the quantiles: g and, of ROSS-Q, the tail; None for a median, which has neither."""
    gain = gain_of(detector) if isinstance(detector, ROSS) else None
    return gain, detector.tail if isinstance(detector, ROSSQ) else None


def bounds_of(
    detector: Smoothed, y: np.ndarray, r: float, alpha: float, *, confident: bool = True, slack: float = 0.0
) -> Bounds:
    """Certified bounds of a fitted detector in its population form, from sorted scores (n, N); r = radius / sigma."""
    check_certifiable(detector)
    extremes = detector.base.extremes()
    if not isinstance(detector, ROSS):
        return median_bounds(y, r, alpha, extremes, confident=confident, slack=slack)
    gain = gain_of(detector)
    if isinstance(detector, ROSSQ):
        return ross_q_bounds(y, r, alpha, gain, extremes, tail=detector.tail, confident=confident, slack=slack)
    return ross_bounds(y, r, alpha, gain, extremes, confident=confident, slack=slack)


def predicted_of(detector: Smoothed, y: np.ndarray, r: float, alpha: float, *, slack: float = 0.0) -> Bounds:
    """Bounds on the score that N fresh copies give, N as many as there are in y (docs/theorems.md, T25)."""
    gain, tail = form_of(detector)
    return predicted_bounds(y, r, alpha, gain, detector.base.extremes(), tail=tail, slack=slack)


def together(detector: Smoothed, known: Knots, r: float, *, slack: float = 0.0) -> Bounds:
    """Bounds of a fitted detector that hold at all r, and of all detectors, where the bands of the scores do.

    Derived in docs/theorems.md, T27.
    """
    gain, tail = form_of(detector)
    return bounds_together(known, r, gain, detector.base.extremes(), tail=tail, slack=slack)


def narrowest_of(
    detector: Smoothed, at: np.ndarray, N: int, r: float, alpha: float, *, predicted: bool, slack: float
) -> Bounds:
    """What no bound from N scores is beyond, of which those at the knots are (n, m): of the population, or `predicted`.

    Derived in docs/theorems.md, T33.
    """
    gain, tail = form_of(detector)
    limit = narrowest_predicted if predicted else narrowest
    return limit(Around(at, N, detector.base.extremes()), r, alpha, gain, tail=tail, slack=slack)


def spread_of(samples: Iterable[np.ndarray]) -> float:
    """The standard deviation of all noisy scores, from some quantiles of each image's sorted ones (n, N)."""
    some = [y[:, :: max(1, y.shape[1] // 128)].astype(np.float64).ravel() for y in samples]
    return float(np.concatenate(some).std())


def slack_of(samples: Iterable[np.ndarray], rounding: float) -> float:
    """By how much a score may be off: twice the rounding that was seen, or a few roundings of the largest score."""
    largest = max(float(np.abs(y[:, [0, -1]]).max()) for y in samples)
    return max(2 * rounding, ULPS * float(np.finfo(np.float32).eps) * largest)


def too_small(detector: Smoothed, spread: float, slack: float) -> str | None:
    """What is wrong with an eta that is small beside the scores or their rounding (docs/theorems.md, T24)."""
    least = max(LEAST_ETA * spread, LEAST_ROUNDINGS * slack)
    if isinstance(detector, ROSS) and detector.eta < least:
        return (
            f"{detector.label}: eta {detector.eta:g}: expected at least {least:.2g}, {LEAST_ETA:g} of the spread "
            f"{spread:.3g} of its noisy scores and {LEAST_ROUNDINGS} times their rounding {slack:.2g}"
        )
    return None


def population(detector: Smoothed, y: np.ndarray) -> np.ndarray:
    """The detector's score (n,) from all noisy scores (n, N) of an image."""
    rows = [torch.from_numpy(np.ascontiguousarray(part.T)).double() for part in np.array_split(y, -(-len(y) // SHARD))]
    return torch.cat([detector.combine(s) for s in rows]).numpy()
