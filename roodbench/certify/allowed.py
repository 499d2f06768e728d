"""The bounds in a certificate against the noisy scores that lie beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from detectors import Smoothed

from ..metrics.gauroc import image_alpha
from .compare import TOLERANCE, side
from .config import CertifyConfig
from .evidence import KINDS, Scope
from .population import narrowest_of
from .sampling import shifted


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
