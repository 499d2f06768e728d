"""What a certification found: rows for the table, and the certificate that an assessor can check."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from detectors import Smoothed

from ..data import Benchmark, ImageSet
from ..files import save_text
from ..report.certified import certified_table, curve
from .config import CertifyConfig

SCHEMA = "roodbench-certificate/1"
CLAIM = (
    "For every image and every shift of it within the l2 radius, in pixels of [0, 1], the score of the detector in its "
    "population form lies between the bounds (null: no bound). Each bound fails with probability at most alpha_image "
    "over the noise that was drawn, so each gauroc and each gfpr95 holds with probability 1 - alpha."
)
KEY = ("detector", "base", "ood", "condition", "radius_l2")


def header(
    config: CertifyConfig, network: Mapping[str, Any], data: Mapping[str, Any], radii: Mapping[float, float]
) -> dict[str, Any]:
    """What a certificate is about: the claim, the threat, the noise, the network and the images."""
    return {
        "schema": SCHEMA,
        "claim": CLAIM,
        "threat": {"norm": "l2", "space": "pixel", "radii": sorted(radii.values())},
        "sigma": config.sigma,
        "samples": config.samples,
        "alpha": config.alpha,
        "seed": config.run.seed,
        "network": dict(network),
        "data": dict(data),
    }


def described(detector: Smoothed, alpha: float) -> dict[str, Any]:
    """What a certificate says of a detector, besides its fitted constants; `alpha` is that of one image."""
    return {
        "detector": detector.name,
        "base": detector.base.name,
        "params": {**detector.base.hyperparameters(), **detector.hyperparameters()},
        "extremes": [number(v) for v in detector.base.extremes()],
        "alpha_image": alpha,
    }


def role_of(images: ImageSet, bench: Benchmark) -> dict[str, Any]:
    """What a certificate says of a population."""
    role = "ID" if images is bench.id_test else "OOD"
    return {"role": role, "sha256": images.digest, "images": list(images.names)}


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a row of metrics from the others."""
    return tuple(row.get(name) for name in KEY) if isinstance(row, Mapping) else ()


def number(value: float) -> float | None:
    """JSON has no infinity: null."""
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class CertifiedRow:
    """One detector in its population form against one OOD set, at one radius, in one condition. Fractions, not percent.

    `min` bounds (and attacks) ID within the radius, `max` OOD, `both` both; the other side is bounded at radius 0.
    """

    detector: str
    base: str
    params: dict[str, Any]
    benchmark: str
    model: str | None
    ood: str
    group: str
    condition: str
    sigma: float
    samples: int
    alpha: float
    """Error of each certified number, shared by the bounds of all images."""
    alpha_image: float
    norm: str
    radius: float
    """In units of `norm`."""
    radius_l2: float
    n_id: int
    n_ood: int
    auroc_clean: float
    auroc_clean_ci: list[float]
    auroc_attacked: float | None
    """Under the l2 suite at the same radius, of the same population detector; None without an attack."""
    auroc_attacked_ci: list[float] | None
    gauroc: float
    """Certified AUROC, with probability 1 - alpha: no adversary within the radius gets below."""
    gauroc_counted: float
    """The same from bounds of alpha each, less the share that may fail: tighter for large populations."""
    gauroc_crude: float | None
    """ROSS only: from g(m+, D-), which the tight upper bound improves on."""
    gfpr95: float
    """Certified FPR95: no adversary gets above."""
    fpr95_clean: float
    says_id: float
    """Share of ID images whose bound says more than what any score obeys."""
    says_ood: float
    reasons: list[str]
    copies: int
    deployed: dict[str, float | None]
    """AUROC of the detector as deployed, `copies` fresh draws an image: clean, attacked, and its certified bound."""


@dataclass(frozen=True)
class CertifiedResult:
    """Everything of one `roodbench certify`."""

    config: CertifyConfig
    environment: dict[str, Any]
    network: dict[str, Any]
    data: dict[str, Any]
    rows: list[CertifiedRow]
    certificates: list[dict[str, Any]]
    """Per detector: constants and, per image, its bounds."""
    violations: list[str]
    timing: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The record without the per-image bounds, JSON-like."""
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "certificates"}
        rows = [asdict(row) for row in self.rows]
        return {"schema_version": 1, **record, "config": asdict(self.config), "rows": rows}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """One line per row; lists and settings as JSON."""
        out = io.StringIO()
        writer = csv.DictWriter(out, [f.name for f in fields(CertifiedRow)], lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in asdict(row).items()})
        return out.getvalue()

    def to_table(self) -> str:
        """AUROC in percent: clean, attacked and certified side by side, per radius and OOD set."""
        return certified_table(self.rows)

    def certificate(self) -> dict[str, Any]:
        """The evidence: threat model, settings, hashes, constants and per-image bounds."""
        config, radii = self.config, {row.radius: row.radius_l2 for row in self.rows}
        return {
            **header(config, self.network, self.data, radii),
            "config": asdict(config),
            "environment": self.environment,
            "detectors": self.certificates,
            "gauroc": [{k: getattr(row, k) for k in (*KEY, "gauroc", "gfpr95")} for row in self.rows],
        }

    def save(self, folder: Path) -> None:
        """Write result.json, result.csv, table.txt, certificate.json and, where matplotlib is installed, curve.svg."""
        save_text(self.to_json() + "\n", folder / "result.json")
        save_text(self.to_csv(), folder / "result.csv")
        save_text(self.to_table() + "\n", folder / "table.txt")
        save_text(json.dumps(self.certificate(), allow_nan=False) + "\n", folder / "certificate.json")
        drawn = curve(self.rows)
        if drawn is not None:
            save_text(drawn, folder / "curve.svg")

    def __str__(self) -> str:
        return self.to_table()
