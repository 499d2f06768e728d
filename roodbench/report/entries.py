"""A detector of a run in a comparison: its AUROC in every condition, with each image's part in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import metrics
from ..record.pairs import groups_of
from ..record.record import Record, score_key
from ..record.row import Row
from ..record.rows import CONDITIONS
from ..record.table import label_of

Place = tuple[str, float | None, str | None]
"""Condition, radius in pixels, and norm."""
Found = tuple[metrics.Components, bool | None]
"""An AUROC with each image's part in it, and whether its checks passed."""
ADVERSARY = (*("method", "objective", "strength", "budget", "steps", "restarts", "threat", "quantize", "precision"),)
"""Settings of an attack that no row names."""


@dataclass(frozen=True)
class Entry:
    """A detector of a run."""

    name: str
    """Of no other entry: its label, with the run's letter where another run has it too."""
    label: str
    record: Record

    @property
    def rows(self) -> list[Row]:
        return [row for row in self.record.rows if label_of(row) == self.label and row.condition in CONDITIONS]

    def measured(self, sets: Sequence[str]) -> dict[Place, Found]:
        """By condition, radius and norm the AUROC over some OOD sets, where it has all of them."""
        found: dict[Place, dict[str, Row]] = {}
        for row in self.rows:
            if row.ood in sets:
                found.setdefault(key_of(row), {})[row.ood] = row
        return {
            place: over([self.components(rows[name]) for name in sets], [rows[name].reliable for name in sets])
            for place, rows in found.items()
            if len(rows) == len(sets)
        }

    def components(self, row: Row) -> metrics.Components:
        """The AUROC of a row, with each image's part in it."""
        own = next(key.partition(": ")[2] for key in self.record.data if key.startswith("ID test: "))
        sets = zip((own, row.ood), CONDITIONS[row.condition], strict=True)
        scores = [self.record.scores[score_key(self.label, name, state, row.eps)] for name, state in sets]
        drawn = 1 if knows_seed(self.record) else None  # then rows speak of the draw that the adversary knows
        first, second = (part.double().numpy()[:drawn] for part in scores)
        groups = (groups_of(self.record, f"ID test: {own}"), groups_of(self.record, f"OOD test: {row.ood}"))
        return metrics.components(first, second, groups)


def over(parts: Sequence[metrics.Components], flags: Sequence[bool | None]) -> Found:
    """The mean over OOD sets, and whether the checks of all passed."""
    reliable = False if False in flags else None if None in flags else True
    return metrics.average(parts) if len(parts) > 1 else parts[0], reliable


def key_of(row: Row) -> Place:
    """A row's condition, radius and norm."""
    return row.condition, None if row.eps_pixel is None else round(row.eps_pixel, 12), row.norm


def adversary(record: Record) -> dict[str, Any]:
    """What a record says of the attack beyond its rows, of `run` and of `evaluate`."""
    plan = record.config.get("plan", record.config)
    threat = plan["threat"] if isinstance(plan.get("threat"), Mapping) else {"noise": plan.get("threat")}
    given = {**record.config, **plan, **threat, "threat": threat.get("noise")}
    return {name: given.get(name) for name in ADVERSARY}


def knows_seed(record: Record) -> bool:
    return adversary(record)["threat"] == "known-seed"
