"""From scores to the record: rows with metrics and intervals, averages, checks of the attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import metrics
from .checks import REPEATABLE, attacked, indicators_of
from .evaluated import Evaluated
from .metrics import Components, Estimate
from .models import Classifier
from .parts import base_of, label_of, network_of
from .prepare import Prepared
from .result import Row

CONDITIONS = {"clean": ("clean", "clean"), "min": ("min", "clean"), "max": ("clean", "max"), "both": ("min", "max")}
"""What a condition did to the ID and to the OOD population."""


def rows_of(found: Evaluated) -> tuple[list[Row], list[Row]]:
    """The rows of one detector at one radius, and their averages over the near, far and all OOD sets."""
    bench, failures = found.bench, [i["message"] for i in indicators_of(found) if not i["passed"]]
    clean_id = scores(found, bench.id_test.name, "clean")
    rows: list[Row] = []
    averages: list[Row] = []
    clean: dict[str, Components] = {}
    for condition, (id_state, ood_state) in CONDITIONS.items():
        if (bench.id_test.name, id_state) not in found.populations:
            continue
        if any((name, ood_state) not in found.populations for name in bench.ood):
            continue
        attacked_id = scores(found, bench.id_test.name, id_state)
        parts: dict[str, tuple[Row, Components, Components | None]] = {}
        for name in bench.ood:
            ood = scores(found, name, ood_state)
            area = metrics.components(attacked_id, ood)
            transfer = transfer_of(found, condition, name)
            clean.setdefault(name, area)
            row = Row(
                **common(found, condition, failures),
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
                warnings=warnings(found, name, area) if condition == "clean" else [],
            )
            parts[name] = (row, area, transfer)
        rows += [row for row, _, _ in parts.values()]
        averages += averages_of(found, condition, failures, parts, clean)
    return rows, averages


def averages_of(
    found: Evaluated,
    condition: str,
    failures: list[str],
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
                **common(found, condition, failures),
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
                warnings=[],
            )
        )
    return rows


def common(found: Evaluated, condition: str, failures: list[str]) -> dict[str, Any]:
    """The fields that all rows of a detector and condition share."""
    base, net = base_of(found.detector), network_of(found.detector)
    plan = found.plan if condition != "clean" else None
    threat = None if plan is None else plan.threat
    return {
        "detector": found.detector.name or type(found.detector).__name__,
        "base": None if base is None else base.name,
        "params": {**(base.hyperparameters() if base is not None else {}), **found.detector.hyperparameters()},
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
        "reliable": verdict(found, condition, failures),
    }


def verdict(found: Evaluated, condition: str, failures: list[str]) -> bool | None:
    """Whether a row passed its checks; None where the attacks that would show it did not run."""
    if condition == "clean":
        return found.unrepeatable <= REPEATABLE
    unchecked = not found.probe and found.eps > 0
    return None if unchecked and not failures else not failures


def scores(found: Evaluated, name: str, state: str) -> np.ndarray:
    """Report scores (R, n); where the adversary knows the draw, of that one."""
    known = found.plan is not None and found.plan.adversary == "known-seed"
    drawn = found.populations[name, state].scores.double().numpy()
    return drawn[:1] if known else drawn


def areas(area: Components, clean: Components) -> dict[str, Any]:
    drop = clean.minus(area) if area is not clean else None
    return {
        "auroc": area.value,
        "auroc_ci": area.interval().ci,
        "auroc_drop": None if drop is None else drop.value,
        "auroc_drop_ci": None if drop is None else drop.interval(lowest=-1.0).ci,
    }


def strongest(found: Evaluated) -> Components:
    """AUROC, averaged over OOD sets, under all that the evaluation attacked."""
    states = {state for _, state in found.populations}
    id_state, ood_state = ("min" if "min" in states else "clean"), ("max" if "max" in states else "clean")
    attacked_id = scores(found, found.bench.id_test.name, id_state)
    return metrics.average([metrics.components(attacked_id, scores(found, n, ood_state)) for n in found.bench.ood])


def transfer_of(found: Evaluated, condition: str, ood: str) -> Components | None:
    """AUROC with the images of the published attack in the place of the attacked ones; None where it did not run."""
    states = CONDITIONS[condition]
    parts = []
    for name, state in zip((found.bench.id_test.name, ood), states, strict=True):
        population = found.populations[name, state]
        if state == "clean":
            parts.append(scores(found, name, state))
        elif population.transfer is None or found.plan is None or found.plan.method == "transfer":
            return None
        else:
            parts.append(population.transfer.double().numpy())
    return None if condition == "clean" else metrics.components(*parts)


def gaps(transfer: Components | None, area: Components) -> dict[str, Any]:
    if transfer is None:
        return {}
    gap = transfer.minus(area)
    ci = gap.interval(lowest=-1.0).ci
    return {"auroc_transfer": transfer.value, "adaptive_gap": gap.value, "adaptive_gap_ci": ci}


def fpr(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: estimate.value, f"{name}_ci": estimate.ci}


def passes(found: Evaluated, id_state: str, ood: str, ood_state: str) -> dict[str, list[float]]:
    return {
        "id": list(found.populations[found.bench.id_test.name, id_state].passes),
        "ood": list(found.populations[ood, ood_state].passes),
    }


def warnings(found: Evaluated, name: str, clean: Components) -> list[str]:
    if clean.value >= 0.5:
        return []
    label = label_of(found.detector)
    return [f"{label} ranks {name} above ID even without an attack (AUROC {clean.value:.1%}): it points the other way"]


def attacks_of(found: Evaluated) -> list[dict[str, Any]]:
    """Per attacked population: the components, the one that won each image (its index), and passes per image."""
    entries = []
    for (name, condition), population in attacked(found).items():
        winner = population.winner.tolist()  # type: ignore[union-attr]
        entries.append(
            {
                "detector": label_of(found.detector),
                "eps": found.plan.threat.eps,  # type: ignore[union-attr]
                "population": name,
                "condition": condition,
                "components": list(population.components),
                "wins": {c: winner.count(i) for i, c in enumerate(population.components)},
                "winner": winner,
                "passes": list(population.passes),
            }
        )
    return entries


def detector_of(found: Evaluated) -> dict[str, Any]:
    """What was fitted, and for smoothed detectors the share of images whose copies all score alike (D < 1e-6)."""
    collapsed = {
        name: float((population.instability < 1e-6).double().mean())
        for (name, condition), population in found.populations.items()
        if condition == "clean" and population.instability is not None
    }
    entry: dict[str, Any] = {"detector": label_of(found.detector), "fitted": found.detector.fitted()}
    net = network_of(found.detector)
    if found.plan is not None:
        entry["gradients"] = found.precision
    if isinstance(net, Classifier) and isinstance(net.backbone, Prepared):
        entry["network"] = {"folded": net.backbone.folds, "compiled": list(net.backbone.sizes)}
    entry |= {"share_without_instability": collapsed} if collapsed else {}
    return entry | ({"search": found.search} if found.search else {})


def shifted_of(found: Evaluated) -> list[dict[str, Any]]:
    """Covariate-shifted ID sets: accuracy, and how many of their images the clean 95% threshold flags."""
    clean: Sequence[np.ndarray] = scores(found, found.bench.id_test.name, "clean")  # type: ignore[assignment]
    entries = []
    for name, accuracy in found.shifted_accuracy.items():
        shifted = scores(found, name, "clean")
        flagged = [float(np.mean(s < metrics.threshold95(i))) for i, s in zip(clean, shifted, strict=True)]
        entries.append(
            {
                "detector": label_of(found.detector),
                "name": name,
                "n": shifted.shape[1],
                "id_accuracy": accuracy,
                "flagged": float(np.mean(flagged)),
            }
        )
    return entries
