"""Verdicts of the checks: numbers with thresholds that say how far a row can be trusted.

Those of the attack are indicators of attack failure (Pintor et al. 2022).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from attacks import component, rests_on

from ..words import counted
from .checks import CHECKS
from .plausibility import plausibility_of
from .populations import Evaluated, Population

LAST = 10
"""Steps in which an attack that has converged gains next to nothing; one that makes fewer cannot show it."""
LATE = 0.05
"""Largest share of an attack's gain in its last 10 steps."""


@dataclass(frozen=True)
class Indicator:
    """An entry of the record: one check, of data or network (no detector), a detector, or its attack at one radius."""

    detector: str
    """Its label; empty for a check of data or network."""
    eps: float | None
    """None but for a check of the attack."""
    name: str
    number: float
    threshold: float
    passed: bool | None
    """None where it is inconclusive: two standard errors of its number are more than the threshold."""
    message: str
    """Empty where it passed."""
    least: bool = False
    """Whether the number must reach the threshold, not stay below it; older records have no such indicator."""
    detail: dict[str, Any] = field(default_factory=dict)
    about: str = "attack"
    """data, network, detector or attack; older records do not say."""
    concerns: list[str] = field(default_factory=list)
    """The populations that failed; empty where every row is concerned."""

    @property
    def verdict(self) -> str:
        """passed, FAILED or inconclusive."""
        return "inconclusive" if self.passed is None else "passed" if self.passed else "FAILED"

    def marks(self, condition: str, names: Collection[str]) -> bool:
        """Whether it failed, and makes rows in a condition of some OOD sets unreliable."""
        here = not self.concerns or not set(self.concerns).isdisjoint(names)
        return self.passed is False and here and (self.about != "attack" or condition != "clean")


def attacked(found: Evaluated) -> dict[tuple[str, str], Population]:
    return {key: population for key, population in found.populations.items() if key[1] != "clean"}


def indicators_of(found: Evaluated) -> list[Indicator]:
    """Every check that applies, with number, threshold and verdict: of data, network, detector and attack."""
    populations = attacked(found)
    entries = plausibility_of(found)
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
            entries["eot"] = found.cosines[followed(found)][1], objectives
    margins, needed = found.probe.get("margins", {}), found.probe.get("needed", {})
    for name, number in found.probe.get("numbers", {}).items():
        entries[name] = number, {"margin": margins.get(name, 0.0), "images": found.probe.get("images")}
        if name in needed:
            entries[name][1]["needed"] = needed[name]
    late = [p.late_gain for p in populations.values() if p.late_gain is not None]
    if late and "convergence" in entries:
        entries["convergence"][1]["late_gain"] = max(late)
    elif populations and "gradient" in entries:  # nothing doubled the steps: what the traces show alone
        share = max(late) if late else 0.0
        if share > LATE or short(found):
            entries["convergence"] = share, {"late_gain": share}
    return [indicator(found, name, *entries[name]) for name in CHECKS if name in entries]


def followed(found: Evaluated) -> str:
    """The noisy objective whose attacks won most images; of equals, the one whose copies agree best."""
    wins = dict.fromkeys(found.cosines, 0)
    for population in attacked(found).values():
        runs = [None if name == "clean" else component(name) for name in population.components]
        assert population.winner is not None
        assert population.origin is not None
        for winner, origin in zip(population.winner.tolist(), population.origin.tolist(), strict=True):
            run, start = runs[winner], runs[origin]
            objective = "" if run is None else run.on(found.detector, start.objective if start else "").objective
            if objective in wins:
                wins[objective] += 1
    return max(wins, key=lambda name: (wins[name], found.cosines[name][1]))


def short(found: Evaluated) -> bool:
    """Whether the attack makes too few steps to be judged by its last ones."""
    return found.plan is not None and found.plan.strength.steps < LAST


def judged(run: str) -> bool:
    """Whether a component's trace shows what the gradient is at a start that is no attack's end."""
    return run != "clean" and component(run).starts_at_random


def gradient(populations: dict[tuple[str, str], Population]) -> tuple[float, dict[str, Any]]:
    """Share of images whose gradient vanishes at the first start, for every one of the detector's own objectives.

    `base`, the transfer attack, does not count as one's own where there is another: a detector whose gradient is
    detached shows here even if transfer succeeds. Images that were decided before an objective ran do not count for it.
    """
    worst, shares = 0.0, dict[str, dict[str, float]]()
    for (name, condition), population in populations.items():
        runs = [c for c in population.components if c != "clean"]
        zeros = {
            run: zero.double()
            for run, zero in zip(runs, population.zero_gradient, strict=True)  # type: ignore[arg-type]
            if judged(run) and not zero.isnan().all()
        }
        shares[f"{name} {condition}"] = {run: float(zero.nanmean()) for run, zero in zeros.items()}
        own = [zero for run, zero in zeros.items() if not component(run).is_transfer] or list(zeros.values())
        if own:
            everywhere = torch.stack(own).nan_to_num(1.0).amin(0)[~torch.stack(own).isnan().all(0)]
            worst = max(worst, float(everywhere.mean()))
    return worst, shares


def indicator(found: Evaluated, name: str, number: float, detail: dict[str, Any]) -> Indicator:
    """The entry of the record; `margin`, two standard errors of a randomised detector's number, is granted."""
    check, label = CHECKS[name], found.detector.label
    steps = found.plan.strength.steps if name == "convergence" and found.plan is not None else None
    passed, message = verdict_of(label, name, number, detail, steps)
    return Indicator(
        label if check.about in ("detector", "attack") else "",
        found.plan.threat.eps if check.about == "attack" and found.plan is not None else None,
        name,
        number,
        check.threshold,
        passed,
        message,
        check.least,
        detail,
        check.about,
        concerned(name, detail, found.bench.id_test.name),
    )


def holds(name: str, number: float, detail: Mapping[str, Any]) -> bool:
    """Whether a number is what its check's threshold, and the margin that it is granted, let pass."""
    check = CHECKS[name]
    return number >= check.threshold if check.least else number <= check.threshold + detail.get("margin", 0.0)


def verdict_of(
    label: str, name: str, number: float, detail: Mapping[str, Any], steps: int | None = None
) -> tuple[bool | None, str]:
    """What a check says of a number: `passed` and `message` of the record; of convergence, `steps` are the attack's."""
    check = CHECKS[name]
    if steps is not None and steps < LAST:
        return False, too_short(label, steps)
    if not holds(name, number, detail):
        return False, check.message.format_map({**detail, "label": label, "number": number})
    if detail.get("late_gain", 0.0) > LATE:
        late = detail["late_gain"]
        return False, f"{label}: the last 10 steps made {late:.1%} of what the attack gained: use more steps"
    if "needed" in detail:
        return None, (
            f"{label}: {name} is inconclusive: two standard errors on {detail['images']} images are "
            f"{detail['margin']:.3f} of AUROC, the limit is {check.threshold:g}; about {detail['needed']} images decide"
        )
    return True, ""


def too_short(label: str, steps: int) -> str:
    """What is said of an attack that its last steps cannot judge."""
    return f"{label}: an attack of {counted(steps, 'step')} cannot show that it has converged: use at least {LAST}"


def concerned(name: str, detail: Mapping[str, Any], own: str) -> list[str]:
    """The populations that a check fails; none where that of ID, `own`, is one of them: then every row is concerned."""
    failed = [where for where, its in detail.get("sets", {}).items() if not holds(name, its, detail)]
    return [] if own in failed else failed
