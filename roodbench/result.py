"""The result record: one row per detector, OOD set and condition; as JSON, CSV and a table."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from .files import save_tensors, save_text
from .report.table import markdown, table

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One detector against one OOD set (or the average over a group) in one condition. Metrics are fractions."""

    detector: str
    base: str | None
    params: dict[str, Any]
    benchmark: str
    model: str | None
    id_accuracy: float | None
    ood: str
    group: str
    condition: str
    attack: str | None
    norm: str | None
    eps: float | None
    eps_pixel: float | None
    space: str
    n_id: int
    n_ood: int
    auroc: float
    auroc_ci: list[float]
    auroc_drop: float | None
    """Clean AUROC minus this row's, on the same images; None in a clean row."""
    auroc_drop_ci: list[float] | None
    fpr95_id: float
    """OOD that reaches the threshold 95% of clean ID reach."""
    fpr95_id_ci: list[float] | None
    fpr95_id_refit: float
    """The same with the threshold taken from this condition's ID."""
    fpr95_id_refit_ci: list[float] | None
    fpr95_ood: float
    """ID flagged where 95% of OOD are (OpenOOD)."""
    fpr95_ood_ci: list[float] | None
    aupr_in: float
    aupr_out: float
    passes: dict[str, list[float]]
    """Mean network passes [forward, backward] per attacked image: id, ood."""
    reliable: bool | None
    """Whether its checks passed; None under an attack whose indicators' own attacks did not run (`check=False`)."""
    warnings: list[str]
    auroc_transfer: float | None = None
    """AUROC when PGD on the base score alone made the images, the published attack; None where there is no other."""
    adaptive_gap: float | None = None
    """auroc_transfer minus auroc, at equal steps and restarts: what the published attack misses."""
    adaptive_gap_ci: list[float] | None = None


@dataclass(frozen=True)
class Result:
    """What one run found. `rows` hold OOD sets, `averages` the means over the near, far and all OOD sets."""

    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    rows: list[Row]
    averages: list[Row]
    shifted_id: list[dict[str, Any]]
    indicators: list[dict[str, Any]]
    attacks: list[dict[str, Any]]
    """Per detector and attacked population: components, how many and which images each won, passes per image."""
    detectors: list[dict[str, Any]]
    timing: dict[str, Any]
    scores: dict[str, Tensor] = field(repr=False, default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The record without the per-image scores, JSON-like."""
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "scores"}
        return {**record, "rows": [asdict(r) for r in self.rows], "averages": [asdict(r) for r in self.averages]}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """Rows and averages, one line each; lists and settings as JSON."""
        out = io.StringIO()
        writer = csv.DictWriter(out, [f.name for f in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in [*self.rows, *self.averages]:
            cells = asdict(row).items()
            writer.writerow({k: json.dumps(v) if isinstance(v, list | dict | bool) else v for k, v in cells})
        return out.getvalue()

    def to_table(self) -> str:
        """AUROC in percent, with 95% intervals, and FPR95, per OOD set and condition."""
        return table(self)

    def to_markdown(self) -> str:
        """The same table in Markdown."""
        return markdown(self)

    @classmethod
    def from_json(cls, text: str) -> Result:
        """The result that `to_json` wrote, without the per-image scores."""
        record = json.loads(text)
        if record.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"schema version {record.get('schema_version')}: expected {SCHEMA_VERSION}")
        rows, averages = ([Row(**row) for row in record[name]] for name in ("rows", "averages"))
        return cls(**{**record, "rows": rows, "averages": averages})

    def save(self, folder: Path) -> None:
        """Write result.json, result.csv, table.txt, table.md and scores.safetensors (per-image scores and winners)."""
        save_text(self.to_json() + "\n", folder / "result.json")
        save_text(self.to_csv(), folder / "result.csv")
        save_text(self.to_table() + "\n", folder / "table.txt")
        save_text(self.to_markdown() + "\n", folder / "table.md")
        save_tensors(self.scores, folder / "scores.safetensors")

    def __str__(self) -> str:
        return self.to_table()
