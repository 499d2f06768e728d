"""Indicators of attack failure (Pintor et al. 2022): numbers with thresholds that say how far a row can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .attacker import rests_on
from .evaluated import Evaluated, Population
from .metrics import Components
from .parts import label_of

MOVED = 0.05
"""Largest share of an attack's gain in its last 10 steps."""
REPEATABLE = 1e-4
"""Largest relative difference between repeated scores on equal noise."""


@dataclass(frozen=True)
class Check:
    """What an indicator may show, and what to think when it shows more."""

    threshold: float
    message: str
    least: bool = False
    """Whether the number must reach the threshold rather than stay below it."""


CHECKS = {
    "gradient": Check(
        0.0,
        "{label}'s own objectives have a zero gradient on {number:.1%} of images: "
        "is it detached or saturated? The attack is weaker than it should be",
    ),
    "randomness": Check(
        REPEATABLE,
        "{label} scores the same images differently ({number:.2g} relative): set `randomized` in a Detector, "
        "and draw all noise from the generator it is given",
    ),
    "eot": Check(
        0.5,
        "{label}: halves of a gradient's noisy copies agree to a cosine of {number:.2f} only: use more copies",
        True,
    ),
    "travel": Check(2.0, "{label}: the attack's steps add up to {number:.2f} epsilon, too few to cross the ball", True),
    "convergence": Check(0.005, "{label}: twice the steps take another {number:.3f} of AUROC: use more steps"),
    "restarts": Check(0.005, "{label}: twice the restarts take another {number:.3f} of AUROC: use more restarts"),
    "epsilon-monotone": Check(
        0.0,
        "{label}: AUROC rises with epsilon by {number:.3f} beyond two standard errors",
    ),
    "unbounded": Check(
        0.0,
        "{label} is masked: without a bound, the attack moves {number:.1%} too few of the images past the threshold",
    ),
    "random": Check(0.01, "{label}: random noise beats the attack on {number:.1%} of images"),
    "black-box": Check(0.002, "{label}: square takes another {number:.3f} of AUROC from what the attack left"),
    "own-gradient": Check(
        0.002, "{label}: its own objectives are weaker than the base score's by {number:.3f} of AUROC: is it detached?"
    ),
    "silent-success": Check(0.0, "{label}: the attack threw away a better iterate on {number:.1%} of images"),
    "feasibility": Check(1e-6, "{label}: an attacked image leaves the threat model by {number:.2g}"),
}
"""Every indicator, in the order of the record."""


def attacked(found: Evaluated) -> dict[tuple[str, str], Population]:
    return {key: population for key, population in found.populations.items() if key[1] != "clean"}


def indicators_of(found: Evaluated) -> list[dict[str, Any]]:
    """Checks that the attack worked, each with number, threshold and verdict; without an attack, randomness alone."""
    populations = attacked(found)
    entries: dict[str, tuple[float, dict[str, Any]]] = {"randomness": (found.unrepeatable, {})}
    if populations and found.plan is not None:
        if any(run.startswith(("pgd:", "apgd:")) for p in populations.values() for run in p.components):
            entries["gradient"] = gradient(populations)
        entries["feasibility"] = max(p.excess for p in populations.values()) / max(1.0, found.plan.threat.eps), {}
        unseen = [p.unseen for p in populations.values() if p.unseen is not None]
        if unseen:
            entries["silent-success"] = max(unseen), {}
        steps = [travel for p in populations.values() for travel in p.travel.values()]
        if steps and found.plan.threat.eps:
            entries["travel"] = min(steps) / found.plan.threat.eps, {}
        if found.cosines:
            objectives = {
                name: {
                    "copies": n,
                    "compared": rests_on(n, found.plan),
                    "cosine": cosine,
                    "passes": list(found.detector.passes(name, n)),
                }
                for name, (n, cosine) in found.cosines.items()
            }
            best = max(cosine for _, cosine in found.cosines.values())
            entries["eot"] = best, objectives
    margins = found.probe.get("margins", {})
    for name, number in found.probe.get("numbers", {}).items():
        entries[name] = number, {"margin": margins.get(name, 0.0)}
    moved = [p.moved for p in populations.values() if p.moved is not None]
    if moved and "convergence" in entries:
        entries["convergence"][1]["moved"] = max(moved)
    return [indicator(found, name, *entries[name]) for name in CHECKS if name in entries]


def gradient(populations: dict[tuple[str, str], Population]) -> tuple[float, dict[str, Any]]:
    """Share of images whose gradient vanishes at the random start, for the best of the detector's own objectives.

    `base`, the transfer attack, does not count as one's own where there is another: a detector whose gradient is
    detached shows here even if transfer succeeds. Images that were decided before an objective ran do not count for it.
    """
    shares: dict[str, dict[str, float]] = {}
    for (name, condition), population in populations.items():
        runs = [c for c in population.components if c != "clean"]
        shares[f"{name} {condition}"] = {
            run: float(zero.double().nanmean())
            for run, zero in zip(runs, population.zero_gradient, strict=True)  # type: ignore[arg-type]
            if run.startswith(("pgd:", "apgd:")) and not zero.isnan().all()
        }
    worst = 0.0
    for by_run in shares.values():
        own = {run: share for run, share in by_run.items() if not run.partition(":")[2].startswith("base")} or by_run
        worst = max(worst, min(own.values(), default=0.0))
    return worst, shares


def monotone(sweep: Sequence[tuple[Evaluated, Components]]) -> None:
    """From AUROC over growing epsilon, its largest rise beyond two standard errors, paired: the images are the same."""
    if len(sweep) < 2:
        return
    rise = 0.0
    for (_, before), (_, after) in pairwise(sweep):
        change = after.minus(before)
        rise = max(rise, change.value - 2 * change.standard_error())
    for found, _ in sweep:
        found.probe.setdefault("margins", {})
        found.probe.setdefault("numbers", {})["epsilon-monotone"] = rise


def indicator(found: Evaluated, name: str, number: float, detail: dict[str, Any]) -> dict[str, Any]:
    """The entry of the record; `margin`, two standard errors of a randomised detector's number, is granted."""
    check, label = CHECKS[name], label_of(found.detector)
    margin = float(detail.get("margin", 0.0))
    passed = number >= check.threshold if check.least else number <= check.threshold + margin
    message = "" if passed else check.message.format(label=label, number=number)
    if passed and detail.get("moved", 0.0) > MOVED:
        passed = False
        message = f"{label}: the last 10 steps made {detail['moved']:.1%} of what the attack gained: use more steps"
    return {
        "detector": label,
        "eps": found.plan.threat.eps if found.plan is not None else None,
        "name": name,
        "number": number,
        "threshold": check.threshold,
        "least": check.least,
        "passed": passed,
        "message": message,
        "detail": detail,
    }
