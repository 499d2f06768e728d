"""What of a population's evidence enters a certified metric, and the metrics: from scores, or from a certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from detectors import ROSS, Smoothed

from ..data import Benchmark, ImageSet
from ..metrics.deployed import band, within_bands
from ..metrics.gauroc import counted, gauroc, gfpr95, image_alpha
from ..metrics.operating import auroc_of_new
from ..metrics.simultaneous import Knots, knots_with
from .compare import TOLERANCE, side
from .config import CertifyConfig
from .population import gain_of, narrowest_of, together
from .sampling import shifted

KINDS = ("bounds", "counted", "predicted")
"""Of an image's bounds: of the population at the alpha that all images share; at an alpha of each, some of which may
fail; of N fresh copies."""
CONDITIONS = {"min": (True, False), "max": (False, True), "both": (True, True)}
"""Whether ID and OOD are bounded (or attacked) within the radius; else they are bounded at radius 0."""


class Scope(NamedTuple):
    """What the errors of a certificate are shared by, the dimension of an image, and by what a score may be off."""

    images: int
    """Of all test sets."""
    dimension: int
    detectors: int
    radii: int
    sets: int
    """Of OOD images."""
    classes: int

    @classmethod
    def of(cls, bench: Benchmark, config: CertifyConfig) -> Scope:
        images = sum(len(images) for images in (bench.id_test, *bench.ood.values()))
        # of ID train too: which of them the test images happen to have must not choose by what alpha is divided
        classes = len(np.union1d(np.asarray(bench.id_train.labels), np.asarray(bench.id_test.labels)))
        dimension = int(np.prod(bench.id_test.shape))
        return cls(images, dimension, len(config.run.detector), len(config.radius), len(bench.ood), classes)

    @property
    def of_new(self) -> int:
        """The statements about new images: for each detector TPR, that of every class, FPR of every set, each but the
        classes' also of fresh copies, at all radii and 0; AUROCs in three conditions; the largest radius."""
        rates = (self.radii + 1) * (2 + self.classes + 2 * self.sets)
        return self.detectors * (rates + self.radii * self.sets * len(CONDITIONS) + 1)


@dataclass(frozen=True)
class Evidence:
    """Of one population under one detector."""

    images: ImageSet
    bounds: Callable[[str, float], tuple[np.ndarray, np.ndarray]]
    """Lower and upper bounds (n,) of a kind within an l2 radius."""
    sample: np.ndarray
    """(n, m): the noisy scores at the knots of their band (`roodbench.metrics.deployed.knots`)."""
    kept: dict[tuple[float, bool], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @cached_property
    def group(self) -> np.ndarray:
        """(n,): the number of the group of equal images to which each belongs, from 0."""
        return np.unique(self.images.related, return_inverse=True)[1]

    @property
    def groups(self) -> int:
        return int(self.group.max()) + 1

    def seems(self, event: np.ndarray) -> np.ndarray:
        """Which groups (g,) have an event (n,) in any of their images."""
        return np.bincount(self.group, weights=event) > 0


class Together:
    """Bounds of one detector that hold at all radii at once: of these images all together, or of each new one."""

    def __init__(self, detector: Smoothed, config: CertifyConfig, scope: Scope, slack: float) -> None:
        self.detector, self.config, self.scope, self.slack = detector, config, scope, slack
        self.of_all = config.alpha / 2 / scope.images
        """The error of an image's band; the other half of alpha is that of the statements about new images."""
        self.alpha = config.alpha / 2 / scope.of_new
        """Of each of these."""

    def miss(self, evidence: Evidence) -> float:
        """The error of the band of one image of a population, on which statements about new images rest."""
        return image_alpha(len(evidence.images), self.config.alpha)

    def bounds(self, evidence: Evidence, radius: float, *, new: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds (n,) within an l2 radius (docs/theorems.md, T27)."""
        if (radius, new) not in evidence.kept:
            r = shifted(radius, self.detector.sigma, self.scope.dimension)
            found = together(self.detector, self._knots(evidence, new), r, slack=self.slack)
            evidence.kept[radius, new] = found.lower, found.upper
        return evidence.kept[radius, new]

    def _knots(self, evidence: Evidence, new: bool) -> Knots:
        at = evidence.sample.astype(np.float64)
        return knots_with(at, self.config.samples, self.miss(evidence) if new else self.of_all)

    def auroc_of_new(self, own: Evidence, other: Evidence, near: float, far: float) -> float:
        """The AUROC of new images, at least, ID moved within the radius `near` and OOD within `far`.

        Derived in docs/theorems.md, T29.
        """
        lower, upper = np.full(own.groups, np.inf), np.full(other.groups, -np.inf)
        np.minimum.at(lower, own.group, self.bounds(own, near, new=True)[0])
        np.maximum.at(upper, other.group, self.bounds(other, far, new=True)[1])
        miss = self.miss(own) + self.miss(other)
        return auroc_of_new(gauroc(lower, upper), min(own.groups, other.groups), self.alpha, miss)


def metrics_of(
    detector: Smoothed,
    config: CertifyConfig,
    scope: Scope,
    own: Evidence,
    other: Evidence,
    condition: str,
    radius: float,
    slack: float,
) -> dict[str, float]:
    """The certified metrics of ID against one OOD set.

    Derived in docs/theorems.md, T11 to T13, T25, T27, T29, T30.
    """
    near, far = (radius if bounded else 0.0 for bounded in CONDITIONS[condition])
    (lower, _), (_, upper) = own.bounds("bounds", near), other.bounds("bounds", far)
    threshold = lower if condition == "both" else own.bounds("bounds", 0.0)[0]
    (loose, _), (_, loose_upper) = own.bounds("counted", near), other.bounds("counted", far)
    at_once = Together(detector, config, scope, slack)
    return {
        "gauroc": gauroc(lower, upper),
        "gfpr95": gfpr95(threshold, upper),
        "gauroc_counted": max(0.0, gauroc(loose, loose_upper) - counted(len(lower), len(upper))),
        "gauroc_predicted": gauroc(own.bounds("predicted", near)[0], other.bounds("predicted", far)[1]),
        "gauroc_joint": gauroc(at_once.bounds(own, near)[0], at_once.bounds(other, far)[1]),
        "gauroc_new": at_once.auroc_of_new(own, other, near, far),
        "deployed": deployed_of(detector, config, scope, own, other, near, far, slack),
    }


def deployed_of(
    detector: Smoothed,
    config: CertifyConfig,
    scope: Scope,
    own: Evidence,
    other: Evidence,
    near: float,
    far: float,
    slack: float,
) -> float:
    """The certified AUROC of the median of n draws, or of a detector that lies between it and its largest gain.

    Derived in docs/theorems.md, T11.
    """
    highest = None
    if isinstance(detector, ROSS):
        gain = gain_of(detector)
        highest = lambda m: gain(m, np.zeros_like(m))  # noqa: E731
    least, most = band(config.samples, config.alpha / scope.images)
    r_id, r_ood = (shifted(radius, detector.sigma, scope.dimension) for radius in (near, far))
    moved = own.sample.astype(np.float64) - slack, other.sample.astype(np.float64) + slack
    return within_bands(*moved, most, least, detector.copies, r_id, r_ood, highest)


def better_than_scores(
    detector: Smoothed, population: Mapping[str, Any], config: CertifyConfig, scope: Scope, slack: float
) -> Iterator[str]:
    """The bounds of a population that its noisy scores do not allow: of so many samples, at the alpha of their kind.

    Derived in docs/theorems.md, T33.
    """
    at, names = np.array(population["sample"], dtype=float), population["images"]
    for kind in KINDS:
        alpha = image_alpha(len(at), config.alpha) if kind == "counted" else config.alpha / scope.images
        for radius, sides in population[kind].items():
            r = shifted(float(radius), detector.sigma, scope.dimension)
            limits = narrowest_of(detector, at, config.samples, r, alpha, predicted=kind == "predicted", slack=slack)
            for which, sign in (("lower", 1), ("upper", -1)):
                value, limit = side(sides, which), getattr(limits, which)
                give = TOLERANCE * np.maximum(1, np.abs(np.nan_to_num(limit, posinf=0.0, neginf=0.0)))
                for i in np.flatnonzero(sign * value > sign * limit + give):
                    what = "" if kind == "bounds" else f" ({kind})"
                    most = f"{limit[i]:.6g}, the most that its {config.samples} noisy scores give"
                    yield f"{names[i]}: the {which} bound {value[i]:.6g}{what} at radius {radius} is beyond {most}"
