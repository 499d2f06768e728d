"""This project's attacks as rows of a table: what the suite must know to run one. Another one is another row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .apgd import apgd
from .noise import noise
from .pgd import pgd
from .plan import AttackPlan
from .square import square
from .targeted import TOWARDS, targeted
from .trace import Attacked

NOISE_DRAWS = 100
"""Of the attack `noise`."""
QUERIES = 500
"""Of Square alone, where the strength names none."""
MOMENTUM = 0.75
"""For `refine`, and for gradients through noise, where each step then rests on the copies of the last few. There the
last iterate is kept: the best of noisy values is mostly the luckiest. benchmarks/RESULTS.md has the figures."""


def of_pgd(plan: AttackPlan, noisy: bool) -> dict[str, Any]:
    step, keep = plan.strength.step, plan.strength.keep
    return {
        "step_size": None if step is None else step * plan.threat.eps,
        "momentum": MOMENTUM if noisy else 0.0,
        "keep": keep or ("last" if noisy else "best"),
    }


@dataclass(frozen=True)
class Algorithm:
    """A row of the table: a function of this package, and what the suite must know to call it and to count its passes.

    One that follows a gradient takes `objective`, `steps`, `restarts`, `draws` and `clean`, and looks at its objective
    once a step, and once more where it keeps its best iterate; any other takes `queries` and asks for that many scores.
    """

    about: str
    attack: Callable[..., Attacked]
    follows_gradient: bool = True
    starts_at_random: bool = True
    """False of one that starts from the best that the others found."""
    honours: frozenset[str] = frozenset({"objective", "steps", "restarts", "strength", "budget", "precision"})
    """Of these settings, the ones that change what it does; without a gradient, strength at most."""
    settings: Callable[[AttackPlan, bool], dict[str, Any]] = lambda plan, noisy: {}
    """Arguments beyond those, of a plan and an objective that is noisy or not."""
    towards: float = 0.0
    """The share of steps that follow the network's logits, at one pass each, instead of the objective."""


ALGORITHMS = {
    "pgd": Algorithm(
        "projected gradient descent on one objective (default exact), best iterate, EOT by noisy copies",
        pgd,
        settings=of_pgd,
    ),
    "targeted": Algorithm(
        "pgd from starts on the way to classes, one after the other by their clean logits",
        targeted,
        settings=lambda plan, noisy: {key: of_pgd(plan, noisy)[key] for key in ("momentum", "keep")},
        towards=TOWARDS,
    ),
    "apgd": Algorithm("Auto-PGD: per-image step sizes that halve where progress stalls, and momentum", apgd),
    "refine": Algorithm(
        "the suite's last gradient attack: pgd with momentum from each image's best, on the objective that found it",
        pgd,
        starts_at_random=False,
        settings=lambda plan, noisy: {"restarts": 1, "momentum": MOMENTUM, "keep": "last" if noisy else "best"},
    ),
    "square": Algorithm(
        "random search by queries alone, no gradient; in the suite from the best that the others found",
        square,
        follows_gradient=False,
        starts_at_random=False,
        settings=lambda plan, noisy: {"queries": plan.strength.queries or QUERIES},
    ),
    "noise": Algorithm(
        "the best of uniform draws in the ball",
        noise,
        follows_gradient=False,
        honours=frozenset(),
        settings=lambda plan, noisy: {"queries": NOISE_DRAWS},
    ),
}
