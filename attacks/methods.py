"""What can be asked for by name, the components it consists of, what they cost, and what a budget pays for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from math import ceil

from .algorithms import ALGORITHMS, MOMENTUM
from .components import Component, Passes, Refine, component, times
from .external import LIBRARIES, is_external, is_search
from .plan import AttackPlan
from .seam import Detector, is_base, is_cheap
from .selection import selection_draws

METHODS = {
    "suite": "per image the worst of pgd, targeted, refine (and apgd, square), chosen on noise of its own",
    **{name: row.about for name, row in ALGORITHMS.items() if row.starts_at_random or not row.follows_gradient},
    "transfer": "pgd on the base score alone: the published evaluation",
    "torchattacks:NAME": "an attack of torchattacks on the two-logit view of the detector",
    "foolbox:NAME": "an attack of foolbox on it",
    "autoattack:NAME": "APGD or Square of AutoAttack (pyautoattack) on it",
}
"""Every method with the line that help, `roodbench list` and docs/attacks.md show."""
HALVINGS = 50
"""Of the scale at which a budget is spent: beyond the last bit of a float."""


def check_method(method: str, objective: str | None = None) -> None:
    """ValueError for a method that does not exist, or that takes no objective and is given one."""
    if method not in METHODS and not is_external(method):
        library, colon, name = method.partition(":")
        near = difflib.get_close_matches(method.lower(), METHODS, 1)
        if colon:  # an attack of another library, whose own name is nearest
            near = [f"{other}:{name}" for other in difflib.get_close_matches(library.lower(), LIBRARIES, 1)]
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown method {method!r}: {hint}expected one of {', '.join(METHODS)}")
    if objective is not None and "objective" not in honoured(method):
        raise ValueError(f"method {method} takes no objective: leave out {objective!r}")


def honoured(method: str) -> frozenset[str]:
    """Of objective, steps, restarts, strength, budget and precision, the settings that a method honours.

    No budget where a pass is not ours to count, or where there are no steps to scale.
    """
    everything = ALGORITHMS["pgd"].honours
    if is_search(method):
        return frozenset({"restarts", "strength"})
    if method == "transfer":
        return everything - {"objective"}
    if is_external(method):
        return everything - {"budget"}
    if method not in ALGORITHMS:
        return everything
    row = ALGORITHMS[method]
    return row.honours if row.follows_gradient else row.honours & {"strength"}


def components_of(detector: Detector, plan: AttackPlan) -> tuple[Component, ...]:
    """The attacks that a plan's method consists of, in the order in which they run.

    The suite: pgd on every objective, the cheap base score first; targeted starts where a look is one pass of the
    network; apgd; `refine`; square. Where a look takes several passes, pgd makes a quarter of the restarts, on a
    surrogate half of the steps, and twice as many on an objective that needs all copies. A score that jumps is worth
    more long runs than its surrogates (benchmarks/RESULTS.md, Hunts).
    """
    method, objective, strength = plan.method, plan.objective, plan.strength
    check_method(method, objective)
    if method not in ("suite", "transfer"):
        named = is_external(method) or not ALGORITHMS[method].follows_gradient
        return (component(method, objective) if named else Component(method, objective or "exact"),)
    if method == "transfer":
        return (Component("pgd", "base" if "base" in detector.objectives else "exact"),)
    own = [name for name in detector.objectives if not detector.jumps or name in detector.jumps or is_base(name)]
    targets = sorted(own, key=lambda name: not is_base(name)) if objective is None else [objective]
    runs = [Component("pgd", target, *shares(detector, target)) for target in targets]
    cheap = [run.objective for run in runs if is_cheap(detector, run.objective)]
    if cheap:
        first = "exact" if "exact" in cheap else cheap[0]
        runs.insert(targets.index(first) + 1, Component("targeted", first))
    if strength.apgd:
        runs += [replace(run, algorithm="apgd") for run in runs if run.algorithm == "pgd"]
    if objective is None:
        runs.append(Refine(steps=2.0 if cheap == targets else 1.0))
        runs += [Component("square")] if strength.queries else []
    return tuple(runs)


def shares(detector: Detector, objective: str) -> tuple[float, float]:
    """The shares of the strength's steps, and of its restarts, that the suite spends on one objective."""
    if is_cheap(detector, objective):
        return 1.0, 1.0
    return (2.0 if objective in detector.whole else 1.0 if objective == "exact" else 0.5), 0.25


def transfer_for(detector: Detector, plan: AttackPlan, spent: Passes) -> AttackPlan | None:
    """The method `transfer` with as many restarts as cost the passes, forward plus backward, that the suite spent.

    `spent` are those per image. None for a plan that is not the whole suite's, for a detector without an objective
    `base`, and for one whose gradients all take a single pass.
    """
    whole, names = plan.method == "suite" and plan.objective is None, detector.objectives
    if not whole or "base" not in names or all(is_cheap(detector, name) for name in names):
        return None

    def again(restarts: int) -> AttackPlan:
        return replace(plan, method="transfer", strength=replace(plan.strength, restarts=restarts))

    once, twice = (sum(cost(detector, again(restarts))) for restarts in (1, 2))
    return again(max(1, round(1 + (sum(spent) - once) / (twice - once))))


def rests_on(draws: int, plan: AttackPlan) -> int:
    """The copies whose halves must agree: where momentum averages over steps, as many as a later step rests on."""
    if plan.strength.draws is None or plan.method == "apgd" or is_external(plan.method):
        return draws
    return round(draws * (1 + MOMENTUM) / (1 - MOMENTUM))


def cost(detector: Detector, plan: AttackPlan, sized: Mapping[str, int] | None = None) -> Passes:
    """Network passes (forward, backward) that `suite` spends on an image that is never decided.

    `sized` are noisy copies per gradient by objective. Of another library's attack, a guess: as many as pgd.
    """
    components = components_of(detector, plan)
    spent = [c.cost(detector, plan, sized or {}) for c in components]
    if plan.method != "transfer":
        offers = 1 + sum(c.runs(detector, plan) for c in components)
        spent.append(
            times(
                offers * selection_draws(detector, plan.threat.tries, plan.strength.compared), detector.score_passes()
            )
        )
    return sum(forward for forward, _ in spent), sum(backward for _, backward in spent)


def scaled(plan: AttackPlan, scale: float) -> AttackPlan:
    """The plan with its strength's steps and restarts times `scale`, at least 1, and its queries times its square."""
    spend = plan.strength
    steps, restarts = (max(1, round(scale * n)) for n in (spend.steps, spend.restarts))
    return replace(
        plan, strength=replace(spend, steps=steps, restarts=restarts, queries=round(scale**2 * spend.queries))
    )


def within(
    detector: Detector,
    plan: AttackPlan,
    budget: int,
    sized: Mapping[str, int] | None = None,
    *,
    label: str = "the detector",
) -> AttackPlan:
    """The largest of the `scaled` plans whose `cost` is at most `budget` network passes, forward + backward, per image.

    `sized` are noisy copies per gradient by objective, as for `cost`. More budget is no smaller attack, for steps,
    restarts and queries only grow with the scale. ValueError, naming the detector by its `label` and the smallest
    budget, where that pays for no attack.
    """

    def spent(scale: float) -> float:
        return sum(cost(detector, scaled(plan, scale), sized))

    if spent(0.0) > budget:
        least = ceil(spent(0.0))
        raise ValueError(f"budget {budget}: {plan.method} on {label} takes at least {least} network passes an image")
    low, high = 0.0, (budget + 1) / plan.strength.steps  # where every step, of which each takes a pass, is too many
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) <= budget else (low, middle)
    return scaled(plan, low)
