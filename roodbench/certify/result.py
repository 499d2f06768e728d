"""What a certification found, as a record, a table, a curve and the certificate."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..record.environment import Environment
from ..record.text import rows_csv
from ..store.files import save_text
from .certificate import KEY, header
from .config import CertifyConfig
from .curve import curve
from .row import CertifiedRow
from .table import certified_table


@dataclass(frozen=True)
class CertifiedResult:
    """Everything of one `roodbench certify`."""

    config: CertifyConfig
    environment: Environment
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
        parts = {"config": asdict(self.config), "environment": asdict(self.environment), "rows": rows}
        return {"schema_version": 1, **record, **parts}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """One line per row; lists and settings as JSON."""
        return rows_csv(self.rows)

    def to_table(self) -> str:
        """AUROC in percent: clean, attacked and certified side by side, per radius and OOD set."""
        return certified_table(self.rows)

    def certificate(self) -> dict[str, Any]:
        """The evidence: threat model, settings, hashes, constants and per-image bounds."""
        config, radii = self.config, {row.radius: row.radius_l2 for row in self.rows}
        return {
            **header(config, self.network, self.data, radii),
            "config": asdict(config),
            "environment": asdict(self.environment),
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
