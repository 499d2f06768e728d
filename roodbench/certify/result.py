"""What a certification found, as a record, a table, a curve and the certificate."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..record.environment import Environment
from ..record.record import parsed, typed
from ..record.text import rows_csv
from ..store.files import file_in, read_text, save_text
from .certificate import KEY, NAME, config_of, header
from .config import CertifyConfig
from .curve import curve
from .row import CertifiedRow
from .table import certified_table

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, repr=False)
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
        save_text(json.dumps(self.certificate(), allow_nan=False) + "\n", folder / NAME)
        drawn = curve(self.rows)
        if drawn is not None:
            save_text(drawn, folder / "curve.svg")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote, without the per-image bounds, which `load` reads too.

        ValueError for text that is no record of certify.
        """
        record = parsed(text, {f.name for f in fields(cls)} - {"certificates"}, "certify")
        rows = [typed(CertifiedRow, entry) for entry in record["rows"]]
        parts = {"config": config_of(record), "environment": typed(Environment, record["environment"]), "rows": rows}
        return cls(**{**record, **parts, "certificates": []})

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """What `save` wrote into a folder, the per-image bounds too; ValueError where there is no such record."""
        file = file_in(folder, "result.json")
        evidence = file.with_name(NAME)
        certificates = json.loads(read_text(evidence))["detectors"] if evidence.is_file() else []
        return replace(cls.from_json(read_text(file)), certificates=certificates)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.config.run.detector)}; {len(self.rows)} rows)"

    def __str__(self) -> str:
        return self.to_table()
