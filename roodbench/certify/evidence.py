"""What of a population's evidence enters a certified metric, and the metrics: from scores, or from a certificate."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from detectors import ROSS, Smoothed

from ..metrics.deployed import band, within_bands
from ..metrics.gauroc import counted, gauroc, gfpr95
from .config import CertifyConfig
from .population import gain_of
from .sampling import shifted

KINDS = ("bounds", "counted", "predicted")
"""Of an image's bounds: of the population at the alpha that all images share; at alpha each; of N fresh copies."""
CONDITIONS = {"min": (True, False), "max": (False, True), "both": (True, True)}
"""Whether ID and OOD are bounded (or attacked) within the radius; else they are bounded at radius 0."""


class Evidence(NamedTuple):
    """Of one population under one detector."""

    bounds: Callable[[str, float], tuple[np.ndarray, np.ndarray]]
    """Lower and upper bounds (n,) of a kind within an l2 radius."""
    sample: np.ndarray
    """(n, m): the noisy scores at the knots of their band (`roodbench.metrics.deployed.knots`)."""


def metrics_of(
    detector: Smoothed,
    config: CertifyConfig,
    size: tuple[int, int],
    own: Evidence,
    other: Evidence,
    condition: str,
    radius: float,
    slack: float,
) -> dict[str, float]:
    """The certified metrics of ID against one OOD set.

    `size` is the number of images of all sets, which share alpha, and the dimension of one.

    Derived in docs/theorems.md, T11 to T13, T25.
    """
    near, far = (radius if bounded else 0.0 for bounded in CONDITIONS[condition])
    (lower, _), (_, upper) = own.bounds("bounds", near), other.bounds("bounds", far)
    threshold = lower if condition == "both" else own.bounds("bounds", 0.0)[0]
    (loose, _), (_, loose_upper) = own.bounds("counted", near), other.bounds("counted", far)
    penalty = counted(len(lower), len(upper), config.alpha, config.alpha)
    return {
        "gauroc": gauroc(lower, upper),
        "gfpr95": gfpr95(threshold, upper),
        "gauroc_counted": max(0.0, gauroc(loose, loose_upper) - penalty),
        "gauroc_predicted": gauroc(own.bounds("predicted", near)[0], other.bounds("predicted", far)[1]),
        "deployed": deployed_of(detector, config, size, own, other, near, far, slack),
    }


def deployed_of(
    detector: Smoothed,
    config: CertifyConfig,
    size: tuple[int, int],
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
    least, most = band(config.samples, config.alpha / size[0])
    r_id, r_ood = (shifted(radius, detector.sigma, size[1]) for radius in (near, far))
    moved = own.sample.astype(np.float64) - slack, other.sample.astype(np.float64) + slack
    return within_bands(*moved, most, least, detector.copies, r_id, r_ood, highest)
