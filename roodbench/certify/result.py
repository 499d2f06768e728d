"""What a certification found: rows for the table, and the certificate that an assessor can check."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..files import save_text
from ..report.certified import certified_table, curve

SCHEMA = "roodbench-certificate/1"
CLAIM = (
    "For every image and every shift of it within the l2 radius, in pixels of [0, 1], the score of the detector in its "
    "population form lies between the bounds (null: no bound); all lower bounds of ID and upper bounds of OOD images "
    "at one radius hold together with probability 1 - alpha over the noise that was drawn."
)


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
    """Joint error of all bounds at one radius."""
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

    config: dict[str, Any]
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
        return {"schema_version": 1, **record, "rows": [asdict(row) for row in self.rows]}

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
        config = self.config
        return {
            "schema": SCHEMA,
            "claim": CLAIM,
            "threat": {"norm": "l2", "space": "pixel", "radii": sorted({row.radius_l2 for row in self.rows})},
            "sigma": config["sigma"],
            "samples": config["samples"],
            "alpha": config["alpha"],
            "seed": config["run"]["seed"],
            "config": config,
            "environment": self.environment,
            "network": self.network,
            "data": self.data,
            "detectors": self.certificates,
            "gauroc": [
                {k: getattr(row, k) for k in ("detector", "base", "ood", "condition", "radius_l2", "gauroc", "gfpr95")}
                for row in self.rows
            ],
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
