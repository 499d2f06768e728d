"""What a certificate says, and how it says it: header, detectors, populations, keys of its rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from detectors import Smoothed, unknown

from ..data import Benchmark, ImageSet
from ..metrics.gain import Bounds
from ..setup.code import NAMING, is_code
from ..setup.config import RunConfig
from ..setup.setting import Setting
from ..store.files import file_in, read_hashed
from ..store.identity import SCORING, code_version, content_hash, source_hash
from .config import CERTIFIABLE, CertifyConfig

SCHEMA = "roodbench-certificate/3"
OLD = {
    "roodbench-certificate/1": "the noisy scores, the seed and the code",
    "roodbench-certificate/2": "the operating point and the numbers that hold at once",
}
"""Older schemas, and what they lack of what is checked now."""
NAME, PAGE = "certificate.json", "certificate.html"
INTERVAL = "roodbench-interval-certificate/1"
"""Of certificates of interval bounds."""
CLAIM = (
    "The bounds are of the score that the detector has of infinitely many noisy copies. For every image and every "
    "shift of it within the l2 radius, in pixels of [0, 1], that score lies between the bounds (null: no bound). Each "
    "fails with probability at most alpha_image over the noise that was drawn, so each gauroc, gfpr95 and deployed "
    "holds with probability 1 - alpha; the bounds in counted fail more often, fixed by the number of images, which "
    "gauroc_counted allows for. The bounds in predicted are of the score that as many fresh copies give: they and "
    "gauroc_predicted hold with the same probabilities over both noises. deployed is the AUROC expected of the "
    "detector of few fresh copies. Each gauroc_joint and gauroc_new and everything in operating follow from the noisy "
    "scores in sample (those of copies from predicted) and hold all at once with probability 1 - alpha: over the noise "
    "for these images, over noise and images for new ones of which these are a random sample. operating is of the "
    "detector that takes an image for ID where its score reaches the threshold, which no adversary moves; tpr is at "
    "least, fpr at most that of every shift of ID and of OOD images. The shift may depend on everything but the noise. "
    "Noise is drawn in float64; it and "
    "images are rounded to multiples of a power of 2 whose sums float32 holds exactly, and the network is what it "
    "computes in float32 of these."
)
KEY = ("detector", "base", "ood", "condition", "radius_l2")
CERTIFIED = ("gauroc", "gfpr95", "gauroc_counted", "gauroc_predicted", "gauroc_joint", "gauroc_new")
"""The metrics in a row of a certificate, besides the deployed detector's."""


CODE = (*SCORING, "roodbench/certify", "roodbench/setup")
"""What decides the numbers in a certificate."""


def code_of(setting: Setting, names: Iterable[str]) -> str:
    """A hash of RoodBench's code and of a user's: of the network and the detectors of these names."""
    own = [source_hash(setting.plain), *(source_hash(setting.detector(name)) for name in names)]
    return content_hash([code_version(*CODE), *own])


def noise_seed(network: Mapping[str, Any], data: Mapping[str, Any], code: str) -> int:
    """The seed of the noise under a certificate, which nobody chooses: it follows from network, images and code."""
    return int(content_hash([network["name"], network["sha256"], data, code])[:12], 16)


def header(
    config: CertifyConfig,
    network: Mapping[str, Any],
    data: Mapping[str, Any],
    code: str,
    radii: Mapping[float, float],
) -> dict[str, Any]:
    """What a certificate is about: the claim, the threat, the noise, the network, the images and the code."""
    return {
        "schema": SCHEMA,
        "claim": CLAIM,
        "threat": {"norm": "l2", "space": "pixel", "radii": sorted(radii.values())},
        "sigma": config.sigma,
        "samples": config.samples,
        "alpha": config.alpha,
        "network": dict(network),
        "data": dict(data),
        "code": code,
        "seed": noise_seed(network, data, code),
    }


def described(detector: Smoothed, alpha: float) -> dict[str, Any]:
    """What a certificate says of a detector, besides what was fitted and found; `alpha` is that of one image."""
    return {
        "detector": detector.name,
        "base": detector.base.name,
        "params": {k: v for d in reversed(detector.chain) for k, v in d.hyperparameters().items()},
        "extremes": [number(v) for v in detector.base.extremes()],
        "alpha_image": alpha,
    }


def role_of(images: ImageSet, bench: Benchmark) -> dict[str, Any]:
    """What a certificate says of a population."""
    role = "ID" if images is bench.id_test else images.split if images.split == "ID val" else "OOD"
    return {"role": role, "sha256": images.digest, "images": list(images.names)}


def entries_of(certificate: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The detectors or the rows of a certificate: what are objects in a list of this name."""
    found = certificate.get(name)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def number(value: float) -> float | None:
    """JSON has no infinity: null."""
    return float(value) if np.isfinite(value) else None


def shown(sample: np.ndarray) -> list[list[float]]:
    """Noisy scores (n, m) in the fewest digits that float32 takes."""
    return [[float(f"{v:.9g}") for v in row] for row in sample.tolist()]


def sides(bounds: Bounds) -> dict[str, list[float | None]]:
    """Lower and upper bounds of all images; null where there is none."""
    return {side: [number(v) for v in getattr(bounds, side)] for side in ("lower", "upper")}


def config_of(certificate: Mapping[str, Any]) -> CertifyConfig:
    """The settings in a certificate, or in a record of certify.

    Nothing but certifiable detectors is named; network, denoiser, benchmark and base may be code of others (`code_in`).
    """
    try:
        kept = dict(certificate["config"])
        run = {f.name: kept["run"][f.name] for f in fields(RunConfig) if f.name in kept["run"]}  # later ones: defaults
        for name in run["detector"]:
            if name not in CERTIFIABLE:
                raise ValueError(unknown("certifiable detector", str(name), CERTIFIABLE))
        return CertifyConfig(**{**kept, "run": RunConfig(**run)})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the certificate's config is malformed: {type(error).__name__} {error}") from None


def code_in(certificate: Mapping[str, Any]) -> dict[str, str]:
    """By setting, what runs code of anybody when it is loaded: MODULE:ATTRIBUTE, or a benchmark that names one."""
    config = certificate.get("config")
    run = config.get("run") if isinstance(config, Mapping) else None
    named = {name: run.get(name) for name in NAMING} if isinstance(run, Mapping) else {}
    return {k: v for k, v in named.items() if isinstance(v, str) and is_code(k, v)}


def read(place: Path | str) -> dict[str, Any]:
    """The certificate in a file, or in the folder of a run; ValueError for one that is not, or of another schema."""
    return read_with_hash(place)[0]


def read_with_hash(place: Path | str) -> tuple[dict[str, Any], str]:
    """The same and the SHA-256 of its file."""
    file = file_in(place, NAME)
    if not file.is_file():
        raise ValueError(f"certificate '{file}': No such file, expected a {NAME} or the folder of a run that has one")
    text, digest = read_hashed(file)
    try:
        found = json.loads(text, object_pairs_hook=once, parse_constant=no_number)
    except ValueError as error:
        raise ValueError(f"certificate '{file}' is not JSON: {error}") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if isinstance(schema, str) and schema in OLD:
        raise ValueError(
            f"certificate '{file}' has schema {schema!r}: it lacks {OLD[schema]} that are checked now; certify again, "
            "or verify it with the RoodBench that made it"
        )
    if schema not in (SCHEMA, INTERVAL):
        is_result = isinstance(found, dict) and "schema_version" in found
        wrong = "is a result" if is_result else f"has schema {schema!r}"
        raise ValueError(f"certificate '{file}' {wrong}: expected a {NAME} of schema {SCHEMA!r}")
    return found, digest


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError for a name that is in it twice, of which readers take one or the other."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"an object names {name} twice")
        found[name] = value
    return found


def no_number(text: str) -> Any:
    """ValueError for what Python's reader takes for a number, and no other one."""
    raise ValueError(f"{text} is no number of JSON")
