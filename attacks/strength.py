"""What an attack spends: its steps, restarts and copies, the attacks that a method consists of, and their cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .eot import LEAST
from .external import is_external
from .selection import SELECTION_DRAWS
from .threat import Detector

NOISE_DRAWS = 100
METHODS = ("suite", "pgd", "apgd", "square", "noise", "transfer")
"""Besides them, the attacks of other libraries: torchattacks:NAME, foolbox:NAME, autoattack:NAME."""


@dataclass(frozen=True)
class Strength:
    """How much an attack spends."""

    steps: int
    restarts: int
    draws: int | None
    """Noisy copies per gradient of a randomised detector; None sizes them by the cosine rule (`eot.copies`)."""
    apgd: bool = False
    """Whether the suite runs APGD besides PGD even on several objectives."""
    queries: int = 0
    """Square's queries in the suite, on images that nothing else decided."""
    step: float | None = None
    """Constant step size of pgd in units of epsilon; None for steps that fall geometrically."""
    keep: str | None = None
    """The iterate that pgd returns, best or last; None for the last where gradients are noisy, else the best."""


STRENGTHS = {
    "quick": Strength(steps=20, restarts=1, draws=8),
    "standard": Strength(steps=40, restarts=1, draws=None, apgd=True, queries=500),
    "strong": Strength(steps=100, restarts=5, draws=None, apgd=True, queries=5000),
}


def looks(component: str, method: str, strength: Strength, noisy: bool) -> int:
    """How often one attack evaluates its objective; pgd after its last step only where the best is kept."""
    if component.startswith("refine"):
        return strength.steps + 1
    last = 0 if component.startswith("pgd") and keeps(strength, noisy) == "last" else 1
    return strength.restarts * (strength.steps + last) + (method == "transfer" and last != 0)


def keeps(strength: Strength, noisy: bool) -> str:
    """The iterate that pgd returns."""
    return strength.keep or ("last" if noisy else "best")


def queries_of(strength: Strength) -> int:
    return strength.queries or 500


def is_noisy(detector: Detector, objective: str) -> bool:
    """Whether an objective's gradient comes from noisy copies."""
    return detector.randomized and not objective.startswith("base")


def copies_of(detector: Detector, objective: str, strength: Strength, draws: Mapping[str, int] | None) -> int | None:
    """Noisy copies per gradient of an objective; None for one without noise."""
    if not is_noisy(detector, objective):
        return None
    return (draws or {}).get(objective) or strength.draws or LEAST


def cost(
    detector: Detector,
    method: str,
    objective: str | None,
    strength: Strength,
    draws: Mapping[str, int] | None = None,
    tries: int = 1,
) -> tuple[int, int]:
    """Network passes (forward, backward) that `suite` spends on an image that is never decided.

    Of another library's attack, a guess: as many as pgd.
    """
    names, spent = components_of(detector, method, objective, strength), [0, 0]

    def spend(times: int, passes: tuple[int, int]) -> None:
        spent[0] += times * passes[0]
        spent[1] += times * passes[1]

    for name in names:
        if name in ("noise", "square"):
            spend(1 + (NOISE_DRAWS if name == "noise" else queries_of(strength)), detector.score_passes())
            continue
        target = (objective or "exact") if is_external(name) else name.partition(":")[2]
        noisy = is_noisy(detector, target)
        passes = detector.passes(target, copies_of(detector, target, strength, draws))
        spend(looks(name, method, strength, noisy), passes)
    if method != "transfer":
        noisy_runs = [n for n in names if n.startswith(("pgd:", "apgd:")) and is_noisy(detector, n.partition(":")[2])]
        offers = len(names) + (strength.restarts - 1) * len(noisy_runs)
        spend((1 + offers) * (max(SELECTION_DRAWS, tries) if detector.randomized else 1), detector.score_passes())
    return spent[0], spent[1]


def components_of(detector: Detector, method: str, objective: str | None, strength: Strength) -> tuple[str, ...]:
    """The attacks that a method consists of, in the order in which they run.

    The suite: pgd on every objective, the cheap base score first; apgd, always where else a single run without noise
    would be all; `refine`, where the score has no noise: pgd on it, with momentum, from the best that the others found.
    """
    if is_external(method) or method in ("noise", "square"):
        return (method,)
    if method not in METHODS:
        raise ValueError(f"unknown attack method {method!r}: expected one of {METHODS}, or LIBRARY:NAME")
    targets = objectives_of(detector, method, objective)
    if method != "suite":
        return tuple(f"{'apgd' if method == 'apgd' else 'pgd'}:{name}" for name in targets)
    names = [f"pgd:{name}" for name in targets]
    alone = objective is None and len(targets) == 1 and not is_noisy(detector, targets[0])
    if strength.apgd or alone:
        names += [f"apgd:{name}" for name in targets]
    if objective is not None:
        return tuple(names)
    refine = ["refine:exact"] if "exact" in targets and not detector.randomized else []
    return (*names, *refine, *(["square"] if strength.queries else []))


def objectives_of(detector: Detector, method: str, objective: str | None) -> tuple[str, ...]:
    """The objectives that a method follows the gradient of."""
    if method == "transfer":
        return ("base",) if "base" in detector.objectives else ("exact",)
    if objective is not None:
        return (objective,)
    if method != "suite":
        return ("exact",)
    return tuple(sorted(detector.objectives, key=lambda name: not name.startswith("base")))
