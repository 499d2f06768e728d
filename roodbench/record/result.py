"""A record that shows itself: as a table, Markdown or CSV, and as the files of a run's folder."""

from __future__ import annotations

from pathlib import Path

from ..store.files import save_tensors, save_text
from .record import Record
from .table import markdown, table
from .text import rows_csv


class Result(Record):
    """What one run found. Printed, it is the table."""

    def to_table(self) -> str:
        """AUROC in percent, with 95% intervals, and FPR95, per OOD set and condition."""
        return table(self)

    def to_markdown(self) -> str:
        """The same table in Markdown."""
        return markdown(self)

    def to_csv(self) -> str:
        """Rows and averages, one line each; lists and settings as JSON."""
        return rows_csv([*self.rows, *self.averages])

    def save(self, folder: Path) -> None:
        """Write result.json, result.csv, table.txt, table.md and scores.safetensors (per-image scores and winners)."""
        save_text(self.to_json() + "\n", folder / "result.json")
        save_text(self.to_csv(), folder / "result.csv")
        save_text(self.to_table() + "\n", folder / "table.txt")
        save_text(self.to_markdown() + "\n", folder / "table.md")
        save_tensors(self.scores, folder / "scores.safetensors")

    def __str__(self) -> str:
        return self.to_table()
