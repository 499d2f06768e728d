"""An assessor's check of a certificate: the same network and images, fresh noise, a random subset of the bounds."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from detectors import Smoothed

from ..attacker import EvaluationError
from ..config import RunConfig, device_of
from ..data import SHARD, Benchmark
from ..evaluate import Evaluator, Progress, silent
from ..memory import use_threads
from ..run import create, identity, load, prepared
from .gauroc import gauroc, gfpr95
from .population import bounds_of
from .result import SCHEMA
from .rows import CONDITIONS
from .sampling import BLOCK, block, sampler_of

IMAGES = 8
"""Checked per population, at random."""
TOLERANCE = 1e-5
"""Relative, for constants and scores that another machine rounds differently."""


@dataclass(frozen=True)
class Verdict:
    """How much was checked, and everything that does not hold; nothing when it all does."""

    images: int
    bounds: int
    seed: int
    failures: list[str]


def read(file: Path) -> dict[str, Any]:
    """The certificate in a file; ValueError for one that is not, or of another schema."""
    try:
        found = json.loads(file.read_text())
    except OSError as error:
        raise ValueError(f"certificate '{file}': {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"certificate '{file}' is not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, dict) else None
        raise ValueError(f"certificate '{file}' has schema {schema!r}: expected {SCHEMA!r}")
    return found


def verify(
    certificate: Mapping[str, Any],
    *,
    seed: int | None = None,
    progress: Progress = silent,
    **overrides: Any,
) -> Verdict:
    """Recompute a random subset of a certificate's bounds with fresh noise.

    Checks the hashes of network and images, the fitted constants, the metrics that follow from the bounds, and for
    8 images of every population each bound against the other side of the fresh evidence: a bound fails when fresh
    samples show, at the certificate's alpha for all of them together, that it claims more than the theorem gives.
    `overrides` are settings of the run that are the assessor's own, such as `data_root`, `checkpoint` and `device`.
    `seed` defaults to a random one. Raises ValueError where the benchmark or the network cannot be loaded.
    """
    use_threads()
    seed = secrets.randbits(32) if seed is None else seed
    kept = {f.name: certificate["config"]["run"][f.name] for f in fields(RunConfig)}
    for name in ("detector", "eps", "ood"):
        kept[name] = None if kept[name] is None else tuple(kept[name])
    run = replace(RunConfig(**kept), **{k: v for k, v in overrides.items() if v is not None})
    device = device_of(run.device)
    bench, plain = load(run, device)
    failures = [
        f"{key}: {have} is not the certificate's {wanted}"
        for key, have, wanted in (
            ("network sha256", plain.fingerprint(), certificate["network"]["sha256"]),
            *((f"images of {k}", bench.description().get(k), v) for k, v in certificate["data"].items()),
        )
        if have != wanted
    ]
    if failures:  # of another network or other images: no score is comparable
        return Verdict(0, 0, seed, failures)
    sample = bench.id_val.shard(0, min(SHARD, len(bench.id_val))).to(device)
    net = prepared(plain, sample, run, 0.0)
    checked = [0, 0]
    for entry in certificate["detectors"]:
        detector = cast(Smoothed, create(entry["detector"], net, bench, run)).to(device)
        detector.fit(bench.id_train, bench.id_val)
        label = f"{entry['detector']}({entry['base']})"
        params = {**detector.base.hyperparameters(), **detector.hyperparameters()}
        failures += [
            f"{label}: {name} is {params.get(name)}, the certificate says {value}"
            for name, value in entry["params"].items()
            if params.get(name) != value and name not in entry["fitted"]
        ]
        for name, value in entry["fitted"].items():
            have = detector.fitted().get(name)
            if have is None or abs(have - value) > TOLERANCE * max(1.0, abs(value)):
                failures.append(f"{label}: fitted {name} is {have}, the certificate says {value}")
        evaluator = Evaluator(
            sampler_of(detector), bench, seed=seed, device=device, key=identity(detector), progress=progress
        )
        counts = sum(min(IMAGES, len(p["images"])) * 2 * len(p["bounds"]) for p in entry["populations"].values())
        alpha = certificate["alpha"] / (counts * len(certificate["detectors"]))
        for name, population in entry["populations"].items():
            found = check_population(detector, evaluator, bench, name, population, certificate, alpha, seed)
            failures += [f"{label}: {line}" for line in found]
            checked[0] += min(IMAGES, len(population["images"]))
        checked[1] += counts
        failures += [f"{label}: {line}" for line in check_metrics(entry, certificate)]
    return Verdict(checked[0], checked[1], seed, failures)


def check_population(
    detector: Smoothed,
    evaluator: Evaluator,
    bench: Benchmark,
    name: str,
    population: Mapping[str, Any],
    certificate: Mapping[str, Any],
    alpha: float,
    seed: int,
) -> list[str]:
    """What fresh samples of a few images of one population disprove."""
    images = {bench.id_test.name: bench.id_test, **bench.ood}[name]
    if len(images) != len(population["images"]):
        return [f"{name}: {len(images)} images, the certificate has {len(population['images'])}"]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:IMAGES])
    x = torch.cat([images.shard(int(i), int(i) + 1) for i in chosen]).to(evaluator.device)
    samples = int(certificate["samples"])
    with evaluator.progress(f"{name}, fresh noise", samples * len(x)) as advance:
        parts = []
        for start in range(0, samples, BLOCK):
            count = min(BLOCK, samples - start)
            parts.append(block(evaluator, images, 0, x, start // BLOCK, count, f"verify/{seed}"))
            advance(count * len(x))
    y = np.sort(np.concatenate(parts, axis=1), axis=1)
    failures = []
    for radius, claim in population["bounds"].items():
        least = bounds_of(detector, y, float(radius) / detector.sigma, alpha, confident=False)
        for side, sign, worst in (("lower", 1, -np.inf), ("upper", -1, np.inf)):
            for i, limit in zip(chosen, getattr(least, side), strict=True):
                value = claim[side][i]
                value = worst if value is None else value
                if sign * (value - limit) > TOLERANCE * max(1.0, abs(limit)):
                    failures.append(
                        f"{name}, {population['images'][i]}: the {side} bound {value:.6g} at radius {radius} is beyond "
                        f"{limit:.6g}, the most that fresh noise allows"
                    )
    return failures


def check_metrics(entry: Mapping[str, Any], certificate: Mapping[str, Any]) -> list[str]:
    """Whether every GAUROC and GFPR95 of the certificate follows from its bounds."""

    def side(name: str, radius: float, which: str) -> np.ndarray:
        empty = -np.inf if which == "lower" else np.inf
        values = entry["populations"][name]["bounds"][f"{radius:.9g}"][which]
        return np.array([empty if v is None else v for v in values])

    (own,) = (name for name, p in entry["populations"].items() if p["role"] == "ID")
    failures = []
    for row in certificate["gauroc"]:
        if (row["detector"], row["base"]) != (entry["detector"], entry["base"]):
            continue
        near, far = (row["radius_l2"] if moved else 0.0 for moved in CONDITIONS[row["condition"]])
        lower, upper = side(own, near, "lower"), side(row["ood"], far, "upper")
        threshold = lower if row["condition"] == "both" else side(own, 0.0, "lower")
        for key, have in (("gauroc", gauroc(lower, upper)), ("gfpr95", gfpr95(threshold, upper))):
            if abs(have - row[key]) > 1e-9:
                failures.append(
                    f"{key} of {row['ood']}, {row['condition']} at {row['radius_l2']:g} is {row[key]:.6g}, its bounds "
                    f"give {have:.6g}"
                )
    return failures


def demand(verdict: Verdict) -> None:
    """EvaluationError for a verdict with failures, the first in full."""
    if verdict.failures:
        more = len(verdict.failures) - 1
        rest = f" (and {more} more failures)" if more else ""
        raise EvaluationError(f"the certificate does not hold: {verdict.failures[0]}{rest}")
