"""The largest attack that so many passes of the network pay for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

from .methods import cost
from .plan import AttackPlan
from .seam import Detector

HALVINGS = 50


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
