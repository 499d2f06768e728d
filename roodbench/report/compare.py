"""Detectors on the same images, of runs and certificates: paired differences, their tests, and ranks.

Every detector scores the same clean images, so differences are paired image by image (DeLong, DeLong and Clarke-Pearson
1988). Under attack each detector has attacked copies of its own of the same images: the pairing by image holds, and
what differs is what its attack left of each detector. Certified bounds are paired by image too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from .. import metrics
from ..metrics.paired import Paired, holm, paired_test, rank_ranges
from ..record.pairs import evaluation_sets, groups_of
from ..record.record import Record
from ..record.row import CORRUPTED
from ..record.rows import CONDITIONS
from ..record.table import label_of
from ..record.text import as_fraction
from ..words import counted
from .bounded import CERTIFIED, Bounded, Claims, check_comparable
from .comparison import Comparison, Pair, Standing, letters, named
from .entries import ADVERSARY, Entry, Found, Place, adversary, key_of
from .sandwich import contradictions, lines_of

ALPHA = 1 - metrics.LEVEL
"""The probability of one wrong "differs" or more among all tests of a comparison."""
ORDER = [*CONDITIONS, *CERTIFIED]


def compare(records: Mapping[str, Record | Claims], ood: Sequence[str] | None = None) -> Comparison:
    """Every detector of some runs and certificates against every other, wherever two of them have a condition and
    radius; where there is a certificate, also one table of clean, attacked and certified.

    `ood` names the OOD sets whose mean is compared, default all. ValueError, in one line, for runs without scores or
    with other images, for what a certificate does not speak of (`check_comparable`), and where there is nothing to
    compare.
    """
    for name, record in records.items():
        if isinstance(record, Record) and not record.scores:
            raise ValueError(f"'{name}' has no scores: expected a run's folder, with scores.safetensors in it")
    check_comparable(records)
    sets = same_images(records, ood)
    entries = entries_of(records)
    if len(entries) < 2:
        raise ValueError(f"one detector, {entries[0].name}: expected at least two, of one run or of several")
    found: dict[Place, dict[str, Found]] = {}
    for entry in entries:
        for place, its in entry.measured(sets).items():
            found.setdefault(place, {})[entry.name] = its
    found = {place: best_first(found[place]) for place in sorted(found, key=order)}
    shared = {place: those for place, those in found.items() if len(those) > 1}
    asked = [(place, a, b) for place, those in shared.items() for a, b in combinations(those, 2)]
    tests = [tested(shared[place][a][0], shared[place][b][0], f"{a} and {b}, {place[0]}") for place, a, b in asked]
    corrected = holm([test.p for test in tests])
    pairs = [
        Pair(condition, eps, norm, a, b, test.difference.value, test.difference.ci, test.p, p, p <= ALPHA)
        for ((condition, eps, norm), a, b), test, p in zip(asked, tests, corrected, strict=True)
    ]
    has_claims = any(isinstance(its, Claims) for its in records.values())
    lines = lines_of(entries, found, sets) if has_claims else []
    data = next(iter(records.values())).data
    own = next(key for key in data if key.startswith("ID test: "))
    return Comparison(
        list(records),
        sets,
        data[own]["images"],
        sum(data[f"OOD test: {name}"]["images"] for name in sets),
        [standing for place, those in shared.items() for standing in ranked(place, those, pairs)],
        pairs,
        list(notes(records, entries, found, len(tests))),
        lines,
        list(contradictions(lines)),
    )


def entries_of(records: Mapping[str, Record | Claims]) -> list[Entry | Bounded]:
    """Every detector of every run and certificate; of one label, with the parameters that differ or their letters."""
    runs = [its for its in records.values() if isinstance(its, Record)]
    groups = {key: groups_of(run, key) for run in runs for key in evaluation_sets(run)}
    known = {key: first for key, first in groups.items() if first is not None}
    found: list[tuple[tuple[str, Mapping[str, Any], str], Any]] = []
    for letter, record in zip(letters(len(records)), records.values(), strict=True):
        if isinstance(record, Record):
            params = {label_of(row): row.params for row in record.rows}
            found += [((label, its, letter), record) for label, its in params.items()]
        else:
            found += [((its.title, its.entry["params"], letter), its) for its in record.entries(known)]
    names = named([those for those, _ in found])
    return [
        replace(its, name=name) if isinstance(its, Bounded) else Entry(name, label, its)
        for name, ((label, _, _), its) in zip(names, found, strict=True)
    ]


def sets_of(record: Record | Claims) -> list[str]:
    """The OOD sets of a run or a certificate."""
    return record.sets if isinstance(record, Claims) else list(dict.fromkeys(row.ood for row in record.rows))


def same_images(records: Mapping[str, Record | Claims], ood: Sequence[str] | None) -> list[str]:
    """The OOD sets to compare on; ValueError, naming the set and the runs, where images are not the same."""
    (first, record), *others = records.items()
    has = {name: sets_of(its) for name, its in records.items()}
    sets = has[first]
    for name in ood or ():
        if name not in sets:
            from detectors import unknown

            raise ValueError(unknown(f"OOD set of '{first}'", name, sets))
    sets = [name for name in sets if name in ood] if ood else sets
    keys = [key for key in record.data if key.startswith("ID test: ")] + [f"OOD test: {name}" for name in sets]
    for name, other in others:
        shared = [its for its in sets if its in has[name]]
        extra = [] if ood else [its for its in has[name] if its not in sets]
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


def order(place: Place) -> tuple[float, int]:
    """Clean first, then by radius."""
    condition, radius, _ = place
    return (-1.0 if radius is None else radius, ORDER.index(condition))


def best_first(those: Mapping[str, Found]) -> dict[str, Found]:
    return dict(sorted(those.items(), key=lambda item: -item[1][0].value))


def tested(first: metrics.Components, second: metrics.Components, which: str) -> Paired:
    """The test; ValueError, naming the two, where they cannot be paired."""
    try:
        return paired_test(first, second)
    except ValueError as error:
        raise ValueError(f"{which}: {error}") from None


def ranked(place: Place, those: Mapping[str, Found], pairs: Sequence[Pair]) -> Iterator[Standing]:
    """The detectors of one condition, the best first."""
    names = list(those)
    differs = np.zeros((len(names), len(names)), dtype=bool)
    for pair in pairs:
        if (pair.condition, pair.eps, pair.norm) == place and pair.differs:
            i, j = names.index(pair.first), names.index(pair.second)
            differs[i, j] = differs[j, i] = True
    ranges = rank_ranges([area.value for area, _ in those.values()], differs)
    for (name, (area, reliable)), (rank, best, worst) in zip(those.items(), ranges, strict=True):
        ends = area.interval().ci
        yield Standing(*place, name, area.value, ends, rank, best, worst, len(area.v_id), reliable)


def notes(
    records: Mapping[str, Record | Claims],
    entries: Sequence[Entry | Bounded],
    found: Mapping[Place, Mapping[str, Found]],
    tests: int,
) -> Iterator[str]:
    """How to read the numbers, and what to beware of."""
    yield (
        f"paired by image (DeLong); p (Holm) is corrected for {counted(tests, 'test')}: with 95% probability no "
        "`differs` and no range of a rank is wrong; intervals are of each AUROC and each difference alone"
    )
    attacked = [key for key in found if key[0] in CONDITIONS and key[0] != "clean"]
    if attacked:
        yield "attacked: the same images, of which each detector has attacked copies of its own"
    flags = [reliable for those in found.values() for _, reliable in those.values()]
    if False in flags:
        yield "* unreliable: a check failed, the AUROC under attack is an upper bound only, and so is its rank"
    if None in flags:
        yield "not judged: an attack's own checks did not run, its AUROC may be too high"
    if any(len(area.v_id) > 1 for those in found.values() for area, _ in those.values()):
        yield "randomised detectors: the mean AUROC over their draws, whose noise is in intervals and tests"
    if claims := [its for its in records.values() if isinstance(its, Claims)]:
        alpha = max(its.alpha for its in claims)
        if alpha:
            yield (
                "certified: no adversary within the radius gets below, each with probability at least "
                f"{1 - alpha:g}; of all copies it is the detector's population form, of a few the expectation over "
                "their noise, which is drawn so that float32 sums it exactly (docs/certification.md)"
            )
        if sum(its.alpha > 0 for its in claims) > 1:
            yield (
                "a detector of which several certificates speak has the highest of their bounds in its line: with "
                f"probability at least {max(0.0, 1 - sum(its.alpha for its in claims)):g}, that of all of them together"
            )
        if not all(its.alpha for its in claims):
            yield (
                "interval bounds: of these images no adversary within the radius gets below, without a probability; "
                "they are of the score itself (docs/theorems.md, T32)"
            )
        yield (
            "`differs` of certified AUROCs: of what is proved, on new images of these kinds; a detector whose bound is "
            "lower may be as robust"
        )
    runs = {name: its for name, its in records.items() if isinstance(its, Record)}
    if any(row.condition in CORRUPTED for its in runs.values() for row in its.rows):
        yield "corrupted ID is not compared, clean ID alone is: `table` and `report` show it"
    for (one, a), (other, b) in combinations(runs.items(), 2):
        weights = {its.config.get("network_sha256") for its in (a, b)}
        if None not in weights and len(weights) > 1:
            models = [", ".join(dict.fromkeys(row.model or "network unknown" for row in its.rows)) for its in (a, b)]
            yield f"'{one}' and '{other}' score other networks ({' and '.join(models)})"
        both = {key_of(row) for row in a.rows if row.eps is not None} & {key_of(row) for row in b.rows}
        said = [k for k in ADVERSARY if both and adversary(a)[k] != adversary(b)[k]]
        if said:
            parts = ", ".join(f"{k} {adversary(a)[k]} and {adversary(b)[k]}" for k in said)
            yield f"'{one}' and '{other}' attack otherwise ({parts}): their attacked AUROCs differ by that too"
    for key, those in found.items():
        known = Bounded if key[0] in CERTIFIED else Entry
        lacking = [entry.name for entry in entries if isinstance(entry, known) and entry.name not in those]
        if lacking:
            what = " ".join(filter(None, (key[0], key[2], as_fraction(key[1], key[2]) if key[1] else "")))
            yield f"{what}: not of {', '.join(lacking)}"
