"""From scores to the record: rows with metrics and intervals, averages, checks of the attack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
from torch import Tensor

from .. import metrics
from ..data.benchmark import counted_twice
from ..evaluation.indicators import Indicator, attacked
from ..evaluation.populations import Evaluated, Population
from ..machine.prepare import Prepared
from ..metrics import Components, Groups, Resampled
from ..models import Classifier
from .row import AttackedPopulation, FittedDetector, Row

CONDITIONS = {"clean": ("clean", "clean"), "min": ("min", "clean"), "max": ("clean", "max"), "both": ("min", "max")}
"""What a condition did to the ID and to the OOD population."""


@dataclass(frozen=True)
class Measured:
    """The metrics of a row, with all that their intervals, averages and differences need."""

    area: Components
    transfer: Components | None
    """AUROC with the images of the published attack in the place of the attacked ones; None where it did not run."""
    equal: Components | None
    """The same where it took as many passes."""
    rates: dict[str, Resampled]
    precisions: dict[str, Components]


def rows_of(found: Evaluated, verdicts: Sequence[Indicator]) -> tuple[list[Row], list[Row]]:
    """The rows of one detector at one radius, and their averages over the near, far and all OOD sets."""
    bench = found.bench
    rows: list[Row] = []
    averages: list[Row] = []
    clean: dict[str, Components] = {}
    for condition, (id_state, ood_state) in CONDITIONS.items():
        if (bench.id_test.name, id_state) not in found.populations:
            continue
        if any((name, ood_state) not in found.populations for name in bench.ood):
            continue
        measured = {name: measure(found, condition, name) for name in bench.ood}
        before = {} if condition == "clean" else clean
        clean = clean or {name: parts.area for name, parts in measured.items()}
        shared = common(found, condition)
        rows += [
            Row(
                **shared,
                **judged(found, condition, verdicts, [name], warnings(name, parts.area)),
                ood=name,
                group=bench.groups[name],
                n_ood=len(bench.ood[name]),
                **numbers(parts, before.get(name)),
                **passes(found, id_state, [name], ood_state),
            )
            for name, parts in measured.items()
        ]
        for group in ("near", "far", "all"):
            names = [name for name in bench.ood if group in ("all", bench.groups[name])]
            if names:
                mean = average([measured[name] for name in names])
                row = Row(
                    **shared,
                    **judged(found, condition, verdicts, names, counted_twice(bench.overlaps, names)),
                    ood="average",
                    group=group,
                    n_ood=sum(len(bench.ood[name]) for name in names),
                    **numbers(mean, metrics.average([before[name] for name in names]) if before else None),
                    **passes(found, id_state, names, ood_state),
                )
                averages.append(row)
    return rows, averages


def measure(found: Evaluated, condition: str, ood: str) -> Measured:
    """What a detector reaches against one OOD set; equal images count once in every interval."""
    id_test, (id_state, ood_state) = found.bench.id_test.name, CONDITIONS[condition]
    pair = found.scores(id_test, id_state), found.scores(ood, ood_state)
    clean = None if id_state == "clean" else found.scores(id_test, "clean")
    measured = separated(pair, found.groups(ood), crc32(ood.encode()), clean)
    return replace(
        measured,
        transfer=published(found, condition, ood, lambda p: p.transfer),
        equal=published(found, condition, ood, lambda p: None if p.equal is None else p.equal.scores),
    )


def separated(
    pair: tuple[np.ndarray, np.ndarray], groups: Groups, stream: int, clean: np.ndarray | None = None
) -> Measured:
    """How well scores of ID (R, n) and OOD (R, m) are told apart, `fpr95_id` at the threshold of `clean` ones of ID,
    where those are others; `stream` is that of OOD's resamples."""
    tuned = metrics.resample(metrics.fpr95_id, *pair, groups, stream=stream)
    kept = tuned if clean is None else metrics.resample(metrics.fpr95_id, clean, pair[1], groups, stream=stream)
    other = metrics.resample(metrics.fpr95_ood, *pair, groups, stream=stream)
    return Measured(
        metrics.components(*pair, groups),
        None,
        None,
        {"fpr95_id": kept, "fpr95_id_refit": tuned, "fpr95_ood": other},
        {
            "aupr_in": metrics.components(*pair, groups, values=metrics.aupr_in_values),
            "aupr_out": metrics.components(*pair, groups, values=metrics.aupr_out_values),
        },
    )


def average(parts: Sequence[Measured]) -> Measured:
    """Means over OOD sets, every set with equal weight (OpenOOD's averages)."""

    def mean(areas: Sequence[Components | None]) -> Components | None:
        known = [area for area in areas if area is not None]
        return metrics.average(known) if len(known) == len(parts) else None

    return Measured(
        metrics.average([p.area for p in parts]),
        mean([p.transfer for p in parts]),
        mean([p.equal for p in parts]),
        {name: metrics.average_rate([p.rates[name] for p in parts]) for name in parts[0].rates},
        {name: metrics.average([p.precisions[name] for p in parts]) for name in parts[0].precisions},
    )


def numbers(parts: Measured, clean: Components | None) -> dict[str, Any]:
    """Every metric of a row with its interval; `clean` is the AUROC that a drop starts from, None in a clean row.
    Rates over OOD sets that share images have none: each set is resampled as if its images were its own."""
    found, shared = {**areas(parts.area, clean), **gaps(parts)}, parts.area.overlap
    of_name: dict[str, Resampled | Components] = {**parts.rates, **parts.precisions}
    for name, metric in of_name.items():
        estimate = metric.interval()
        found |= {name: estimate.value, f"{name}_ci": None if shared and name in parts.rates else estimate.ci}
    return found


def common(found: Evaluated, condition: str) -> dict[str, Any]:
    """The fields that all rows of a detector and condition share."""
    base = found.detector.wrapped
    plan = found.plan if condition != "clean" else None
    threat = None if plan is None else plan.threat
    return {
        "detector": found.detector.name or type(found.detector).__name__,
        "base": None if base is None else base.name,
        "params": {k: v for d in reversed(found.detector.chain) for k, v in d.hyperparameters().items()},
        "benchmark": found.bench.name,
        "model": found.model,
        "id_accuracy": found.id_accuracy,
        "condition": condition,
        "attack": None
        if plan is None
        else plan.method
        if plan.objective is None
        else f"{plan.method}:{plan.objective}",
        "norm": None if threat is None else threat.norm,
        "eps": None if threat is None else threat.eps,
        "eps_pixel": None if threat is None else threat.eps * found.bench.std,
        "space": found.bench.space,
        "n_id": len(found.bench.id_test),
    }


def judged(
    found: Evaluated, condition: str, verdicts: Sequence[Indicator], names: Collection[str], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Whether rows of some OOD sets passed their checks, and why not; None where the attack's own did not run."""
    failures = [i.message for i in verdicts if i.marks(condition, names)]
    if condition != "clean" and not found.checked and found.eps > 0 and not failures:
        return {"reliable": None, "warnings": [unjudged(found.detector.label, asked=found.asked), *notes]}
    return {"reliable": not failures, "warnings": [*failures, *notes]}


def unjudged(label: str, *, asked: bool) -> str:
    """Why nobody knows whether an attack can be trusted, and what to do."""
    cost = "cost more than this attack: more images, or `roodbench check` (thorough=True in Python), run them"
    why = cost if asked else "were left out: run without --no-check (check=False in Python)"
    return f"{label}: not judged: the indicators' own attacks {why}"


def areas(area: Components, clean: Components | None) -> dict[str, Any]:
    drop = None if clean is None else clean.minus(area)
    return {
        "auroc": area.value,
        "auroc_ci": area.interval().ci,
        "auroc_drop": None if drop is None else drop.value,
        "auroc_drop_ci": None if drop is None else drop.interval().ci,
    }


def published(
    found: Evaluated, condition: str, ood: str, scores: Callable[[Population], Tensor | None]
) -> Components | None:
    """AUROC with the published attack's `scores` of a population in the place of the attack's.

    None where it did not run.
    """
    states = CONDITIONS[condition]
    parts = []
    for name, state in zip((found.bench.id_test.name, ood), states, strict=True):
        its = scores(found.populations[name, state])
        if state == "clean":
            parts.append(found.scores(name, state))
        elif its is None or found.plan is None or found.plan.method == "transfer":
            return None
        else:
            parts.append(its.double().numpy())
    return None if condition == "clean" else metrics.components(parts[0], parts[1], found.groups(ood))


def gaps(parts: Measured) -> dict[str, Any]:
    """What the published attack leaves, and how much more than the suite: with its steps, and for its passes."""
    found: dict[str, Any] = {}
    for name, gap, area in (
        ("transfer", "adaptive_gap_steps", parts.transfer),
        ("equal", "adaptive_gap", parts.equal),
    ):
        if area is not None:
            missed = area.minus(parts.area)
            found |= {f"auroc_{name}": area.value, gap: missed.value, f"{gap}_ci": missed.interval().ci}
    return found


def passes(found: Evaluated, id_state: str, oods: Sequence[str], ood_state: str) -> dict[str, Any]:
    """The row's `passes` and `passes_equal`: over the images of all its OOD sets."""
    sides = {
        "id": [found.populations[found.bench.id_test.name, id_state]],
        "ood": [found.populations[ood, ood_state] for ood in oods],
    }
    equal = {side: [p.equal for p in its if p.equal is not None] for side, its in sides.items()}
    return {
        "passes": {side: mean_passes(its) for side, its in sides.items()},
        "passes_equal": {side: mean_passes(its) for side, its in equal.items()} if any(equal.values()) else None,
    }


def mean_passes(populations: Sequence[Population]) -> list[float]:
    """Mean network passes [forward, backward] of their images; 0 of none."""
    if not populations:
        return [0, 0]
    sizes = [population.scores.shape[1] for population in populations]
    return np.average([population.passes for population in populations], axis=0, weights=sizes).tolist()


def warnings(name: str, area: Components) -> list[str]:
    """What to beware of in a row that passed its checks."""
    few = area.fewest()
    if few >= metrics.FEW or 1 - metrics.EXTREME <= area.value <= metrics.EXTREME:
        return []
    where = f"above {metrics.EXTREME:.0%} or below {1 - metrics.EXTREME:.0%}"
    return [
        f"{name}: the smaller population has {few} distinct images, too few to tell an AUROC {where} more closely "
        f"than to {100 * area.unseen():.1f} points"
    ]


def attacks_of(found: Evaluated) -> list[AttackedPopulation]:
    """Per attacked population: the components, the one that won each image, and passes per image."""
    entries = []
    for (name, condition), population in attacked(found).items():
        assert found.plan is not None
        assert population.winner is not None
        winner, components = population.winner.tolist(), list(population.components)
        entries.append(
            AttackedPopulation(
                detector=found.detector.label,
                eps=found.plan.threat.eps,
                population=name,
                condition=condition,
                components=components,
                wins={c: winner.count(i) for i, c in enumerate(components)},
                winner=winner,
                passes=list(population.passes),
            )
        )
    return entries


def detector_of(found: Evaluated) -> FittedDetector:
    """What was fitted, and how it was run."""
    collapsed = {
        name: float((population.instability < 1e-6).double().mean())
        for (name, condition), population in found.populations.items()
        if condition == "clean" and population.instability is not None
    }
    net = found.network
    prepared = net.backbone if isinstance(net, Classifier) and isinstance(net.backbone, Prepared) else None
    return FittedDetector(
        detector=found.detector.label,
        fitted=found.detector.fitted(),
        gradients=None if found.plan is None else found.precision,
        network=None if prepared is None else {"folded": prepared.folds, "compiled": list(prepared.sizes)},
        share_without_instability=collapsed or None,
        search=found.search or None,
    )
