"""An assessor's check of a certificate: the same network and images, fresh noise, a random subset of the bounds."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detectors import ROSS, Smoothed

from ..data import ImageSet
from ..engine.errors import EvaluationError
from ..engine.progress import Progress
from ..engine.worker import Worker
from ..machine.device import opened
from ..setup.setting import Setting
from .certificate import config_of
from .compare import TOLERANCE, side
from .population import bounds_of
from .sampling import noisy_scores, sampler_of
from .stated import UNVERIFIED, Stated

IMAGES = 8
"""Checked per population, at random."""
FEWEST = 500
"""Samples that may be asked for: fewer disprove hardly anything."""
ERROR = 1e-3
"""Probability of rejecting an honest certificate for the noise that is drawn to check it."""


@dataclass(frozen=True)
class Verdict:
    """How much was checked, and everything that does not hold; nothing when it all does."""

    images: int
    """Each under every detector of the certificate."""
    bounds: int
    samples: int
    seed: int
    failures: list[str]
    unverified: dict[str, str] = field(default_factory=lambda: dict(UNVERIFIED))
    """Fields that were taken as they are, and what that leaves open."""


def verify(
    certificate: Mapping[str, Any],
    *,
    samples: int = 10_000,
    seed: int | None = None,
    device: str = "auto",
    progress: Progress | bool = False,
    download: bool = False,
    **overrides: Any,
) -> Verdict:
    """Check what a certificate says against the network, the images and fresh noise (docs/theorems.md, T15).

    Every field is compared with what its `config` gives: settings, hashes, hyper-parameters, fitted constants, images,
    and the metrics that follow from the bounds; a field more or less is a failure. `Verdict.unverified` has those whose
    value cannot be known. For 8 random images of every population each bound is held against the other side of the
    evidence of `samples` fresh draws: it fails where they show that it claims more than the theorem gives (wrongly with
    probability 0.001 for the whole certificate).
    `overrides` are settings of the run that are the assessor's own: `data_root`, `checkpoint`, `model_dir`. What these
    lack is fetched with `download` alone, whatever the certificate says. `seed` defaults to a random one. Raises
    ValueError for a certificate without settings, and where images or network cannot be loaded.
    """
    if samples < FEWEST:
        raise ValueError(f"samples {samples}: expected at least {FEWEST} to verify, fewer disprove hardly anything")
    seed = secrets.randbits(32) if seed is None else seed
    config = config_of(certificate)
    own = {name: value for name, value in overrides.items() if value is not None}
    run = replace(config.run_config(), device=device, download=download, **own)
    with opened(device) as place:
        setting = Setting(run, place)
        setting.compile(0.0)
        stated = Stated(config, setting)
        failures = stated.misstatements(certificate)
        if failures:  # of another network, other images or other settings: nothing is comparable
            return Verdict(0, 0, samples, seed, failures)
        chosen = {name: some(images, seed) for name, images in stated.sets.items()}
        counts = sum(len(images) for images, _ in chosen.values())
        bounds = 2 * counts * len(stated.keys) * len(run.detector)
        for detector, entry in zip(stated.detectors, certificate["detectors"], strict=True):
            take_constants(detector, entry["fitted"])
            worker = Worker(sampler_of(detector), seed=seed, device=place, progress=progress)
            for name, (images, index) in chosen.items():
                y = np.sort(noisy_scores(worker, images, samples, stream=f"verify/{seed}"), axis=1)
                found = disproved(detector, y, entry["populations"][name], index, images.names, ERROR / bounds)
                failures += [f"{detector.label}: {line}" for line in found]
    return Verdict(counts, bounds, samples, seed, [*failures, *stated.contradictions(certificate)])


def some(images: ImageSet, seed: int) -> tuple[ImageSet, np.ndarray]:
    """A few random images of a set, and their places in it."""
    index = np.sort(np.random.default_rng(seed).permutation(len(images))[:IMAGES])
    return images.at(index), index


def take_constants(detector: Smoothed, fitted: Mapping[str, float]) -> None:
    """Give a detector the certificate's constants, to the last bit."""
    for name, value in fitted.items():
        if hasattr(detector, name):
            setattr(detector, name, float(value))


def disproved(
    detector: Smoothed, y: np.ndarray, population: Mapping[str, Any], index: np.ndarray, names: list[str], alpha: float
) -> list[str]:
    """The bounds of a few images that fresh sorted scores (n, N) disprove (docs/theorems.md, T15)."""
    failures = []
    steep = 1 + detector.gain / detector.eta if isinstance(detector, ROSS) else 1.0
    for radius, sides in population["bounds"].items():
        least = bounds_of(detector, y, float(radius) / detector.sigma, alpha, confident=False)
        for which, sign in (("lower", 1), ("upper", -1)):
            for value, limit, name in zip(side(sides, which)[index], getattr(least, which), names, strict=True):
                if sign * value > sign * limit + TOLERANCE * steep * max(1.0, abs(limit)):
                    most = f"{limit:.6g}, the most that fresh noise allows"
                    failures.append(f"{name}: the {which} bound {value:.6g} at radius {radius} is beyond {most}")
    return failures


def demand(verdict: Verdict) -> None:
    """EvaluationError for a verdict with failures, the first in full."""
    if verdict.failures:
        more = len(verdict.failures) - 1
        rest = f" (and {more} more; --format json lists them)" if more else ""
        raise EvaluationError(f"the certificate does not hold: {verdict.failures[0]}{rest}")
