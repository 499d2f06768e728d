"""The attacks by which the indicators judge another, and on how many images they can be afforded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import attacks
from attacks import AttackPlan, Component, ThreatModel

from .attacker import REPORT_DRAWS
from .differences import DIRECTIONS
from .truth import INTERVALS, OTHERS

QUERIES = 100
"""Of square, where the attack's strength has none."""
MOST, FEWEST = 32, 15
"""ID, and OOD, images: of fewer, one pair of scores is more than half a point of AUROC."""
MOST_NOISY, FEWEST_NOISY = 16, 8
"""Of a randomised detector, which costs many times as much, and whose AUROC is a mean over draws."""


@dataclass(frozen=True)
class Trial:
    """Some components under a plan."""

    components: tuple[Component, ...]
    plan: AttackPlan

    def price(self, seen: attacks.Detector, sized: Mapping[str, int]) -> float:
        """Forward passes per image, a backward one counted as two: of the attacks, of choosing, and of two reports."""
        attack = sum(weight(c.cost(seen, self.plan, sized)) for c in self.components)
        offers = 3 + sum(c.runs(seen, self.plan) for c in self.components)  # the clean image, and two to compare with
        draws = offers * attacks.selection_draws(seen, self.plan.threat.tries, self.plan.strength.compared)
        reports = 2 * (REPORT_DRAWS * self.plan.threat.tries if seen.randomized else 1)
        return attack + (draws + reports) * weight(seen.score_passes())


def weight(passes: tuple[float, float]) -> float:
    """Passes as forward passes; a backward one counts as two."""
    return passes[0] + 2 * passes[1]


def gradient_attacks(seen: attacks.Detector, plan: AttackPlan) -> list[Component]:
    """The plan's components that follow a gradient and are not another library's."""
    return [c for c in attacks.components_of(seen, plan) if c.follows_gradient and not c.is_peer]


def candidates(seen: attacks.Detector, plan: AttackPlan) -> tuple[list[Component], list[Component]]:
    """The components that start at random, and those of pgd among them whose gradients are noisy."""
    best = [c for c in gradient_attacks(seen, plan) if c.starts_at_random]
    return best, [c for c in best if c.algorithm == "pgd" and c.is_noisy(seen)]


def trial_of(seen: attacks.Detector, plan: AttackPlan) -> Trial:
    """The plan's attack itself: its gradient attacks where it has any."""
    return Trial(tuple(gradient_attacks(seen, plan) or attacks.components_of(seen, plan)), plan)


def trials_of(
    seen: attacks.Detector, plan: AttackPlan, wide: ThreatModel, *, best: Component | None, noisy: Component | None
) -> dict[str, Trial]:
    """What is run beside the plan's attack, by name; `wide` is its threat model without a bound.

    `best` is the component with a random start that won most images, `noisy` that of those whose gradients are noisy
    and not the base score's; None where there is none.
    """

    def trial(*components: Component, plan: AttackPlan = plan, **spend: Any) -> Trial:
        return Trial(components, replace(plan, strength=replace(plan.strength, **spend)))

    strength, gradient = plan.strength, gradient_attacks(seen, plan)
    found = {}
    if plan.method != "square":
        found["square"] = trial(Component("square"), queries=strength.queries or QUERIES)
    if plan.method != "noise":
        found["noise"] = trial(Component("noise"))
    if best is None:
        return found
    polish = [c for c in gradient if c.goes_on]
    found["twice the steps"] = trial(best, *polish, steps=2 * strength.steps)
    if noisy is not None:
        found |= {"best iterate": trial(noisy, keep="best"), "last iterate": trial(noisy)}
    if best.makes_long(seen, plan):  # more restarts would be longer runs
        found["twice the restarts"] = trial(replace(best, long=2 * best.long), *polish)
    else:  # of its own: a share of them, rounded up, need not grow with the strength's
        found["twice the restarts"] = trial(replace(best, starts=1.0), *polish, restarts=2 * best.restarts(plan))
    own = [c for c in gradient if not c.is_transfer]
    # as often as the own ones: of many starts the best is lucky
    base = [replace(c, starts=min(o.starts for o in own)) for c in gradient if c.name == "pgd:base" and own]
    if own and base:
        found |= {"own": trial(*own), "base": trial(*base)}
    free = replace(plan, threat=wide)
    return found | {"unbounded": trial(best, plan=free), "unbounded, all": trial(*gradient, plan=free)}


def affordable(
    seen: attacks.Detector,
    plan: AttackPlan,
    wide: ThreatModel,
    counts: Sequence[int],
    sized: Mapping[str, int],
    *,
    thorough: bool,
) -> int:
    """The images of ID, and of OOD, on which attack and trials cost no more than the attack alone on `counts` images.

    0 where those are too few to say anything. `thorough` takes as many as there is use for.
    """
    most, fewest = (MOST_NOISY, FEWEST_NOISY) if seen.randomized else (MOST, FEWEST)
    size = min(most, *counts)
    if not thorough:
        reports = REPORT_DRAWS * plan.threat.tries if seen.randomized else 1
        attack = weight(attacks.cost(seen, plan, sized)) + reports * weight(seen.score_passes())
        size = min(size, int(attack * sum(counts) / (price(seen, plan, wide, sized) * len(counts))))
        return size if size >= fewest else 0
    return size if size >= 2 else 0


def price(seen: attacks.Detector, plan: AttackPlan, wide: ThreatModel, sized: Mapping[str, int]) -> float:
    """Forward passes per image, a backward one counted as two, of the attack and everything that judges it, at most."""
    best, noisy = candidates(seen, plan)
    dearest = {
        "best": max(best, key=lambda c: weight(c.cost(seen, plan, sized)), default=None),
        "noisy": max(noisy, key=lambda c: weight(c.cost(seen, plan, sized)), default=None),
    }
    trials = [trial_of(seen, plan), *trials_of(seen, plan, wide, **dearest).values()]
    score, grad = weight(seen.score_passes()), weight(seen.passes())
    differences = 2 * ((2 * DIRECTIONS + 1) * score + grad) + 2 * (INTERVALS[0] + 1) * (score + grad) + OTHERS * score
    return sum(trial.price(seen, sized) for trial in trials) + differences
