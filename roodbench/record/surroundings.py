"""What scores do near the images of a run: numbers for figures, which its record does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..metrics import auroc


@dataclass(frozen=True)
class Measured:
    """Which scores these are: benchmark and network, detector, and the name of the ID set."""

    network: str
    detector: str
    own: str


@dataclass(frozen=True)
class Shifts(Measured):
    """How far one step moves a score, s(x - a sign grad s(x)) - s(x): the first step of PRO."""

    step: float
    """a, in pixels of [0, 1]."""
    groups: Mapping[str, str]
    """ID, near or far, by set."""
    moved: Mapping[str, np.ndarray]
    """(n,) by set, that of ID first."""

    def separates(self, ood: str) -> float:
        """The AUROC of the shift alone, against one OOD set: above 1/2 where OOD falls further than ID."""
        return auroc(self.moved[self.own][None], self.moved[ood][None])


@dataclass(frozen=True)
class Landscape(Measured):
    """A score around one image, s(x + b u + c v), unclipped; of a randomised detector all on the same noise."""

    image: str
    """Set and index, as digits:3."""
    directions: tuple[str, str]
    """What u and v are; every entry of both is -1, 0 or 1, so that b and c are linf distances."""
    offsets: np.ndarray
    """(k,) of b and of c, in pixels; the middle one is 0."""
    scores: np.ndarray
    """(k, k): a row for every c, a column for every b."""
    threshold: float
    """What 95% of clean ID reach."""


@dataclass(frozen=True)
class Copies(Measured):
    """Median and instability D of the scores of every image's noisy copies, on one draw."""

    sigma: float
    copies: int
    medians: Mapping[str, np.ndarray]
    """(n,) by set, that of ID first."""
    instabilities: Mapping[str, np.ndarray]
    threshold: float | None
    """tau: ROSS adds to medians above it, less where D is large; None of detectors without one."""

    def separates(self, ood: str) -> tuple[float, float]:
        """The AUROCs of the median alone and of -D alone, against one OOD set."""
        return (
            auroc(self.medians[self.own][None], self.medians[ood][None]),
            auroc(-self.instabilities[self.own][None], -self.instabilities[ood][None]),
        )
