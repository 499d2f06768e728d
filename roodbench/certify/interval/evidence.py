"""What interval bounds say of a benchmark, and the rows that follow: all of it can be computed again by anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from detectors import Score

from ...data import SHARD, ImageSet
from ...engine.progress import Progress
from ...models import Classifier
from ...setup.setting import Setting
from ..certificate import INTERVAL, code_of, role_of
from .claimed import key_of
from .config import IntervalConfig
from .logits import SCORES, Bounds, Logits, joined

CLAIM = (
    "For every image and every change of each of its pixels by at most the linf radius, in pixels of [0, 1] and "
    "rounded to float32, the score that the network gives, computed in float32 with sums of products in any order, "
    "lies between the bounds. So whatever an adversary who knows everything does to every image (min: to ID alone, "
    "max: to OOD alone, both: to both), the AUROC of ID against OOD over these images is at least gauroc, and the "
    "share of OOD that passes the threshold which 95% of ID pass (min, max: of clean ID) is at most gfpr95. No "
    "probability is in it, and nothing is said of other images."
)
METHOD = "interval: boxes and zonotopes, in float64"
"""How the bounds are computed (docs/theorems.md, T32)."""


class Found:
    """The bounds of all populations of a setting, at radius 0 and at all radii."""

    def __init__(self, config: IntervalConfig, setting: Setting, progress: Progress) -> None:
        self.config, self.bench = config, setting.bench
        self.sets: dict[str, ImageSet] = {self.bench.id_test.name: self.bench.id_test, **self.bench.ood}
        self.radii = (0.0, *config.radius)
        net: Classifier = setting.plain
        bounds = Bounds(net)
        self.logits = {
            (name, radius): population(bounds, images, radius, progress)
            for name, images in self.sets.items()
            for radius in self.radii
        }

    @property
    def compared(self) -> tuple[str, Sequence[str], Sequence[float]]:
        """The ID set, the OOD sets and the radii of the metrics."""
        return self.bench.id_test.name, list(self.bench.ood), self.config.radius

    def sides(self, detector: Score, name: str, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds (n,) of a score on a population."""
        return SCORES[detector.name](detector, self.logits[name, radius])

    def escape(self, detector: Score, name: str, radius: float, scores: np.ndarray) -> str | None:
        """The first of the scores (n,) of a population, moved within the radius, that no bound holds, in a line.

        What torch.fx traced of the network is not what it computes, then.
        """
        lower, upper = self.sides(detector, name, radius)
        bad = np.flatnonzero((scores < lower) | (scores > upper))
        if not len(bad):
            return None
        i, how = bad[0], f"attacked at linf {radius:g}" if radius else "as it is"
        return (
            f"{detector.label}: {name}, index {i} ({self.sets[name].names[i]}), {how}, scores {scores[i]:.9g}, outside "
            f"of its bounds {lower[i]:.9g} to {upper[i]:.9g}: the network is not what was traced of it"
        )


def population(bounds: Bounds, images: ImageSet, radius: float, progress: Progress) -> Logits:
    """The bounds of a set of images."""
    parts = []
    with progress(f"interval bounds, {images.name}, linf {radius:.4g}", len(images)) as advance:
        for start in range(0, len(images), SHARD):
            for logits in bounds.logits(images.shard(start, min(start + SHARD, len(images))), radius):
                parts.append(logits)
                advance(1)
    return joined(parts)


def header(config: IntervalConfig, setting: Setting) -> dict[str, Any]:
    """What a certificate is about."""
    return {
        "schema": INTERVAL,
        "claim": CLAIM,
        "threat": {"norm": "linf", "space": "pixel", "radii": list(config.radius)},
        "method": METHOD,
        "network": setting.network,
        "data": setting.bench.description(),
        "code": code_of(setting, config.run.detector),
        "config": asdict(config),
    }


def detail(detector: Score, found: Found, scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a certificate says of a detector: per image its score and, by radius, its bounds."""
    return {
        "detector": detector.name,
        "params": detector.hyperparameters(),
        "populations": {
            name: {
                **role_of(images, found.bench),
                "score": scores[name].tolist(),
                "bounds": {key_of(r): listed(found.sides(detector, name, r)) for r in found.radii},
            }
            for name, images in found.sets.items()
        },
    }


def listed(sides: tuple[np.ndarray, np.ndarray]) -> dict[str, list[float]]:
    return {"lower": sides[0].tolist(), "upper": sides[1].tolist()}
