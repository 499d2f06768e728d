"""What of a record's rows, averages and shifted sets follows from its scores, images and attacks, computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from .. import metrics
from ..data.benchmark import counted_twice
from ..metrics import Components, Groups
from ..record.pairs import ID, OOD, groups_of, oods_of, overlaps_of, reported, sizes_of
from ..record.record import Record, score_key
from ..record.row import Row, label_of
from ..record.rows import CONDITIONS, Measured, average, numbers, separated, warnings
from .judged import is_ours, marked, of_row

SLACK = 1e-9
"""Of every number, between machines."""
SHARED = (
    "detector",
    "base",
    "params",
    "benchmark",
    "model",
    "id_accuracy",
    "attack",
    "norm",
    "eps_pixel",
    "space",
    "n_id",
)
"""What an average has of its rows."""
METRICS = ("auroc", "auroc_drop", "fpr95_id", "fpr95_id_refit", "fpr95_ood", "aupr_in", "aupr_out")
GAPS = (("auroc_transfer", "adaptive_gap_steps"), ("auroc_equal", "adaptive_gap"))
"""AUROCs of attacks whose scores no record has, and by how much they lie above a row's own."""


@dataclass(frozen=True)
class Again:
    """A record's rows by detector, with the numbers that its scores give."""

    record: Record

    def state(self, label: str, condition: str, eps: float | None) -> list[tuple[Row, Measured]]:
        """The rows of one detector, condition and radius, each with what is measured of its scores."""
        place = (label, condition, eps)
        its = [row for row in self.record.rows if (label_of(row), row.condition, row.eps) == place]
        return [(row, self.measured(row)) for row in its]

    def measured(self, row: Row) -> Measured:
        own, label = next(iter(sizes_of(self.record))), label_of(row)
        id_state, ood_state = CONDITIONS[row.condition]
        clean = None if id_state == "clean" else self.scores(label, own, "clean", None)
        pair = self.scores(label, own, id_state, row.eps), self.scores(label, row.ood, ood_state, row.eps)
        return separated(pair, groups(self.record, row.ood), crc32(row.ood.encode()), clean)

    def scores(self, label: str, name: str, state: str, eps: float | None) -> np.ndarray:
        return reported(self.record, score_key(label, name, state, eps))


def groups(record: Record, ood: str) -> Groups:
    """Which images of ID and of an OOD set are copies of one."""
    return groups_of(record, ID + next(iter(sizes_of(record)))), groups_of(record, OOD + ood)


def of_numbers(record: Record) -> Iterator[str]:
    """Numbers of rows and averages that do not follow: metrics, intervals and drops from the scores, passes from the
    attacks, the rest of an average from its rows."""
    if not record.scores:
        return
    again, before = Again(record), dict[tuple[str, str], Components]()
    states = dict.fromkeys((label_of(row), row.condition, row.eps) for row in record.rows)
    for label, condition, eps in sorted(states, key=lambda state: state[1] != "clean"):
        its = again.state(label, condition, eps)
        if condition == "clean":
            before |= {(label, row.ood): found.area for row, found in its}
        clean = {} if condition == "clean" else {row.ood: before[label, row.ood] for row, _ in its}
        for row, found in its:
            given = numbers(found, clean.get(row.ood))
            notes = warnings(row.ood, found.area)
            yield from differing(record, row, given | passes_of(record, row) | of_row(record, row, notes))
            yield from of_gaps(row) if is_ours(record) else ()
        yield from of_means(record, its, clean)


def of_averages(record: Record) -> Iterator[str]:
    """Means over OOD sets that are not those of the rows."""
    for mean in record.averages:
        place = (label_of(mean), mean.condition, mean.eps)
        rows = [row for row in record.rows if (label_of(row), row.condition, row.eps) == place]
        its = [row.auroc for row in rows if mean.group in ("all", row.group)]
        if not its or not same(float(np.mean(its)), mean.auroc):
            yield f"the mean over {mean.group} OOD sets of {label_of(mean)}, {mean.condition}, is not that of its rows"


def of_means(record: Record, its: Sequence[tuple[Row, Measured]], clean: Mapping[str, Components]) -> Iterator[str]:
    """The averages of one detector, condition and radius over the groups that its OOD sets have."""
    first, place = its[0][0], tuple(getattr(its[0][0], name) for name in ("condition", "eps"))
    have: dict[str, list[Row]] = {}
    for mean in record.averages:
        if (label_of(mean), mean.condition, mean.eps) == (label_of(first), *place):
            have.setdefault(mean.group, []).append(mean)
    for group in dict.fromkeys(["near", "far", "all", *have]):
        parts = [(row, found) for row, found in its if group in ("all", row.group)]
        if len(have.get(group, [])) != (1 if parts else 0):
            yield f"it has {len(have.get(group, []))} means over {group} OOD sets of {named(first)}"
            continue
        if not parts:
            continue
        (mean,), rows = have[group], [row for row, _ in parts]
        start = metrics.average([clean[row.ood] for row in rows]) if clean else None
        given = numbers(average([found for _, found in parts]), start)
        given |= {name: getattr(first, name) for name in SHARED} | {"ood": "average"}
        given |= {"n_ood": sum(r.n_ood for r in rows), "passes": together(rows, [row.passes for row in rows])}
        oods = [row.ood for row in rows]
        given |= marked(record, mean, oods, counted_twice(overlaps_of(record), oods))
        equal = [row.passes_equal for row in rows if row.passes_equal is not None]
        if len(equal) == len(rows) and len({any(its["ood"]) for its in equal}) == 1:
            given["passes_equal"] = together(rows, equal)
        for area, _ in GAPS:
            known = [value for row in rows if (value := getattr(row, area)) is not None]
            given[area] = float(np.mean(known)) if len(known) == len(rows) else None
        yield from differing(record, mean, given)
        yield from of_gaps(mean) if is_ours(record) else ()


def differing(record: Record, row: Row, given: Mapping[str, Any]) -> Iterator[str]:
    """The fields that a row says otherwise; of a record without a hash of its scores the metrics alone."""
    for name, value in given.items():
        if not is_ours(record) and name not in METRICS:
            continue
        if not same(value, have := getattr(row, name)):
            yield f"{named(row)}: {name} is {have}, its scores, images and attacks give {value}"


def same(one: Any, other: Any) -> bool:
    """Whether two values of a record are alike, numbers in them up to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float) and not isinstance(one, bool):
        return abs(one - other) <= SLACK * max(1.0, abs(one))
    return bool(one == other)


def named(row: Row) -> str:
    where = row.ood if row.ood != "average" else f"{row.group} OOD sets"
    return f"{label_of(row)} on {where}, {row.condition}{'' if row.eps is None else f' at eps {row.eps:.6g}'}"


def of_gaps(row: Row) -> Iterator[str]:
    """Gaps that are not the difference of the AUROCs that they are between, or lie outside their intervals."""
    for area, gap in GAPS:
        above, missed, ends = (getattr(row, name) for name in (area, gap, f"{gap}_ci"))
        if (missed is None) != (ends is None) or (above is None) != (missed is None):
            yield f"{named(row)}: {area} is {above}, {gap} {missed} its interval {ends}: expected all or none"
        elif missed is not None and not same(above - row.auroc, missed):
            yield f"{named(row)}: {gap} is {missed}, {area} and auroc give {above - row.auroc}"
        elif missed is not None and not -1 <= ends[0] <= missed <= ends[1] <= 1:
            yield f"{named(row)}: {gap} is {missed}, outside its interval {ends}"


def passes_of(record: Record, row: Row) -> dict[str, Any]:
    """The passes of a row: of either population those of its attack."""
    found: dict[Any, list[float]] = {
        (a.detector, a.population, a.condition, a.eps): list(a.passes) for a in record.attacks
    }
    sets = zip(("id", "ood"), (next(iter(sizes_of(record))), row.ood), CONDITIONS[row.condition], strict=True)
    return {"passes": {side: found.get((label_of(row), name, state, row.eps), [0, 0]) for side, name, state in sets}}


def together(rows: Sequence[Row], passes: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    """Mean passes over OOD sets, of all their images."""
    mean = np.average([its["ood"] for its in passes], axis=0, weights=[row.n_ood for row in rows])
    return {"id": list(passes[0]["id"]), "ood": mean.tolist()}


def of_shifted(record: Record) -> Iterator[str]:
    """Shifted ID sets whose share of flagged images is not that of their scores, or that data has not."""
    sizes, own = sizes_of(record), next(iter(sizes_of(record)))
    for entry in record.shifted_id:
        key = score_key(entry.detector, entry.name, "clean", None)
        where = f"{entry.detector} on shifted ID {entry.name}"
        if entry.n != sizes.get(entry.name) or entry.name in (own, *oods_of(record)):
            yield f"{where}: {entry.n} images, data has {sizes.get(entry.name)}"
        elif record.scores:
            clean = reported(record, score_key(entry.detector, own, "clean", None))
            shifted = reported(record, key)
            flagged = [float(np.mean(s < metrics.threshold95(i))) for i, s in zip(clean, shifted, strict=True)]
            if not same(float(np.mean(flagged)), entry.flagged):
                yield f"{where}: flagged is {entry.flagged}, its scores give {float(np.mean(flagged))}"
