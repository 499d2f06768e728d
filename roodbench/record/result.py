"""A record that shows itself: as a table, Markdown or CSV, and as the files of a run's folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..store.files import file_in, load_tensors, read_text, save_tensors, save_text
from .record import Record
from .table import markdown, table
from .text import rows_csv

if TYPE_CHECKING:
    from typing_extensions import Self


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

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """What `save` wrote into a folder, the per-image scores too; ValueError where there is no such record."""
        file = file_in(folder, "result.json")
        scores = file.with_name("scores.safetensors")
        return replace(cls.from_json(read_text(file)), scores=load_tensors(scores) if scores.is_file() else {})

    def __str__(self) -> str:
        return self.to_table()
