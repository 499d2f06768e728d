"""An assessor's check of a certificate of interval bounds: all of it is computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import numpy as np

from detectors import Score

from ...engine.progress import Progress, progress_of
from ...engine.worker import Worker
from ...evaluation.attacker import Attacker
from ...machine.device import opened, summing_products
from ...setup.config import RunConfig
from ...setup.setting import Setting
from ..compare import ANYTHING, TOLERANCE, differences, near, revision
from ..verifier import refuse_code
from .claimed import LEFT, metrics_of
from .config import IntervalConfig
from .evidence import Found, detail, header


@dataclass(frozen=True)
class IntervalVerdict:
    """How many bounds were computed again, and everything that does not hold."""

    images: int
    bounds: int
    failures: list[str]
    unverified: dict[str, str] = field(default_factory=lambda: dict(LEFT))
    """Fields that were taken as they are, and what that leaves open."""


def verify_intervals(
    certificate: Mapping[str, Any], *, device: str = "auto", progress: Progress | bool = False, **overrides: Any
) -> IntervalVerdict:
    """Compute what a certificate says again, from the assessor's own network and images, and compare every field.

    Bounds may differ by 1e-9, scores and metrics by 1e-5 of them; `overrides` are as of `roodbench.certify.verify`.
    ValueError for a certificate whose settings are malformed or name code that the assessor does not.
    """
    own = {"download": False, "trust_checkpoint": False, **{k: v for k, v in overrides.items() if v is not None}}
    refuse_code(certificate, own)
    config = config_of(certificate)
    with opened(device) as place, summing_products():
        setting = Setting(replace(config.run, device=device, **own), place)
        about = header(config, setting)
        stated = {**about, "code": revision(about["code"]), "environment": ANYTHING}
        failures = list(differences({k: certificate.get(k) for k in stated if k in certificate}, stated))
        failures += [f"the certificate has an unknown {k}" for k in certificate if k not in (*stated, *SAID)]
        failures += [f"the certificate has no {k}" for k in SAID if k not in certificate]
        if failures:  # of another network, other images or other settings: nothing is comparable
            return IntervalVerdict(0, 0, failures)
        found, wanted = Found(config, setting, progress_of(progress)), []
        for name in config.run.detector:
            detector = cast(Score, setting.fitted(name)[0])
            worker = Attacker(Worker(detector, seed=config.run.seed, device=place))
            scores = {n: scored(worker, images) for n, images in found.sets.items()}
            failures += [line for n in scores if (line := found.escape(detector, n, 0.0, scores[n]))]
            wanted.append(rounded(detail(detector, found, scores)))
        failures += differences(certificate["detectors"], wanted, "detectors")
        if not failures:
            rows = [dict(row) for row in metrics_of(certificate["detectors"], *found.compared)]
            failures = list(differences(certificate["gauroc"], rows, "gauroc"))
    images = sum(len(images) for images in found.sets.values())
    return IntervalVerdict(images, 2 * images * len(found.radii) * len(wanted), failures)


SAME = 1e-9
"""Relative, for what another machine rounds differently in float64."""
SAID = ("detectors", "gauroc")
"""What a certificate says besides what it is about."""


def scored(attacker: Attacker, images: Any) -> np.ndarray:
    """The scores (n,) of a set of images."""
    parts = [attacker.scores(x, images.name, shard)[0] for shard, x in images.shards()]
    return np.concatenate([part.double().numpy() for part in parts])


def rounded(value: Any, allowed: float = TOLERANCE) -> Any:
    """The same with every number allowed to differ by rounding: by so much of it, or of 1 where it is small.

    Bounds are computed in float64 and give way by more than `SAME` already; scores are float32.
    """
    if isinstance(value, float):
        return near(value, allowed * max(1.0, abs(value)))
    if isinstance(value, Mapping):
        kinds = {"bounds": SAME}
        return {k: part if k == "params" else rounded(part, kinds.get(k, allowed)) for k, part in value.items()}
    return [rounded(part, allowed) for part in value] if isinstance(value, list) else value


def config_of(certificate: Mapping[str, Any]) -> IntervalConfig:
    """The settings in a certificate; ValueError for those that are malformed."""
    try:
        kept = dict(certificate["config"])
        run = {f.name: kept["run"][f.name] for f in fields(RunConfig) if f.name in kept["run"]}
        return IntervalConfig(**{**kept, "run": RunConfig(**run)})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the certificate's config is malformed: {type(error).__name__} {error}") from None
