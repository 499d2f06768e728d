"""From scores to the record: rows with metrics and intervals, averages, checks of the attack."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from .. import metrics
from ..evaluation.indicators import Indicator, attacked
from ..evaluation.populations import Evaluated
from ..machine.prepare import Prepared
from ..metrics import Components, Estimate
from ..models import Classifier
from .row import AttackedPopulation, FittedDetector, Row, ShiftedSet

CONDITIONS = {"clean": ("clean", "clean"), "min": ("min", "clean"), "max": ("clean", "max"), "both": ("min", "max")}
"""What a condition did to the ID and to the OOD population."""


def rows_of(found: Evaluated, verdicts: Sequence[Indicator]) -> tuple[list[Row], list[Row]]:
    """The rows of one detector at one radius, and their averages over the near, far and all OOD sets."""
    bench = found.bench
    clean_id = found.scores(bench.id_test.name, "clean")
    rows: list[Row] = []
    averages: list[Row] = []
    clean: dict[str, Components] = {}
    for condition, (id_state, ood_state) in CONDITIONS.items():
        if (bench.id_test.name, id_state) not in found.populations:
            continue
        if any((name, ood_state) not in found.populations for name in bench.ood):
            continue
        attacked_id = found.scores(bench.id_test.name, id_state)
        parts: dict[str, tuple[Row, Components, Components | None]] = {}
        for name in bench.ood:
            ood = found.scores(name, ood_state)
            area = metrics.components(attacked_id, ood)
            transfer = transfer_of(found, condition, name)
            clean.setdefault(name, area)
            row = Row(
                **common(found, condition),
                **judged(found, condition, verdicts, [name]),
                ood=name,
                group=bench.groups[name],
                n_ood=ood.shape[1],
                **areas(area, clean[name]),
                **gaps(transfer, area),
                **fpr("fpr95_id", metrics.bootstrap(metrics.fpr95_id, clean_id, ood)),
                **fpr("fpr95_id_refit", metrics.bootstrap(metrics.fpr95_id, attacked_id, ood)),
                **fpr("fpr95_ood", metrics.bootstrap(metrics.fpr95_ood, attacked_id, ood)),
                aupr_in=metrics.over_draws(metrics.aupr_in, attacked_id, ood),
                aupr_out=metrics.over_draws(metrics.aupr_out, attacked_id, ood),
                passes=passes(found, id_state, name, ood_state),
            )
            parts[name] = (row, area, transfer)
        rows += [row for row, _, _ in parts.values()]
        averages += averages_of(found, condition, verdicts, parts, clean)
    return rows, averages


def averages_of(
    found: Evaluated,
    condition: str,
    verdicts: Sequence[Indicator],
    parts: dict[str, tuple[Row, Components, Components | None]],
    clean: dict[str, Components],
) -> list[Row]:
    """Means over the OOD sets of each group, every set with equal weight (OpenOOD's averages)."""
    rows = []
    for group in ("near", "far", "all"):
        names = [name for name, (row, _, _) in parts.items() if group in ("all", row.group)]
        if not names:
            continue
        members = [parts[name][0] for name in names]
        area = metrics.average([parts[name][1] for name in names])
        transfers = [parts[name][2] for name in names if parts[name][2] is not None]
        transfer = metrics.average(transfers) if len(transfers) == len(names) else None  # type: ignore[arg-type]
        mean: dict[str, Any] = {
            key: float(np.mean([getattr(row, key) for row in members]))
            for key in ("fpr95_id", "fpr95_id_refit", "fpr95_ood", "aupr_in", "aupr_out")
        }
        rows.append(
            Row(
                **common(found, condition),
                **judged(found, condition, verdicts, names),
                ood="average",
                group=group,
                n_ood=sum(row.n_ood for row in members),
                **areas(area, area if condition == "clean" else metrics.average([clean[name] for name in names])),
                **gaps(transfer, area),
                **mean,
                fpr95_id_ci=None,
                fpr95_id_refit_ci=None,
                fpr95_ood_ci=None,
                passes=members[0].passes,
            )
        )
    return rows


def common(found: Evaluated, condition: str) -> dict[str, Any]:
    """The fields that all rows of a detector and condition share."""
    base, net = found.detector.wrapped, found.detector.network
    plan = found.plan if condition != "clean" else None
    threat = None if plan is None else plan.threat
    return {
        "detector": found.detector.name or type(found.detector).__name__,
        "base": None if base is None else base.name,
        "params": {k: v for d in reversed(found.detector.chain) for k, v in d.hyperparameters().items()},
        "benchmark": found.bench.name,
        "model": getattr(net, "name", None),
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


def judged(found: Evaluated, condition: str, verdicts: Sequence[Indicator], names: Collection[str]) -> dict[str, Any]:
    """Whether rows of some OOD sets passed their checks, and why not; None where the attack's own did not run."""
    failures = [i.message for i in verdicts if i.marks(condition, names)]
    unchecked = condition != "clean" and not found.checked and found.eps > 0
    return {"reliable": None if unchecked and not failures else not failures, "warnings": failures}


def areas(area: Components, clean: Components) -> dict[str, Any]:
    drop = clean.minus(area) if area is not clean else None
    return {
        "auroc": area.value,
        "auroc_ci": area.interval().ci,
        "auroc_drop": None if drop is None else drop.value,
        "auroc_drop_ci": None if drop is None else drop.interval().ci,
    }


def transfer_of(found: Evaluated, condition: str, ood: str) -> Components | None:
    """AUROC with the images of the published attack in the place of the attacked ones; None where it did not run."""
    states = CONDITIONS[condition]
    parts = []
    for name, state in zip((found.bench.id_test.name, ood), states, strict=True):
        population = found.populations[name, state]
        if state == "clean":
            parts.append(found.scores(name, state))
        elif population.transfer is None or found.plan is None or found.plan.method == "transfer":
            return None
        else:
            parts.append(population.transfer.double().numpy())
    return None if condition == "clean" else metrics.components(*parts)


def gaps(transfer: Components | None, area: Components) -> dict[str, Any]:
    if transfer is None:
        return {}
    gap = transfer.minus(area)
    ci = gap.interval().ci
    return {"auroc_transfer": transfer.value, "adaptive_gap": gap.value, "adaptive_gap_ci": ci}


def fpr(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: estimate.value, f"{name}_ci": estimate.ci}


def passes(found: Evaluated, id_state: str, ood: str, ood_state: str) -> dict[str, list[float]]:
    return {
        "id": list(found.populations[found.bench.id_test.name, id_state].passes),
        "ood": list(found.populations[ood, ood_state].passes),
    }


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
    net = found.detector.network
    prepared = net.backbone if isinstance(net, Classifier) and isinstance(net.backbone, Prepared) else None
    return FittedDetector(
        detector=found.detector.label,
        fitted=found.detector.fitted(),
        gradients=None if found.plan is None else found.precision,
        network=None if prepared is None else {"folded": prepared.folds, "compiled": list(prepared.sizes)},
        share_without_instability=collapsed or None,
        search=found.search or None,
    )


def shifted_of(found: Evaluated, verdicts: Sequence[Indicator]) -> list[ShiftedSet]:
    """Covariate-shifted ID sets: accuracy, and how many of their images the clean 95% threshold flags."""
    clean = found.scores(found.bench.id_test.name, "clean")
    entries = []
    for name in found.bench.shifted:
        if name not in found.agreement:
            continue
        accuracy, shifted = found.agreement[name][0], found.scores(name, "clean")
        flagged = [float(np.mean(s < metrics.threshold95(i))) for i, s in zip(clean, shifted, strict=True)]
        reliable = not any(i.marks("clean", [name]) for i in verdicts)
        entries.append(
            ShiftedSet(found.detector.label, name, shifted.shape[1], accuracy, float(np.mean(flagged)), reliable)
        )
    return entries
