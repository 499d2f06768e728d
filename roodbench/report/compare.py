"""Detectors on the same images, of one run or of several: paired differences, their tests, and ranks.

Every detector scores the same clean images, so differences are paired image by image (DeLong, DeLong and Clarke-Pearson
1988). Under attack each detector has attacked copies of its own of the same images: the pairing by image holds, and
what differs is what its attack left of each detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from .. import metrics
from ..metrics.paired import Paired, holm, paired_test, rank_ranges
from ..record.record import Record, score_key
from ..record.row import Row
from ..record.rows import CONDITIONS
from ..record.table import label_of
from ..record.text import as_fraction
from .comparison import Comparison, Pair, Standing, letters, named

ALPHA = 1 - metrics.LEVEL
"""The probability of one wrong "differs" or more among all tests of a comparison."""
Place = tuple[str, float | None, str | None]
"""Condition, radius in pixels, and norm."""
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

    def components(self, row: Row) -> metrics.Components:
        """The AUROC of a row, with each image's part in it."""
        own = next(key.partition(": ")[2] for key in self.record.data if key.startswith("ID test: "))
        sets = zip((own, row.ood), CONDITIONS[row.condition], strict=True)
        scores = [self.record.scores[score_key(self.label, name, state, row.eps)] for name, state in sets]
        drawn = 1 if knows_seed(self.record) else None  # then rows speak of the draw that the adversary knows
        first, second = (part.double().numpy()[:drawn] for part in scores)
        groups = (groups_of(self.record, f"ID test: {own}"), groups_of(self.record, f"OOD test: {row.ood}"))
        return metrics.components(first, second, groups)


def groups_of(record: Record, key: str) -> np.ndarray | None:
    """For each image the first one with the same pixels; None where all differ, or in records of before they said."""
    if not (copies := record.data[key].get("copies")):
        return None
    first = np.arange(record.data[key]["images"])
    for image, original in copies:
        first[image] = original
    return first


def adversary(record: Record) -> dict[str, Any]:
    """What a record says of the attack beyond its rows, of `run` and of `evaluate`."""
    plan = record.config.get("plan", record.config)
    threat = plan["threat"] if isinstance(plan.get("threat"), dict) else {"noise": plan.get("threat")}
    given = {**record.config, **plan, **threat, "threat": threat.get("noise")}
    return {name: given.get(name) for name in ADVERSARY}


def knows_seed(record: Record) -> bool:
    return adversary(record)["threat"] == "known-seed"


def compare(records: Mapping[str, Record], ood: Sequence[str] | None = None) -> Comparison:
    """Every detector of some runs against every other, in every condition and radius that two of them have.

    `ood` names the OOD sets whose mean is compared, default all. ValueError, in one line, for runs without scores or
    with other images, and where there is nothing to compare.
    """
    for name, record in records.items():
        if not record.scores:
            raise ValueError(f"'{name}' has no scores: expected a run's folder, with scores.safetensors in it")
    sets = same_images(records, ood)
    entries = entries_of(records)
    if len(entries) < 2:
        raise ValueError(f"one detector, {entries[0].name}: expected at least two, of one run or of several")
    found: dict[Place, dict[str, tuple[metrics.Components, list[Row]]]] = {}
    for entry in entries:
        for place, rows in by_place(entry, sets).items():
            parts = [entry.components(row) for row in rows]
            found.setdefault(place, {})[entry.name] = (metrics.average(parts) if len(parts) > 1 else parts[0], rows)
    found = {place: best_first(found[place]) for place in sorted(found, key=order)}
    shared = {place: those for place, those in found.items() if len(those) > 1}
    asked = [(place, a, b) for place, those in shared.items() for a, b in combinations(those, 2)]
    tests = [tested(shared[place][a][0], shared[place][b][0], f"{a} and {b}, {place[0]}") for place, a, b in asked]
    corrected = holm([test.p for test in tests])
    pairs = [
        Pair(condition, eps, norm, a, b, test.difference.value, test.difference.ci, test.p, p, p <= ALPHA)
        for ((condition, eps, norm), a, b), test, p in zip(asked, tests, corrected, strict=True)
    ]
    record = next(iter(records.values()))
    sizes = {row.ood: row.n_ood for row in record.rows if row.ood in sets}
    return Comparison(
        list(records),
        sets,
        record.rows[0].n_id,
        sum(sizes.values()),
        [standing for place, those in shared.items() for standing in ranked(place, those, pairs)],
        pairs,
        list(notes(records, entries, found, len(tests))),
    )


def entries_of(records: Mapping[str, Record]) -> list[Entry]:
    """Every detector of every run; of one label, with the parameters that differ or the letters of their runs."""
    found = []
    for letter, record in zip(letters(len(records)), records.values(), strict=True):
        params = {label_of(row): row.params for row in record.rows}
        found += [((label, its, letter), record) for label, its in params.items()]
    names = named([those for those, _ in found])
    return [Entry(name, label, record) for name, ((label, _, _), record) in zip(names, found, strict=True)]


def same_images(records: Mapping[str, Record], ood: Sequence[str] | None) -> list[str]:
    """The OOD sets to compare on; ValueError, naming the set and the runs, where images are not the same."""
    (first, record), *others = records.items()
    has = {name: [row.ood for row in its.rows] for name, its in records.items()}
    sets = list(dict.fromkeys(has[first]))
    for name in ood or ():
        if name not in sets:
            from detectors import unknown

            raise ValueError(unknown(f"OOD set of '{first}'", name, sets))
    sets = [name for name in sets if name in ood] if ood else sets
    keys = [key for key in record.data if key.startswith("ID test: ")] + [f"OOD test: {name}" for name in sets]
    for name, other in others:
        shared = [its for its in sets if its in has[name]]
        extra = [] if ood else [its for its in dict.fromkeys(has[name]) if its not in sets]
        for lacking, those in ((name, [s for s in sets if s not in shared]), (first, extra)):
            if those:
                cure = f"--ood {','.join(shared)} compares on what both have" if shared else "they share no OOD set"
                raise ValueError(f"'{lacking}' has no OOD set {', '.join(those)}: {cure}")
        for key in keys:
            mine, its = record.data[key], other.data.get(key)
            if its is None or (mine["images"], mine["sha256"]) != (its["images"], its["sha256"]):
                counts = f"{mine['images']} and {0 if its is None else its['images']} images"
                raise ValueError(f"'{first}' and '{name}' have other images of {key} ({counts}): expected the same")
    return sets


def by_place(entry: Entry, sets: Sequence[str]) -> dict[Place, list[Row]]:
    """The rows of a detector by condition, radius in pixels and norm; those that have every OOD set."""
    found: dict[Place, dict[str, Row]] = {}
    for row in entry.rows:
        if row.ood in sets:
            radius = None if row.eps_pixel is None else round(row.eps_pixel, 12)
            found.setdefault((row.condition, radius, row.norm), {})[row.ood] = row
    return {place: [rows[name] for name in sets] for place, rows in found.items() if len(rows) == len(sets)}


def order(place: Place) -> tuple[float, int]:
    """Clean first, then by radius."""
    condition, radius, _ = place
    return (-1.0 if radius is None else radius, list(CONDITIONS).index(condition))


def best_first(those: Mapping[str, tuple[metrics.Components, list[Row]]]) -> dict[str, Any]:
    return dict(sorted(those.items(), key=lambda item: -item[1][0].value))


def tested(first: metrics.Components, second: metrics.Components, which: str) -> Paired:
    """The test; ValueError, naming the two, where they cannot be paired."""
    try:
        return paired_test(first, second)
    except ValueError as error:
        raise ValueError(f"{which}: {error}") from None


def ranked(
    place: Place, those: Mapping[str, tuple[metrics.Components, list[Row]]], pairs: Sequence[Pair]
) -> Iterator[Standing]:
    """The detectors of one condition, the best first."""
    names = list(those)
    differs = np.zeros((len(names), len(names)), dtype=bool)
    for pair in pairs:
        if (pair.condition, pair.eps, pair.norm) == place and pair.differs:
            i, j = names.index(pair.first), names.index(pair.second)
            differs[i, j] = differs[j, i] = True
    ranges = rank_ranges([area.value for area, _ in those.values()], differs)
    for (name, (area, rows)), (rank, best, worst) in zip(those.items(), ranges, strict=True):
        flags = {row.reliable for row in rows}
        reliable = False if False in flags else None if None in flags else True
        ends = area.interval().ci
        yield Standing(*place, name, area.value, ends, rank, best, worst, len(area.v_id), reliable)


def notes(
    records: Mapping[str, Record], entries: Sequence[Entry], found: Mapping[Any, Mapping[str, Any]], tests: int
) -> Iterator[str]:
    """How to read the numbers, and what to beware of."""
    yield (
        f"paired by image (DeLong); p (Holm) is corrected for all {tests} tests: with 95% probability no `differs` and "
        "no range of a rank is wrong; intervals are of each difference alone"
    )
    attacked = [key for key in found if key[0] != "clean"]
    if attacked:
        yield "attacked: the same images, of which each detector has attacked copies of its own"
    flags = [[row.reliable for _, rows in those.values() for row in rows] for those in found.values()]
    if any(False in its for its in flags):
        yield "* unreliable: a check failed, the AUROC under attack is an upper bound only, and so is its rank"
    if any(None in its for its in flags):
        yield "not judged: an attack's own checks did not run, its AUROC may be too high"
    if any(len(area.v_id) > 1 for those in found.values() for area, _ in those.values()):
        yield "randomised detectors: the mean AUROC over their draws, whose noise is in intervals and tests"
    for (one, a), (other, b) in combinations(records.items(), 2):
        said = [k for k in ADVERSARY if attacked and adversary(a)[k] != adversary(b)[k]]
        if said:
            parts = ", ".join(f"{k} {adversary(a)[k]} and {adversary(b)[k]}" for k in said)
            yield f"'{one}' and '{other}' attack otherwise ({parts}): their attacked AUROCs differ by that too"
    for key, those in found.items():
        lacking = [entry.name for entry in entries if entry.name not in those]
        if lacking:
            what = " ".join(filter(None, (key[0], key[2], as_fraction(key[1], key[2]) if key[1] else "")))
            yield f"{what}: not of {', '.join(lacking)}"
