"""What a record says of covariate-shifted ID sets, and of corruptions in the place of ID, computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import metrics
from ..data.corruptions import of_name
from ..metrics.paired import worst_of
from .pairs import ROUNDING, oods_of, sizes_of
from .recomputed import SHARED, Again, Points, differing, groups_in, named, of_gaps, points, same
from .record import Record
from .row import CORRUPTED, Row, ShiftedSet, label_of
from .rows import warnings
from .shifted import choice
from .verdicts import corrupted_of, said_of, sets_of

MEAN, WORST = CORRUPTED
Cells = Mapping[tuple[str, str], Points]
"""By corrupted set and OOD set."""


def of_shifted(record: Record, *, exact: bool = True) -> Iterator[str]:
    """Shifted ID sets and rows of corruptions that say otherwise than their scores, or of sets that data has not."""
    again, sizes, own = Again(record, resampled=False), sizes_of(record), next(iter(sizes_of(record)))
    for label in dict.fromkeys(entry.detector for entry in record.shifted_id):
        its = [entry for entry in record.shifted_id if entry.detector == label]
        cells = cells_of(again, [entry for entry in its if entry.corruption]) if record.scores else {}
        for entry in its:
            given: dict[str, Any] = {"n": None if entry.name in (own, *oods_of(record)) else sizes.get(entry.name)}
            if record.scores:
                clean, shifted = (again.scores(label, name) for name in (own, entry.name))
                flagged = [np.mean(s < metrics.threshold95(i)) for i, s in zip(clean, shifted, strict=True)]
                given["flagged"] = float(np.mean(flagged))
            if entry.corruption and cells:
                given |= dict(zip(("corruption", "severity"), of_name(entry.name) or (None, None), strict=True))
                found = {ood: cells[entry.name, ood] for ood in oods_of(record)}
                given["auroc"] = {ood: its.area.value for ood, its in found.items()}
                given["fpr95_id_refit"] = {ood: its.values["fpr95_id_refit"] for ood, its in found.items()}
            for name, value in given.items():
                if not same(value, have := getattr(entry, name)):
                    source = "data has" if name == "n" else "its scores give"
                    yield f"{label} on shifted ID {entry.name}: {name} is {have}, {source} {value}"
        if cells:
            yield from of_corrupted(record, label, {entry.name: entry for entry in its}, cells, exact=exact)


def cells_of(again: Again, entries: list[ShiftedSet]) -> Cells:
    """What a detector reaches with each corrupted set in the place of ID, at the threshold of clean ID."""
    own = next(iter(sizes_of(again.record)))
    return {
        (entry.name, ood): points(
            (again.scores(entry.detector, entry.name), again.scores(entry.detector, ood)),
            again.groups(entry.name, ood),
            0,
            again.scores(entry.detector, own),
        )
        for entry in entries
        for ood in oods_of(again.record)
    }


def of_corrupted(
    record: Record, label: str, entries: Mapping[str, ShiftedSet], cells: Cells, *, exact: bool
) -> Iterator[str]:
    """Rows of the mean over corruptions and of the worst, and their averages.

    Their intervals but those of the worst AUROC are left out, and these of records of other code: which images are
    copies of one over corruptions, no record says.
    """
    for condition in CORRUPTED:
        rows = [row for row in record.rows if (label_of(row), row.condition) == (label, condition)]
        for row in rows:
            yield from of_one(record, row, [row.ood], entries, cells, exact=exact)
        for _, mean, its in groups_in(record, rows) if rows else ():
            if isinstance(mean, str):
                yield mean
            else:
                yield from of_one(record, mean, [row.ood for row in its], entries, cells, exact=exact)


def of_one(
    record: Record, row: Row, oods: list[str], entries: Mapping[str, ShiftedSet], cells: Cells, *, exact: bool
) -> Iterator[str]:
    """One row, or an average over some OOD sets."""
    names, every = corrupted_of(record, row), [name for name in entries if entries[name].corruption]
    area = {name: float(np.mean([cells[name, ood].area.value for ood in oods])) for name in every}
    if not all(name in area for name in names) or (
        row.condition == WORST and area[names[0]] > min(area.values()) + ROUNDING
    ):
        least = min(area, key=lambda name: area[name])
        yield f"{named(row)}: attack is {row.attack}, the least AUROC is that of {least}"
        return
    parts = [cells[name, ood] for name in names for ood in oods]
    others = record.averages if row.ood == "average" else record.rows
    beside = [its for its in others if (label_of(its), its.condition, its.ood) == (label_of(row), "clean", row.ood)]
    clean = next((its for its in beside if its.ood != "average" or its.group == row.group), None)
    if clean is None:
        yield f"{named(row)}: it has no clean row beside it"
        return
    auroc = float(np.mean([part.area.value for part in parts]))
    accuracies = [entries[name].id_accuracy for name in names]
    known = [value for value in accuracies if value is not None]
    first = next(its for its in record.rows if label_of(its) == label_of(row))
    given: dict[str, Any] = {
        **{name: getattr(first, name) for name in SHARED},
        **{name: float(np.mean([part.values[name] for part in parts])) for name in parts[0].values},
        **{"auroc": auroc, "auroc_drop": clean.auroc - auroc, "auroc_drop_ci": None, "norm": None, "eps_pixel": None},
        "attack": "corruptions" if row.condition == MEAN else names[0],
        "n_id": sum(entries[name].n for name in names),
        "n_ood": sum(oods_of(record)[ood] for ood in oods),
        "id_accuracy": float(np.mean(known)) if len(known) == len(accuracies) else None,
        "passes": {"id": [0, 0], "ood": [0, 0]},
    }
    notes: list[str] = []
    if exact and row.condition == WORST:
        given["auroc_ci"] = worst_of([metrics.average([cells[name, o].area for o in oods]) for name in every]).ci
    if row.ood != "average":
        given["group"] = clean.group
        notes = warnings(row.ood, parts[0].area)
    notes += choice(row.condition, f"mean of {row.group}" if row.ood == "average" else row.ood, every)
    if exact and row.condition == WORST:  # over all, whether images are few, no record says
        given |= said_of(record, row, sets_of(record, row), notes)
    yield from differing(record, row, given)
    yield from of_gaps(record, row)
