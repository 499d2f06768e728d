"""An assessor's check of a certificate: the same network and images, fresh noise, a random subset of the bounds."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from detectors import ROSS, Smoothed

from ..data import Benchmark, ImageSet
from ..engine.errors import EvaluationError
from ..engine.progress import Progress
from ..engine.worker import Worker
from ..machine.device import opened
from ..metrics.gauroc import gauroc, gfpr95
from ..metrics.ranks import largest_radius
from ..setup.config import RunConfig
from ..setup.setting import Setting
from .certificate import config_of, described, header, key_of, role_of
from .compare import TOLERANCE, differences, numbers, side
from .config import SHARES, CertifyConfig
from .population import bounds_of
from .rows import CONDITIONS
from .sampling import noisy_scores, sampler_of

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


def verify(
    certificate: Mapping[str, Any],
    *,
    samples: int = 10_000,
    seed: int | None = None,
    device: str = "auto",
    progress: Progress | bool = False,
    **overrides: Any,
) -> Verdict:
    """Check what a certificate says against the network, the images and fresh noise (docs/theorems.md, T15).

    Everything but `environment` and the attack's cost is compared with what its `config` gives: settings, hashes,
    hyper-parameters, fitted constants, images, and the metrics that follow from the bounds. For 8 random images of
    every population each bound is held against the other side of the evidence of `samples` fresh draws: it fails where
    they show that it claims more than the theorem gives (wrongly with probability 0.001 for the whole certificate).
    `overrides` are settings of the run that are the assessor's own: `data_root`, `checkpoint`. `seed` defaults to a
    random one. Raises ValueError for a certificate without settings, and where images or network cannot be loaded.
    """
    if samples < FEWEST:
        raise ValueError(f"samples {samples}: expected at least {FEWEST} to verify, fewer disprove hardly anything")
    seed = secrets.randbits(32) if seed is None else seed
    config = config_of(certificate)
    run = replace(config.run_config(), device=device, **{k: v for k, v in overrides.items() if v is not None})
    with opened(device) as place:
        setting = Setting(run, place)
        bench, radii = setting.bench, config.radii(setting.sample[0].numel())
        wanted = header(config, setting.network, bench.description(), radii)
        failures = [line for key, value in wanted.items() for line in differences(certificate.get(key), value, key)]
        failures += row_failures(certificate, run, bench, radii)
        if failures:  # of another network, other images or other settings: nothing is comparable
            return Verdict(0, 0, samples, seed, failures)
        setting.compile(0.0)
        sets = {bench.id_test.name: bench.id_test, **bench.ood}
        chosen = {name: some(images, seed) for name, images in sets.items()}
        counts = sum(len(images) for images, _ in chosen.values())
        bounds = 2 * counts * (1 + len(radii)) * len(run.detector)
        alpha = config.alpha / sum(len(images) for images in sets.values())
        for entry in certificate["detectors"]:
            detector = cast(Smoothed, setting.fitted(entry["detector"])[0])
            found = [*constants(detector, entry), *structure(detector, entry, bench, radii, alpha)]
            if not found:
                worker = Worker(sampler_of(detector), seed=seed, device=place, progress=progress)
                for name, (images, index) in chosen.items():
                    y = np.sort(noisy_scores(worker, images, samples, stream=f"verify/{seed}"), axis=1)
                    population = entry["populations"][name]
                    found += disproved(detector, y, population, index, images.names, ERROR / bounds)
                    found += out_of_reach(detector, population, config, alpha)
                found += metric_failures(entry, certificate["gauroc"], bench.id_test.name)
            failures += [f"{detector.label}: {line}" for line in found]
    return Verdict(counts, bounds, samples, seed, failures)


def row_failures(
    certificate: Mapping[str, Any], run: RunConfig, bench: Benchmark, radii: Mapping[float, float]
) -> list[str]:
    """Whether the certificate has the detectors of its settings, and one row for each of their metrics."""
    entries, rows = (
        v if isinstance(v, list) else [] for v in (certificate.get("detectors"), certificate.get("gauroc"))
    )
    names = [entry.get("detector") for entry in entries if isinstance(entry, dict)]
    failures = list(differences(names, list(run.detector), "detectors"))
    wanted = [
        (name, run.base, ood, condition, radius)
        for name in run.detector
        for radius in radii.values()
        for ood in bench.ood
        for condition in CONDITIONS
    ]
    if sorted(map(key_of, rows), key=repr) != sorted(wanted, key=repr):
        failures.append(f"gauroc does not have the {len(wanted)} rows of its detectors, radii and OOD sets")
    return failures


def some(images: ImageSet, seed: int) -> tuple[ImageSet, np.ndarray]:
    """A few random images of a set, and their places in it."""
    index = np.sort(np.random.default_rng(seed).permutation(len(images))[:IMAGES])
    return images.at(index), index


def constants(detector: Smoothed, entry: Mapping[str, Any]) -> list[str]:
    """Whether the fitted constants are those of a fit; then the detector takes the certificate's, to the last bit."""
    claimed, fitted = entry.get("fitted"), detector.fitted()
    if not isinstance(claimed, dict) or set(claimed) != set(fitted):
        return [f"fitted {claimed}: expected {sorted(fitted)}"]
    failures = []
    for name, value in fitted.items():
        allowed = 0.05 * fitted["spread"] if name in ("tau", "spread") else 1e-3 * abs(value)
        if not isinstance(claimed[name], int | float) or not abs(claimed[name] - value) <= allowed + TOLERANCE:
            failures.append(f"fitted {name} is {value}, the certificate says {claimed[name]}")
        elif hasattr(detector, name):
            setattr(detector, name, float(claimed[name]))
    return failures


def structure(
    detector: Smoothed, entry: Mapping[str, Any], bench: Benchmark, radii: Mapping[float, float], alpha: float
) -> list[str]:
    """What an entry must say: hyper-parameters, images, and for every image and radius two bounds around its score."""
    failures = [
        line for key, value in described(detector, alpha).items() for line in differences(entry.get(key), value, key)
    ]
    sets = {bench.id_test.name: bench.id_test, **bench.ood}
    populations = entry.get("populations")
    if not isinstance(populations, dict) or set(populations) != set(sets):
        return [*failures, f"populations: expected {sorted(sets)}"]
    keys = ["0", *(f"{radius:.9g}" for radius in radii.values())]
    for name, images in sets.items():
        population = populations[name] if isinstance(populations[name], dict) else {}
        failures += [
            line
            for key, value in role_of(images, bench).items()
            for line in differences(population.get(key), value, f"{name}, {key}")
        ]
        score, bounds = population.get("score"), population.get("bounds")
        if not numbers(score, len(images)) or not isinstance(bounds, dict) or set(bounds) != set(keys):
            failures.append(f"{name}: expected scores of {len(images)} images and bounds at radii {', '.join(keys)}")
            continue
        for radius, sides in bounds.items():
            if not isinstance(sides, dict) or not all(numbers(sides.get(s), len(images)) for s in ("lower", "upper")):
                failures.append(f"{name}, radius {radius}: expected lower and upper bounds of {len(images)} images")
                continue
            lower, upper, value = side(sides, "lower"), side(sides, "upper"), np.array(score, dtype=float)
            slack = TOLERANCE * np.maximum(1, np.abs(value))  # copies that all agree leave nothing but rounding
            if not ((lower <= value + slack) & (value - slack <= upper)).all():
                failures.append(f"{name}, radius {radius}: a score lies outside its own bounds")
    return failures


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


def out_of_reach(detector: Smoothed, population: Mapping[str, Any], config: CertifyConfig, alpha: float) -> list[str]:
    """Lower bounds that no evidence of the certificate's own size can give, however true.

    Derived in docs/theorems.md, T4, T15.
    """
    reach = largest_radius(config.samples, alpha / SHARES[detector.name])
    lowest = detector.base.extremes()[0]
    claimed = [
        radius
        for radius, sides in population["bounds"].items()
        if float(radius) / detector.sigma > reach * (1 + TOLERANCE) and (side(sides, "lower") > lowest).any()
    ]
    return [
        f"{config.samples} samples can bound nothing at radius {radius}, the certificate does" for radius in claimed
    ]


def metric_failures(entry: Mapping[str, Any], rows: list[dict[str, Any]], id_name: str) -> list[str]:
    """Whether every GAUROC and GFPR95 of a detector follows from its bounds (docs/theorems.md, T12)."""

    def bound(name: str, radius: float, which: str) -> np.ndarray:
        return side(entry["populations"][name]["bounds"][f"{radius:.9g}"], which)

    failures: list[str] = []
    for row in rows:
        detector, _, ood, condition, radius = key_of(row)
        if detector != entry["detector"]:
            continue
        near, far = (radius if moved else 0.0 for moved in CONDITIONS[condition])
        lower, upper = bound(id_name, near, "lower"), bound(ood, far, "upper")
        threshold = lower if condition == "both" else bound(id_name, 0.0, "lower")
        for key, have in (("gauroc", gauroc(lower, upper)), ("gfpr95", gfpr95(threshold, upper))):
            failures += differences(row.get(key), have, f"{key} of {ood}, {condition} at {radius:g}")
    return failures


def demand(verdict: Verdict) -> None:
    """EvaluationError for a verdict with failures, the first in full."""
    if verdict.failures:
        more = len(verdict.failures) - 1
        rest = f" (and {more} more; --format json lists them)" if more else ""
        raise EvaluationError(f"the certificate does not hold: {verdict.failures[0]}{rest}")
