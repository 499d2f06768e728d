"""A smoothed detector in its population form: its score from all noisy copies, and certified bounds of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from detectors import ROSS, ROSSQ, Median, Smoothed

from ..data import SHARD, ImageSet
from ..metrics.bounds import Bounds, Gain, median_bounds, ross_bounds, ross_q_bounds
from .config import CERTIFIABLE

PARTS = 8
"""Into which the draws are cut to measure the noise of a population's AUROC."""


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
    attacked: dict[float, Scored] = field(default_factory=dict)
    """By l2 radius, of the images moved by the suite."""
    bounds: dict[tuple[float, float], Bounds] = field(default_factory=dict)
    """By l2 radius and alpha."""

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


def bounds_of(detector: Smoothed, y: np.ndarray, r: float, alpha: float, *, confident: bool = True) -> Bounds:
    """Certified bounds of a fitted detector in its population form, from sorted scores (n, N); r = radius / sigma."""
    check_certifiable(detector)
    extremes = detector.base.extremes()
    if not isinstance(detector, ROSS):
        return median_bounds(y, r, alpha, extremes, confident=confident)
    gain = gain_of(detector)
    if isinstance(detector, ROSSQ):
        return ross_q_bounds(y, r, alpha, gain, extremes, tail=detector.tail, confident=confident)
    return ross_bounds(y, r, alpha, gain, extremes, confident=confident)


def population(detector: Smoothed, y: np.ndarray) -> np.ndarray:
    """The detector's score (n,) from all noisy scores (n, N) of an image."""
    rows = [torch.from_numpy(np.ascontiguousarray(part.T)).double() for part in np.array_split(y, -(-len(y) // SHARD))]
    return torch.cat([detector.combine(s) for s in rows]).numpy()
