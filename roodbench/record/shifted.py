"""Covariate-shifted ID in the record: each set on its own, and common corruptions in the place of ID test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np

from .. import metrics
from ..data.corruptions import bare
from ..evaluation.indicators import Indicator
from ..evaluation.populations import Evaluated
from ..metrics.paired import worst_of
from .row import CORRUPTED, Row, ShiftedSet
from .rows import Measured, average, common, judged, numbers, separated, warnings

Cells = Mapping[tuple[str, str], Measured]
"""By corrupted set and OOD set."""
MEAN, WORST = CORRUPTED


def shifted_of(found: Evaluated, verdicts: Sequence[Indicator], cells: Cells) -> list[ShiftedSet]:
    """Covariate-shifted ID sets: accuracy, and how many of their images the clean 95% threshold flags.

    Of corrupted ones also AUROC and FPR95 against every OOD set.
    """
    clean, kinds = found.scores(found.bench.id_test.name, "clean"), found.bench.corruptions
    entries = []
    for name in found.bench.shifted:
        if found.network is None and name not in kinds:
            continue
        shifted = found.scores(name, "clean")
        flagged = [float(np.mean(s < metrics.threshold95(i))) for i, s in zip(clean, shifted, strict=True)]
        entry = ShiftedSet(
            found.detector.label,
            name,
            shifted.shape[1],
            accuracy_of(found, [name]),
            float(np.mean(flagged)),
            not any(i.marks("clean", [name]) for i in verdicts),
        )
        if name in kinds:
            against = {ood: cells[name, ood] for ood in found.bench.ood}
            entry = replace(
                entry,
                corruption=kinds[name][0],
                severity=kinds[name][1],
                auroc={ood: its.area.value for ood, its in against.items()},
                fpr95_id_refit={ood: float(its.rates["fpr95_id_refit"].draws.mean()) for ood, its in against.items()},
            )
        entries.append(entry)
    return entries


def accuracy_of(found: Evaluated, names: Sequence[str]) -> float | None:
    """Mean accuracy of the network on some ID sets; None where the detector has none."""
    return None if found.network is None else float(np.mean([found.agreement[name][0] for name in names]))


def corrupted_rows(
    found: Evaluated, verdicts: Sequence[Indicator], cells: Cells, others: tuple[list[Row], list[Row]]
) -> tuple[list[Row], list[Row]]:
    """Rows of the mean over corruptions and severities and of the worst, and their averages over OOD sets.

    `others` are the detector's other rows and averages. What is the worst is chosen for each row: of an average, by the
    mean AUROC over its OOD sets. The interval of its AUROC holds the lowest of the true ones (`worst_of`).
    """
    bench, names = found.bench, list(found.bench.corruptions)
    clean = {(r.ood, r.group): r.auroc for part in others for r in part if r.condition == "clean"}
    mean = {ood: over_corruptions(found, ood, [cells[name, ood] for name in names]) for ood in bench.ood}

    def row(condition: str, oods: Sequence[str], group: str, ood: str) -> Row:
        its = names if condition == MEAN else [least_of(names, oods, cells)]
        parts = [mean[o] if condition == MEAN else cells[its[0], o] for o in oods]
        whole = average(parts) if ood == "average" else parts[0]
        notes = [] if ood == "average" else warnings(ood, whole.area)
        notes += choice(condition, f"mean of {group}" if ood == "average" else ood, names)
        facts: dict[str, Any] = {
            **common(found, condition),
            "attack": "corruptions" if condition == MEAN else its[0],
            "n_id": sum(len(bench.shifted[name]) for name in its),
            "id_accuracy": accuracy_of(found, its),
            **judged(found, condition, verdicts, [*oods, *its], notes),
            **numbers(whole, None),
            "auroc_drop": clean[ood, group] - whole.area.value,
        }
        if condition == WORST:
            all_of_them = [metrics.average([cells[name, o].area for o in oods]) for name in names]
            facts["auroc_ci"] = worst_of(all_of_them).ci
        n_ood = sum(len(bench.ood[o]) for o in oods)
        return Row(ood=ood, group=group, n_ood=n_ood, passes={"id": [0, 0], "ood": [0, 0]}, **facts)

    rows, averages = list[Row](), list[Row]()
    for condition in (MEAN, WORST):
        rows += [row(condition, [ood], bench.groups[ood], ood) for ood in bench.ood]
        for group in ("near", "far", "all"):
            oods = [ood for ood in bench.ood if group in ("all", bench.groups[ood])]
            averages += [row(condition, oods, group, "average")] if oods else []
    return rows, averages


def cells_of(found: Evaluated) -> Cells:
    """What a detector reaches with each corrupted set in the place of ID test, against each OOD set.

    The threshold of `fpr95_id` stays that of clean ID.
    """
    bench, cells = found.bench, dict[tuple[str, str], Measured]()
    clean = found.scores(bench.id_test.name, "clean")
    for ood in bench.ood if bench.corruptions else ():
        scores, stream = found.scores(ood, "clean"), crc32(ood.encode())
        kept = metrics.resample(metrics.fpr95_id, clean, scores, found.groups(ood), stream=stream)
        for name in bench.corruptions:
            pair, groups = (found.scores(name, "clean"), scores), (bench.shifted[name].first, bench.groups_of_ood[ood])
            its = separated(pair, groups, stream)
            cells[name, ood] = replace(its, rates={**its.rates, "fpr95_id": kept})
    return cells


def over_corruptions(found: Evaluated, ood: str, parts: Sequence[Measured]) -> Measured:
    """The mean over corruptions and severities, each with equal weight; copies of one image vary together."""
    bench = found.bench
    sets = [bench.shifted[name] for name in bench.corruptions]
    keys = [[bare(its.names[i]) for i in its.first] for its in sets]

    def mean(values: metrics.Values | None = None) -> metrics.Components:
        pairs = [(found.scores(its.name, "clean"), found.scores(ood, "clean")) for its in sets]
        areas = [metrics.components(*pair, (None, bench.groups_of_ood[ood]), values=values) for pair in pairs]
        return metrics.average_over_id(areas, keys)

    return Measured(
        mean(),
        None,
        None,
        {name: metrics.average_rate([its.rates[name] for its in parts]) for name in parts[0].rates},
        {"aupr_in": mean(metrics.aupr_in_values), "aupr_out": mean(metrics.aupr_out_values)},
    )


def least_of(names: Sequence[str], oods: Sequence[str], cells: Cells) -> str:
    """The corrupted set with the least AUROC, averaged over some OOD sets."""
    return min(names, key=lambda name: sum(cells[name, ood].area.value for ood in oods))


def choice(condition: str, where: str, names: Sequence[str]) -> list[str]:
    """What to beware of in the least of several estimates."""
    if condition != WORST or len(names) < 2:
        return []
    said = f"the worst is the least of {len(names)} AUROCs, and as such too low rather than too high"
    return [f"{where}: {said}; the interval of its AUROC allows for that, those of FPR95 and AUPR do not"]
