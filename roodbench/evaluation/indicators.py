"""Indicators of attack failure (Pintor et al. 2022): numbers with thresholds that say how far a row can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from attacks import component, rests_on

from .populations import Evaluated, Population

LAST = 10
"""Steps in which an attack that has converged gains next to nothing; one that makes fewer cannot show it."""
LATE = 0.05
"""Largest share of an attack's gain in its last 10 steps."""
REPEATABLE = 1e-4
"""Largest relative difference between repeated scores on equal noise."""


@dataclass(frozen=True)
class Check:
    """What an indicator may show, and what to think when it shows more."""

    threshold: float
    message: str
    fails_when: str
    """For docs/attacks.md."""
    least: bool = False
    """Whether the number must reach the threshold rather than stay below it."""


@dataclass(frozen=True)
class Indicator:
    """An entry of the record: one check of one detector at one radius."""

    detector: str
    eps: float | None
    name: str
    number: float
    threshold: float
    passed: bool
    message: str
    """Empty where it passed."""
    least: bool = False
    """Whether the number must reach the threshold, not stay below it; older records have no such indicator."""
    detail: dict[str, Any] = field(default_factory=dict)


CHECKS = {
    "gradient": Check(
        0.0,
        "{label}'s own objectives have a zero gradient on {number:.1%} of images: is it detached or "
        "saturated? The attack is weaker than it should be",
        "an image's gradient is zero at the random start, for every own objective",
    ),
    "randomness": Check(
        REPEATABLE,
        "{label} scores the same images differently ({number:.2g} relative): set `randomized` in a "
        "Detector, and draw all noise from the generator it is given",
        "five scorings of the same images differ by more than 1e-4 (relative): noise that is not declared "
        "or, where it is, not drawn from the given generator",
    ),
    "eot": Check(
        0.5,
        "{label}: halves of a gradient's noisy copies agree to a cosine of {number:.2f} only: use more copies",
        "two halves of the copies that a step rests on (with momentum 7 times as many as it draws) agree "
        "to a median cosine below 0.5, for the objective where they agree best; the record has every "
        "objective's",
        True,
    ),
    "travel": Check(
        2.0,
        "{label}: the attack's steps add up to {number:.2f} epsilon, too few to cross the ball",
        "the nominal steps add up to less than 2 epsilon: the default ones never do, a protocol's may",
        True,
    ),
    "convergence": Check(
        0.005,
        "{label}: twice the steps take another {number:.3f} of AUROC: use more steps",
        "twice the steps take more than 0.5 points of AUROC, or the last 10 steps made more than 5% of "
        "what the gradient attacks gained on a score without noise (mean over images; one that is decided "
        "has stopped), or there are fewer than 10 steps to judge by",
    ),
    "restarts": Check(
        0.005,
        "{label}: twice the restarts take another {number:.3f} of AUROC: use more restarts",
        "twice the restarts take more than 0.5 points of AUROC (where there are several)",
    ),
    "epsilon-monotone": Check(
        0.0,
        "{label}: AUROC rises with epsilon by {number:.3f} beyond two standard errors",
        "AUROC rises with epsilon beyond 2 standard errors of the paired difference (several `--eps`)",
    ),
    "unbounded": Check(
        0.0,
        "{label} is masked: without a bound, the attack moves {number:.1%} too few of the images past the threshold",
        "at epsilon 1, less than 99% of OOD rise above, or 95% of ID fall below, the clean threshold",
    ),
    "random": Check(
        0.01,
        "{label}: random noise beats the attack on {number:.1%} of images",
        "noise search beats the attack on more than 1% of images (with noise: moves them significantly "
        "past more of the opposing population, by a t-test over report draws), and on more than one of the "
        "probe",
    ),
    "black-box": Check(
        0.002,
        "{label}: square takes another {number:.3f} of AUROC from what the attack left",
        "Square, with 100 queries at quick, takes more than 0.2 points of AUROC from what the attack left",
    ),
    "own-gradient": Check(
        0.002,
        "{label}: its own objectives are weaker than the base score's by {number:.3f} of AUROC: is it detached?",
        "the detector's own objectives are weaker than `base` by more than 0.2 points",
    ),
    "silent-success": Check(
        0.0,
        "{label}: the attack threw away a better iterate on {number:.1%} of images",
        "a visited iterate was better than the returned one (with noise: significantly so on more images "
        "of the probe than it was worse, by more than one)",
    ),
    "feasibility": Check(
        1e-06,
        "{label}: an attacked image leaves the threat model by {number:.2g}",
        "an image leaves the ball or the bounds by more than 1e-6 (of a radius above 1, relative)",
    ),
}
"""Every indicator, in the order of the record."""


def attacked(found: Evaluated) -> dict[tuple[str, str], Population]:
    return {key: population for key, population in found.populations.items() if key[1] != "clean"}


def indicators_of(found: Evaluated) -> list[Indicator]:
    """Checks that the attack worked, each with number, threshold and verdict; without an attack, randomness alone."""
    populations = attacked(found)
    entries: dict[str, tuple[float, dict[str, Any]]] = {"randomness": (found.unrepeatable, {})}
    if populations and found.plan is not None:
        if any(judged(run) for p in populations.values() for run in p.components):
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
        entries[name] = number, {"margin": margins.get(name, 0.0), "images": found.probe.get("images")}
    late = [p.late_gain for p in populations.values() if p.late_gain is not None]
    if late and "convergence" in entries:
        entries["convergence"][1]["late_gain"] = max(late)
    elif populations and "gradient" in entries:  # nothing doubled the steps: what the traces show alone
        share = max(late) if late else 0.0
        if share > LATE or short(found):
            entries["convergence"] = share, {"late_gain": share}
    return [indicator(found, name, *entries[name]) for name in CHECKS if name in entries]


def short(found: Evaluated) -> bool:
    """Whether the attack makes too few steps to be judged by its last ones."""
    return found.plan is not None and found.plan.strength.steps < LAST


def judged(run: str) -> bool:
    """Whether a component's trace shows what the gradient is at a random start."""
    return run != "clean" and component(run).starts_at_random


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
            if judged(run) and not zero.isnan().all()
        }
    worst = 0.0
    for by_run in shares.values():
        own = {run: share for run, share in by_run.items() if not component(run).is_transfer} or by_run
        worst = max(worst, min(own.values(), default=0.0))
    return worst, shares


def indicator(found: Evaluated, name: str, number: float, detail: dict[str, Any]) -> Indicator:
    """The entry of the record; `margin`, two standard errors of a randomised detector's number, is granted."""
    check, label = CHECKS[name], found.detector.label
    margin = float(detail.get("margin", 0.0))
    passed = number >= check.threshold if check.least else number <= check.threshold + margin
    message = "" if passed else check.message.format(label=label, number=number)
    if passed and detail.get("late_gain", 0.0) > LATE:
        passed = False
        message = f"{label}: the last 10 steps made {detail['late_gain']:.1%} of what the attack gained: use more steps"
    if name == "convergence" and short(found) and found.plan is not None:
        passed, steps = False, found.plan.strength.steps
        message = f"{label}: an attack of {steps} steps cannot show that it has converged: use at least {LAST}"
    eps = found.plan.threat.eps if found.plan is not None else None
    return Indicator(label, eps, name, number, check.threshold, passed, message, check.least, detail)
