"""An assessor's check of a certificate: the same network and images, fresh noise, a random subset of the bounds."""

from __future__ import annotations

import math
import reprlib
import secrets
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from detectors import Smoothed

from ..data import ImageSet
from ..engine.errors import EvaluationError
from ..engine.progress import Progress
from ..engine.worker import Worker
from ..machine.device import opened
from ..metrics.deployed import disproved_knots
from ..setup.setting import Setting
from .certificate import code_in, config_of
from .compare import TOLERANCE, side
from .evidence import KINDS
from .population import bounds_of, slack_of, spread_of, too_small
from .sampling import noisy_scores, rounding, sampler_of, shifted
from .stated import UNVERIFIED, Stated, parts_of

IMAGES = 8
"""Checked per population, at random, where no power is asked for."""
FORGED = 0.01
"""Share of a population whose forged bounds a check of a given power finds: they move an AUROC by a point at most."""
COUNTS = (1, 2, 5, 10, 20, 50)
"""Images with forged bounds of which the verdict says with which probability they would have been found."""
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
    finds: dict[int, float] = field(default_factory=dict)
    """Number of images of a population whose bounds are forged -> the probability that one of them was drawn."""
    unverified: dict[str, str] = field(default_factory=lambda: dict(UNVERIFIED))
    """Fields that were taken as they are, and what that leaves open."""


def verify(
    certificate: Mapping[str, Any],
    *,
    samples: int = 10_000,
    power: float | None = None,
    seed: int | None = None,
    device: str = "auto",
    progress: Progress | bool = False,
    **overrides: Any,
) -> Verdict:
    """Check what a certificate says against the network, the images and fresh noise (docs/theorems.md, T15).

    Every field is compared with what its `config` gives: settings, hashes, hyper-parameters, fitted constants, images,
    and the metrics that follow from the bounds; a field more or less is a failure. `Verdict.unverified` has those whose
    value cannot be known. For 8 random images of every population, or as many as find forged bounds of 1% of them with
    probability `power`, each bound, and each noisy score behind the deployed detector's, is held against the other side
    of the evidence of `samples` fresh draws: it fails where they show that it claims more than the theorem gives
    (wrongly with probability 0.001 for the whole certificate). What rounding may do is measured on the draws.
    `overrides` are settings of the run that are the assessor's own: `data_root`, `checkpoint`, `model_dir`, `download`,
    `trust_checkpoint`, the last two False whatever the certificate says. Code that it names (`model`, `benchmark` or
    `base` as MODULE:ATTRIBUTE) is run where the assessor names the same. `seed` defaults to a random one. Raises
    ValueError for a certificate without settings, and where images or network cannot be loaded.
    """
    if samples < FEWEST:
        raise ValueError(f"samples {samples}: expected at least {FEWEST} to verify, fewer disprove hardly anything")
    if power is not None and not 0 < power < 1:
        raise ValueError(f"power {power:g}: expected a number between 0 and 1, such as 0.95")
    seed = secrets.randbits(32) if seed is None else seed
    own = {"download": False, "trust_checkpoint": False, **{k: v for k, v in overrides.items() if v is not None}}
    refuse_code(certificate, own)
    config = config_of(certificate)
    run = replace(config.run_config(), device=device, **own)
    with opened(device) as place:
        setting = Setting(run, place)
        setting.compile(0.0)
        stated = Stated(config, setting)
        failures = stated.misstatements(certificate)
        if failures:  # of another network, other images or other settings: nothing is comparable
            return Verdict(0, 0, samples, seed, failures)
        chosen = {name: some(images, seed, power) for name, images in stated.checked().items()}
        counts = sum(len(images) for images, _ in chosen.values())
        claims = counts * len(run.detector)
        each = ERROR / (2 * claims)  # the bounds of an image at all radii, and its noisy scores
        worker = Worker(sampler_of(stated.detectors[0]), seed=seed, device=place, progress=progress)
        drawn = {  # all detectors of a certificate smooth the same base score with the same noise
            name: np.sort(noisy_scores(worker, images, samples, stream=f"verify/{seed}"), axis=1)
            for name, (images, _) in chosen.items()
        }
        spread = spread_of(drawn.values())
        slack = slack_of(drawn.values(), max(rounding(worker, setting.plain, images) for images, _ in chosen.values()))
        for detector, entry in zip(stated.detectors, certificate["detectors"], strict=True):
            take_constants(detector, entry["fitted"])
            parts = parts_of(entry)
            wrong = too_small(detector, spread / 2, slack / 2)  # half: of the few images that are drawn
            found = [] if wrong is None else [wrong]
            for name, (images, index) in chosen.items() if wrong is None else ():
                fresh = drawn[name], parts[name], index, images.names, each, slack + TOLERANCE * spread
                lines = [*disproved(detector, *fresh, stated.scope.dimension), *false(stated, *fresh)]
                found += [f"{detector.label}: {line}" for line in lines]
            failures += found
    bounded = sum(len(chosen[name][1]) for name in stated.sets) * len(run.detector)
    bounds = 2 * bounded * len(stated.keys) * len(KINDS)
    sizes = {name: (len(whole), len(chosen[name][1])) for name, whole in stated.checked().items()}
    finds = {k: min(found_with(n, some, k) for n, some in sizes.values()) for k in COUNTS}
    failures += stated.contradictions(certificate)
    return Verdict(counts, bounds, samples, seed, failures, finds)


def refuse_code(certificate: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """ValueError for code that a certificate names and the assessor does not, or names otherwise."""
    for name, code in code_in(certificate).items():
        if own.get(name) != code:
            args = certificate["config"]["run"].get("model_args") if name == "model" else None
            told = f" with {reprlib.repr(args)}" if args else ""
            raise ValueError(
                f"the certificate's {name} is code, {code[:200]!r}{told}: to load it runs it; "
                f"give --{name} {code[:200]} too if you trust it"
            )


def some(images: ImageSet, seed: int, power: float | None) -> tuple[ImageSet, np.ndarray]:
    """Random images of a set, and their places in it: a few, or as many as the power takes."""
    n = len(images)
    count = IMAGES if power is None else images_needed(n, math.ceil(FORGED * n), power)
    index = np.sort(np.random.default_rng(seed).permutation(n)[:count])
    return images.at(index), index


def found_with(n: int, drawn: int, k: int) -> float:
    """The probability that one of k images is among so many drawn of n: 1 - C(n - k, drawn) / C(n, drawn).

    >>> round(found_with(50, 8, 5), 4), found_with(4, 4, 1)
    (0.5985, 1.0)

    Derived in docs/theorems.md, T15.
    """
    k = min(k, n)
    return 1 - math.prod(max(0, n - drawn - i) / (n - i) for i in range(k))


def images_needed(n: int, k: int, power: float) -> int:
    """The fewest images of n by which k are found with this probability.

    >>> images_needed(50, 1, 0.95), images_needed(10_000, 100, 0.95)
    (48, 294)
    """
    return bisect_left(range(n), power, key=lambda drawn: found_with(n, drawn, k))


def take_constants(detector: Smoothed, fitted: Mapping[str, float]) -> None:
    """Give a detector the certificate's constants, to the last bit."""
    for name, value in fitted.items():
        if hasattr(detector, name):
            setattr(detector, name, float(value))


def disproved(
    detector: Smoothed,
    y: np.ndarray,
    population: Mapping[str, Any],
    index: np.ndarray,
    names: list[str],
    alpha: float,
    slack: float,
    dimension: int,
) -> list[str]:
    """The bounds of a few images that fresh sorted scores (n, N) disprove (docs/theorems.md, T15, T24).

    Of the images that fix the threshold a certificate has none.
    """
    failures = []
    radii = population.get("bounds", {})
    for radius in radii:
        r = shifted(float(radius), detector.sigma, dimension)
        least = bounds_of(detector, y, r, alpha / (2 * len(radii)), confident=False, slack=slack)
        for kind, (which, sign) in product(KINDS, (("lower", 1), ("upper", -1))):
            values = side(population[kind][radius], which)[index]
            for value, limit, name in zip(values, getattr(least, which), names, strict=True):
                if sign * value > sign * limit:
                    most = f"{limit:.6g}, the most that fresh noise allows"
                    what = "" if kind == "bounds" else f" ({kind})"
                    failures.append(f"{name}: the {which} bound {value:.6g}{what} at radius {radius} is beyond {most}")
    return failures


def false(
    stated: Stated,
    y: np.ndarray,
    population: Mapping[str, Any],
    index: np.ndarray,
    names: list[str],
    alpha: float,
    slack: float,
) -> list[str]:
    """The images whose noisy scores in the certificate fresh sorted ones (n, N) disprove (docs/theorems.md, T15)."""
    claimed = np.array([population["sample"][i] for i in index], dtype=float)
    wrong = disproved_knots(claimed, y, stated.config.samples, stated.alpha, alpha, slack)
    line = "its noisy scores are not those of fresh noise"
    return [f"{name}: {line}" for name, bad in zip(names, wrong, strict=True) if bad]


def demand(failures: Sequence[str]) -> None:
    """EvaluationError for the failures of a verdict, the first in full."""
    if failures:
        more = f" (and {len(failures) - 1} more; --format json lists them)" if len(failures) > 1 else ""
        raise EvaluationError(f"the certificate does not hold: {failures[0]}{more}")
