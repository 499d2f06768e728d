"""What of a record's rows and averages follows from its scores, images and attacks, computed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from zlib import crc32

import numpy as np

from .. import metrics
from ..data.benchmark import counted_twice
from ..metrics import Components, Groups
from .pairs import ID, OOD, ROUNDING, groups_of, is_hashed, oods_of, overlaps_of, reported, sizes_of
from .record import Record, score_key
from .row import CORRUPTED, Row, label_of
from .rows import CONDITIONS, average, numbers, separated, warnings
from .verdicts import said_of

SHARED = ("params", "benchmark", "model", "space")
"""What all rows of a detector have in common."""
OF_STATE = ("detector", "base", "id_accuracy", "attack", "norm", "eps_pixel", "n_id")
"""What an average has of its rows, besides."""
METRICS = ("auroc", "auroc_drop", "fpr95_id", "fpr95_id_refit", "fpr95_ood", "aupr_in", "aupr_out")
GAPS = (("auroc_transfer", "adaptive_gap_steps"), ("auroc_equal", "adaptive_gap"))
"""AUROCs of attacks whose scores no record has, and by how much they lie above a row's own."""
INTERVALS = [name.removesuffix("_ci") for name in (f.name for f in fields(Row)) if name.endswith("_ci")]
"""The numbers of a row that have an interval."""


@dataclass(frozen=True)
class Points:
    """The metrics of a row, with an interval of AUROC alone: all others cost many times as much."""

    area: Components
    values: dict[str, float]


def points(pair: tuple[np.ndarray, np.ndarray], groups: Groups, stream: int, clean: np.ndarray | None = None) -> Points:
    """`separated` without resamples, which `stream` would draw."""
    drawn = {
        "fpr95_id": metrics.fpr95_id(pair[0] if clean is None else clean, pair[1]),
        "fpr95_id_refit": metrics.fpr95_id(*pair),
        "fpr95_ood": metrics.fpr95_ood(*pair),
        "aupr_in": metrics.aupr_in(*pair),
        "aupr_out": metrics.aupr_out(*pair),
    }
    return Points(metrics.components(*pair, groups), {name: float(values.mean()) for name, values in drawn.items()})


def mean_points(parts: Sequence[Points]) -> Points:
    """`rows.average` of these."""
    values = {name: sum(part.values[name] for part in parts) / len(parts) for name in parts[0].values}
    return Points(metrics.average([part.area for part in parts]), values)


def numbers_of_points(found: Points, clean: Components | None) -> dict[str, Any]:
    """`rows.numbers` of these; the interval of a drop is left out."""
    value = found.area.value
    drop = {"auroc_drop_ci": None, "auroc_drop": None} if clean is None else {"auroc_drop": clean.value - value}
    return {"auroc": value, "auroc_ci": found.area.interval().ci, **drop, **found.values}


@dataclass(frozen=True)
class Again:
    """How the numbers of a record's rows are computed from its scores."""

    record: Record
    resampled: bool = True
    """Whether with every interval, or that of AUROC alone."""

    def measured(self, row: Row) -> Any:
        own, label = next(iter(sizes_of(self.record))), label_of(row)
        id_state, ood_state = CONDITIONS[row.condition]
        clean = None if id_state == "clean" else self.scores(label, own, "clean", None)
        pair = self.scores(label, own, id_state, row.eps), self.scores(label, row.ood, ood_state, row.eps)
        measure = separated if self.resampled else points
        return measure(pair, self.groups(own, row.ood), crc32(row.ood.encode()), clean)

    @property
    def mean(self) -> Callable[[Sequence[Any]], Any]:
        return average if self.resampled else mean_points

    @property
    def numbers(self) -> Callable[[Any, Components | None], dict[str, Any]]:
        return numbers if self.resampled else numbers_of_points

    def groups(self, name: str, ood: str) -> Groups:
        """Which images of an ID and of an OOD set are copies of one."""
        return groups_of(self.record, ID + name), groups_of(self.record, OOD + ood)

    def scores(self, label: str, name: str, state: str = "clean", eps: float | None = None) -> np.ndarray:
        return reported(self.record, score_key(label, name, state, eps))


def of_numbers(record: Record, *, resampled: bool = True, exact: bool = True) -> Iterator[str]:
    """Fields of rows and averages that do not follow: metrics and intervals from the scores, passes from the attacks,
    flags from the checks, the rest of an average from its rows.

    Without `resampled` all intervals but AUROC's are left out, without `exact` the words of warnings. Of a record
    without a hash of its scores, as of before, metrics alone are held, of one without scores what its rows decide.
    """
    again, before = Again(record, resampled), dict[tuple[str, str], Components]()
    states = dict.fromkeys((label_of(row), row.condition, row.eps) for row in record.rows)
    first, spent, own = dict[str, Row](), passes_in(record), next(iter(sizes_of(record)))
    for label, condition, eps in sorted(states, key=lambda state: state[1] != "clean"):
        if condition in CORRUPTED:
            continue
        its = [row for row in record.rows if (label_of(row), row.condition, row.eps) == (label, condition, eps)]
        found = [again.measured(row) for row in its] if record.scores else []
        if condition == "clean":
            before |= {(label, row.ood): measured.area for row, measured in zip(its, found, strict=False)}
        clean = {} if condition == "clean" or not found else {row.ood: before[label, row.ood] for row in its}
        for place, row in enumerate(its):
            given = of_facts(record, row, first.setdefault(label, its[0])) | passes_of(spent, row, own)
            if found:
                given |= again.numbers(found[place], clean.get(row.ood))
                if exact:
                    given |= said_of(record, row, [row.ood], warnings(row.ood, found[place].area))
            yield from differing(record, row, given)
            yield from of_gaps(record, row)
        yield from of_means(again, its, found, clean, exact=exact)


def of_facts(record: Record, row: Row, first: Row) -> dict[str, Any]:
    """What a row says of images and attack; `first` is another one of its detector."""
    sizes, clean = sizes_of(record), row.condition == "clean"
    like = next(its for its in record.rows if its.ood == row.ood)
    given = {"n_id": next(iter(sizes.values())), "n_ood": sizes.get(row.ood), "group": like.group}
    given |= {name: getattr(first, name) for name in (*SHARED, "id_accuracy")}
    attacked = next((its for its in record.rows if its.condition in CONDITIONS and its.condition != "clean"), row)
    given |= {name: None if clean else getattr(attacked, name) for name in ("attack", "norm")}
    return given | ({"eps_pixel": row.eps} if clean or row.space == "pixel" else {})


def of_means(
    again: Again, its: Sequence[Row], found: Sequence[Any], clean: Mapping[str, Components], *, exact: bool
) -> Iterator[str]:
    """The averages of one detector, condition and radius over the groups that its OOD sets have."""
    record, first = again.record, its[0]
    of_row = {id(row): measured for row, measured in zip(its, found, strict=False)}
    for group, mean, rows in groups_in(record, its):
        if isinstance(mean, str):
            yield mean
            continue
        given = {name: getattr(first, name) for name in (*SHARED, *OF_STATE)} | {"ood": "average", "group": group}
        given |= {"n_ood": sum(row.n_ood for row in rows), "passes": together(rows, [row.passes for row in rows])}
        oods = [row.ood for row in rows]
        notes = counted_twice(overlaps_of(record), oods)
        given |= said_of(record, mean, oods, notes) if exact else {}
        if found:
            start = metrics.average([clean[ood] for ood in oods]) if clean else None
            given |= again.numbers(again.mean([of_row[id(row)] for row in rows]), start)
        else:
            given |= {name: mean_of(rows, name) for name in METRICS}
        equal = [row.passes_equal for row in rows if row.passes_equal is not None]
        if len(equal) == len(rows) and len({any(each["ood"]) for each in equal}) == 1:
            given["passes_equal"] = together(rows, equal)
        given |= {area: mean_of(rows, area) for area, _ in GAPS}
        yield from differing(record, mean, given)
        yield from of_gaps(record, mean)


def groups_in(record: Record, its: Sequence[Row]) -> Iterator[tuple[str, Row | str, list[Row]]]:
    """The groups that rows of one detector, condition and radius have, each with its average, or what is wrong."""
    first, have = its[0], dict[str, list[Row]]()
    for mean in record.averages:
        if (label_of(mean), mean.condition, mean.eps) == (label_of(first), first.condition, first.eps):
            have.setdefault(mean.group, []).append(mean)
    for group in dict.fromkeys(["near", "far", "all", *have]):
        rows = [row for row in its if group in ("all", row.group)]
        means = have.get(group, [])
        if len(means) != (1 if rows else 0):
            wrong = f"it has {len(means)} means over {group} OOD sets of {label_of(first)}, {at(first)}"
            yield group, wrong, rows
        elif rows:
            yield group, means[0], rows


def mean_of(rows: Sequence[Row], name: str) -> float | None:
    """The mean of a number over rows; None where one lacks it."""
    known = [value for row in rows if (value := getattr(row, name)) is not None]
    return sum(known) / len(known) if len(known) == len(rows) else None


def differing(record: Record, row: Row, given: Mapping[str, Any]) -> Iterator[str]:
    """The fields that a row says otherwise; of a record without a hash of its scores the metrics alone."""
    theirs = "its scores give" if record.scores else "its rows give"
    for name, value in given.items():
        if not is_hashed(record) and name not in METRICS:
            continue
        if not same(value, have := getattr(row, name)):
            source = theirs if name.removesuffix("_ci") in METRICS else "the rest of the record gives"
            yield f"{named(row)}: {name} is {have}, {source} {value}"


def same(one: Any, other: Any) -> bool:
    """Whether two values of a record are alike, numbers in them up to rounding."""
    if type(one) is type(other) and one == other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float) and not isinstance(one, bool):
        return abs(one - other) <= ROUNDING * max(1.0, abs(one))
    return bool(one == other)


def named(row: Row) -> str:
    where = row.ood if row.ood != "average" else f"{row.group} OOD sets"
    return f"{label_of(row)} on {where}, {at(row)}"


def at(row: Row) -> str:
    return f"{row.condition}{'' if row.eps is None else f' at eps {row.eps:.6g}'}"


def of_gaps(record: Record, row: Row) -> Iterator[str]:
    """Numbers outside their intervals, and gaps that are not the difference of the AUROCs that they are between."""
    for name in INTERVALS:
        value, ends = getattr(row, name), getattr(row, f"{name}_ci")
        if ends is not None and not (value is not None and -1 <= ends[0] <= value + ROUNDING <= ends[1] + 2 * ROUNDING):
            yield f"{named(row)}: {name} is {value}, outside its interval {ends}"
    for area, gap in GAPS:
        above, missed, ends = (getattr(row, name) for name in (area, gap, f"{gap}_ci"))
        if is_hashed(record) and not (above is None) == (missed is None) == (ends is None):
            yield f"{named(row)}: {area} is {above}, {gap} {missed}, its interval {ends}: expected all or none"
        elif above is not None and missed is not None and not same(above - row.auroc, missed):
            yield f"{named(row)}: {gap} is {missed}, {area} and auroc give {above - row.auroc}"


def passes_in(record: Record) -> dict[tuple[Any, ...], list[float]]:
    """The passes of a record's attacks, by detector, population, condition and radius."""
    return {(a.detector, a.population, a.condition, a.eps): list(a.passes) for a in record.attacks}


def passes_of(spent: Mapping[tuple[Any, ...], list[float]], row: Row, own: str) -> dict[str, Any]:
    """The passes of a row: of either population those of its attack; `own` is the ID set."""
    sets = zip(("id", "ood"), (own, row.ood), CONDITIONS[row.condition], strict=True)
    return {"passes": {side: spent.get((label_of(row), name, state, row.eps), [0, 0]) for side, name, state in sets}}


def together(rows: Sequence[Row], passes: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    """Mean passes over OOD sets, of all their images."""
    mean = np.average([its["ood"] for its in passes], axis=0, weights=[row.n_ood for row in rows])
    return {"id": list(passes[0]["id"]), "ood": mean.tolist()}


def of_places(record: Record) -> Iterator[str]:
    """Rows that are missing or that stand twice: every detector has each OOD set once, clean and in every condition
    that it was attacked in."""
    own, oods = next(iter(sizes_of(record))), list(oods_of(record))
    wanted: Counter[tuple[str, str, str, float | None]] = Counter()
    for label in dict.fromkeys(entry.detector for entry in record.detectors):
        states: list[tuple[str, float | None]] = [("clean", None)]
        states += [(c, None) for c in CORRUPTED if any(e.corruption and e.detector == label for e in record.shifted_id)]
        done = {(a.population, a.condition, a.eps) for a in record.attacks if a.detector == label}
        for eps in dict.fromkeys(eps for *_, eps in done):
            for condition, (near, far) in CONDITIONS.items():
                moved = [(own, near, eps), *((ood, far, eps) for ood in oods)]
                if condition != "clean" and all(state == "clean" or (n, state, e) in done for n, state, e in moved):
                    states.append((condition, eps))
        wanted.update((label, ood, *state) for ood in oods for state in states)
    have = Counter((label_of(row), row.ood, row.condition, row.eps) for row in record.rows)
    for where, left in (("has no row", wanted - have), ("has one row more", have - wanted)):
        for label, ood, condition, radius in left:
            yield f"it {where} of {label} on {ood}, {condition}{'' if radius is None else f' at eps {radius:.6g}'}"
