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
from ..metrics.paired import holm, paired_test, rank_ranges
from ..record.record import Record, score_key
from ..record.row import Row
from ..record.rows import CONDITIONS
from ..record.table import label_of
from ..record.text import as_fraction
from .comparison import Comparison, Pair, Standing, letters

ALPHA = 1 - metrics.LEVEL
"""The probability of one wrong "differs" or more among all tests of a comparison."""
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
    found: dict[Any, dict[str, tuple[metrics.Components, list[Row]]]] = {}
    for entry in entries:
        for key, rows in by_condition(entry, sets).items():
            parts = [entry.components(row) for row in rows]
            found.setdefault(key, {})[entry.name] = (metrics.average(parts) if len(parts) > 1 else parts[0], rows)
    shared = {key: those for key, those in sorted(found.items(), key=lambda item: order(item[0])) if len(those) > 1}
    keys, tests = [], []
    for key, those in shared.items():
        for first, second in combinations(those, 2):
            keys.append((key, first, second))
            tests.append(tested(key, first, second, those[first][0], those[second][0]))
    corrected = holm([test.p for test in tests])
    pairs = [
        Pair(*key, a, b, test.difference.value, test.difference.ci, test.p, p, p <= ALPHA)
        for (key, a, b), test, p in zip(keys, tests, corrected, strict=True)
    ]
    record = next(iter(records.values()))
    sizes = {row.ood: row.n_ood for row in record.rows if row.ood in sets}
    return Comparison(
        list(records),
        sets,
        record.rows[0].n_id,
        sum(sizes.values()),
        [standing for key, those in shared.items() for standing in ranked(key, those, pairs)],
        pairs,
        list(notes(records, entries, found, len(tests))),
    )


def entries_of(records: Mapping[str, Record]) -> list[Entry]:
    """Every detector of every run; those of one label have the letters of their runs."""
    labels = {name: list(dict.fromkeys(d.detector for d in record.detectors)) for name, record in records.items()}
    every = [label for its in labels.values() for label in its]
    return [
        Entry(label if every.count(label) == 1 else f"{label} {letter}", label, records[name])
        for letter, (name, its) in zip(letters(len(labels)), labels.items(), strict=True)
        for label in its
    ]


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


def by_condition(entry: Entry, sets: Sequence[str]) -> dict[Any, list[Row]]:
    """The rows of a detector by condition, radius in pixels and norm; those that have every OOD set."""
    found: dict[Any, dict[str, Row]] = {}
    for row in entry.rows:
        if row.ood in sets:
            radius = None if row.eps_pixel is None else round(row.eps_pixel, 12)
            found.setdefault((row.condition, radius, row.norm), {})[row.ood] = row
    return {key: [rows[name] for name in sets] for key, rows in found.items() if len(rows) == len(sets)}


def order(key: tuple[str, float | None, str | None]) -> tuple[int, float, int]:
    condition, radius, _ = key
    return (0 if radius is None else 1, radius or 0.0, list(CONDITIONS).index(condition))


def tested(key: Any, first: str, second: str, a: metrics.Components, b: metrics.Components) -> Any:
    try:
        return paired_test(a, b)
    except ValueError as error:
        raise ValueError(f"{first} and {second}, {key[0]}: {error}") from None


def ranked(
    key: Any, those: Mapping[str, tuple[metrics.Components, list[Row]]], pairs: Sequence[Pair]
) -> Iterator[Standing]:
    """The detectors of one condition, the best first."""
    names = list(those)
    differs = np.zeros((len(names), len(names)), dtype=bool)
    for pair in pairs:
        if (pair.condition, pair.eps, pair.norm) == key and pair.differs:
            i, j = names.index(pair.first), names.index(pair.second)
            differs[i, j] = differs[j, i] = True
    ranges = rank_ranges([those[name][0].value for name in names], differs)
    for place in sorted(range(len(names)), key=lambda i: ranges[i][0]):
        area, rows = those[names[place]]
        flags = {row.reliable for row in rows}
        reliable = False if False in flags else None if None in flags else True
        estimate = area.interval()
        yield Standing(*key, names[place], estimate.value, estimate.ci, *ranges[place], len(area.v_id), reliable)


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
    if len({len(next(iter(those.values()))[0].v_id) for those in found.values()} | draws_of(found)) > 1:
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


def draws_of(found: Mapping[Any, Mapping[str, Any]]) -> set[int]:
    return {len(area.v_id) for those in found.values() for area, _ in those.values()}
