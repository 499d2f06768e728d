"""A record that shows itself: as a table, Markdown or CSV, and as the files of a run's folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..store.files import file_in, load_tensors, read_text, save_tensors, save_text
from .held import check
from .notebook import data_frame, html_table
from .pairs import check_scores
from .pictures import check_images
from .record import Record
from .table import markdown, table
from .text import rows_csv

if TYPE_CHECKING:
    from typing_extensions import Self


SCORES, IMAGES = "scores.safetensors", "images.safetensors"


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

    def to_pandas(self) -> Any:
        """Rows and averages as a pandas DataFrame, one line each, metrics as fractions; ValueError without pandas."""
        return data_frame(self)

    def plot(self, name: str = "bars", **choice: Any) -> Any:
        """A figure of this run, as `roodbench figure NAME` draws it and `roodbench.plot` describes: matplotlib's."""
        from .. import plot

        return plot(name, {"run": self}, **choice)

    def save(self, folder: Path) -> None:
        """Write result.json, result.csv, table.txt, table.md and scores.safetensors (per-image scores and winners).

        The last is left out of a record that was read from JSON alone. Where images are kept, images.safetensors too.
        """
        save_text(self.to_json() + "\n", folder / "result.json")
        save_text(self.to_csv(), folder / "result.csv")
        save_text(self.to_table() + "\n", folder / "table.txt")
        save_text(self.to_markdown() + "\n", folder / "table.md")
        if self.scores:
            save_tensors(self.scores, folder / SCORES)
        if self.images:
            save_tensors(self.images, folder / IMAGES)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """What `save` wrote into a folder, the per-image scores and images too, where they lie there.

        ValueError where there is no such record, what lies beside it is not its own (`check_scores`, `check_images`),
        or it says otherwise than follows from its scores and checks (`held.check`): then it was edited.
        """
        file = file_in(folder, "result.json")
        result = cls.from_json(read_text(file))
        for field, name, is_own in (("scores", SCORES, check_scores), ("images", IMAGES, check_images)):
            beside = file.with_name(name)
            if not beside.is_file():
                continue
            tensors: dict[str, Any] = {field: load_tensors(beside)}
            result = replace(result, **tensors)
            try:
                is_own(result)
            except ValueError as error:
                raise ValueError(f"'{beside}' is not of the run in {file.name} beside it: {error}") from None
        check(result, file)
        return result

    def _repr_html_(self) -> str:
        return html_table(self)

    def __str__(self) -> str:
        return self.to_table()
