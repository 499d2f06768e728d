"""The adversary in one object: what it may do, how it attacks, and what it may spend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .threat import ThreatModel

Direction = Literal["min", "max"]
"""min lowers ID scores, max raises OOD scores."""
SIGN: dict[Direction, Literal[-1, 1]] = {"min": -1, "max": 1}
"""What a direction multiplies the score with, so that the attack always climbs."""
DIRECTIONS: dict[str, tuple[Direction, ...]] = {"none": (), "min": ("min",), "max": ("max",), "both": ("min", "max")}
"""The directions of every `attack`: none, min, max or both."""


@dataclass(frozen=True)
class Strength:
    """How much an attack spends."""

    steps: int
    """Of every run; `components_of` and `Refine` say which of the suite's make half or twice as many."""
    restarts: int
    """Random starts, and as many starts towards classes; in the suite a quarter where a look takes several passes."""
    draws: int | None
    """Noisy copies per gradient of a randomised detector; None sizes them by the cosine rule (`eot.draws_needed`)."""
    apgd: bool = False
    """Whether the suite runs APGD besides PGD, on every objective."""
    queries: int = 0
    """Square's queries in the suite, on images that nothing else decided."""
    step: float | None = None
    """Constant step size of pgd in units of epsilon; None for steps that fall geometrically."""
    compared: int = 8
    """Draws on which the candidates of a randomised detector are compared."""
    keep: str | None = None
    """The iterate that pgd returns, best or last; None for the last where gradients are noisy, else the best."""

    def __post_init__(self) -> None:
        for name in ("steps", "restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 1")


STRENGTHS = {
    "quick": Strength(steps=10, restarts=4, draws=8, compared=2),
    "standard": Strength(steps=20, restarts=8, draws=None, apgd=True, queries=500),
    "strong": Strength(steps=50, restarts=20, draws=None, apgd=True, queries=5000),
}


@dataclass(frozen=True)
class AttackPlan:
    """One adversary: its threat model, its method (a row of `METHODS`) and what it may spend.

    `objective` restricts the method to one of the detector's objectives; None leaves the choice to the method.
    """

    threat: ThreatModel
    method: str = "suite"
    objective: str | None = None
    strength: Strength = STRENGTHS["quick"]
