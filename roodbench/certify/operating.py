"""The operating point: a threshold that is fixed beforehand, and what no adversary makes of TPR and FPR there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Benchmark, ImageSet
from ..data.images import subset
from ..metrics.gauroc import gauroc
from ..metrics.operating import rate_of_new, threshold_of
from ..metrics.ranks import largest_radius, lower_rank
from .config import CertifyConfig
from .evidence import Evidence, Together

POINTS = 32
"""Steps of the curve over the radius, up to the largest that the samples can bound at all."""
HALVINGS = 20
"""Of a largest radius."""


def validation_of(bench: Benchmark, config: CertifyConfig) -> ImageSet | None:
    """The ID validation images that fix the threshold, as many as of a test set; None where it is given."""
    if config.threshold is not None:
        return None
    images, limit = bench.id_val, config.run.limit or len(bench.id_val)
    return images if limit >= len(images) else images.at(subset(len(images), limit))


def fixed(config: CertifyConfig, scores: np.ndarray | None) -> float:
    """The threshold: given, or that which a share of the ID validation images' scores (n,) reach."""
    if scores is None:
        assert config.threshold is not None
        return config.threshold
    assert config.tpr is not None
    return threshold_of(scores, config.tpr)


@dataclass(frozen=True)
class Operating:
    """Of one detector: ID moved down and OOD up, each within the radius, against a threshold that does not move.

    Derived in docs/theorems.md, T28.
    """

    at_once: Together
    threshold: float
    own: Evidence
    others: Mapping[str, Evidence]

    def missed(self, evidence: Evidence, radius: float, *, new: bool = False) -> np.ndarray:
        """(n,): whose lower bound is below the threshold."""
        return self.at_once.bounds(evidence, radius, new=new)[0] < self.threshold

    def passed(self, evidence: Evidence, radius: float, *, new: bool = False) -> np.ndarray:
        """(n,): whose upper bound reaches the threshold."""
        return self.at_once.bounds(evidence, radius, new=new)[1] >= self.threshold

    def of_new(self, evidence: Evidence, event: np.ndarray, miss: float) -> float:
        """The probability of an event of a new image, at most, from the images (n,) that seem to have it."""
        seems = evidence.seems(event)
        return rate_of_new(int(seems.sum()), len(seems), self.at_once.alpha, miss)

    def by_copies(self, evidence: Evidence, event: np.ndarray) -> float:
        """The same of the score that fresh copies give, which misses its bound with a probability of its own."""
        miss = self.at_once.config.alpha / self.at_once.scope.images
        return min(1.0, self.of_new(evidence, event, 0.0) + miss)

    def at(self, radius: float) -> dict[str, Any]:
        """TPR at least, and FPR of each set at most: of these images, of new ones, of new ones by fresh copies."""
        own, together = self.own, self.at_once
        missed = own.bounds("predicted", radius)[0] < self.threshold
        found: dict[str, Any] = {
            "radius_l2": radius,
            "tpr": float(1 - self.missed(own, radius).mean()),
            "tpr_new": 1 - self.of_new(own, self.missed(own, radius, new=True), together.miss(own)),
            "tpr_copies": 1 - self.by_copies(own, missed),
            **self.of_classes(radius),
            "fpr": {},
            "fpr_new": {},
            "fpr_copies": {},
        }
        for name, other in self.others.items():
            passed = other.bounds("predicted", radius)[1] >= self.threshold
            found["fpr"][name] = float(self.passed(other, radius).mean())
            found["fpr_new"][name] = self.of_new(other, self.passed(other, radius, new=True), together.miss(other))
            found["fpr_copies"][name] = self.by_copies(other, passed)
        return found

    def of_classes(self, radius: float) -> dict[str, Any]:
        """The class of the least TPR among these images, and what new ones of none of their classes are below."""
        labels = np.asarray(self.own.images.labels)
        missed, missed_new = (self.missed(self.own, radius, new=new) for new in (False, True))
        rates, most = {}, 0.0
        for label in np.unique(labels):
            of = np.flatnonzero(labels == label)
            rates[int(label)] = float(1 - missed[of].mean())
            seems = np.bincount(np.unique(self.own.group[of], return_inverse=True)[1], weights=missed_new[of]) > 0
            rate = rate_of_new(int(seems.sum()), len(seems), self.at_once.alpha, self.at_once.miss(self.own))
            most = max(most, rate)
        worst = min(rates, key=lambda label: rates[label])
        return {"worst_class": worst, "tpr_worst": rates[worst], "tpr_worst_new": 1 - most}

    def largest(self) -> dict[str, float | None]:
        """The largest l2 radius at which the TPR is `least_tpr`: of these images, of new ones; None where none is.

        Derived in docs/theorems.md, T31.
        """
        own, together = self.own, self.at_once
        share = 1 - together.config.least_tpr
        allowed = math.floor(share * len(own.images) + 1e-9)
        # the k-th least radius of new images' bounds is below the quantile sought: fewer than k fall short of it
        allowed_new = lower_rank(own.groups, share * (1 - together.miss(own)), together.alpha) - 1

        def few(radius: float) -> bool:
            return int(self.missed(replace(own, kept={}), radius).sum()) <= allowed

        def few_new(radius: float) -> bool:
            return int(own.seems(self.missed(replace(own, kept={}), radius, new=True)).sum()) <= allowed_new

        return {
            "largest_radius": farthest(few, self.reach),
            "largest_radius_new": farthest(few_new, self.reach),
        }

    @property
    def reach(self) -> float:
        """The l2 radius beyond which so many samples bound nothing."""
        config = self.at_once.config
        return max(0.0, largest_radius(config.samples, self.at_once.of_all / 2)) * self.at_once.detector.sigma

    def curve(self) -> list[dict[str, Any]]:
        """TPR, FPR and AUROC of both moved over the radius, at all radii at once (docs/theorems.md, T27)."""
        found = []
        for radius in np.linspace(0.0, self.reach, POINTS + 1).tolist():
            own, others = replace(self.own, kept={}), {k: replace(e, kept={}) for k, e in self.others.items()}
            lower = self.at_once.bounds(own, radius)[0]
            upper = {name: self.at_once.bounds(other, radius)[1] for name, other in others.items()}
            found.append(
                {
                    "radius_l2": radius,
                    "tpr": float((lower >= self.threshold).mean()),
                    "fpr": {name: float((bound >= self.threshold).mean()) for name, bound in upper.items()},
                    "gauroc": {name: gauroc(lower, bound) for name, bound in upper.items()},
                }
            )
        return found

    def record(self, radii: Sequence[float]) -> dict[str, Any]:
        """All of it, JSON-like."""
        detector = self.at_once.detector
        return {
            "detector": detector.name,
            "base": detector.base.name,
            "threshold": self.threshold,
            "points": [self.at(radius) for radius in (0.0, *radii)],
            **self.largest(),
            "curve": self.curve(),
        }


def farthest(holds: Callable[[float], bool], most: float) -> float | None:
    """The largest of [0, most] at which something holds that holds at all smaller ones too; None where it does not
    hold at 0."""
    if not holds(0.0):
        return None
    low, high = 0.0, most
    if holds(high):
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
