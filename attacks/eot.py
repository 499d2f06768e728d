"""Expectation over transformation: how many noisy copies a gradient needs (Athalye et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .plan import AttackPlan
from .seam import Detector, gradient_of
from .threat import ThreatModel

LEAST, MOST = 25, 200
COSINE = 0.5
"""Median cosine between two independent halves from which a gradient is not mostly noise."""


def fixed_draws(detector: Detector, objective: str, plan: AttackPlan) -> int | None:
    """Copies per gradient that need no measuring: all of the detector's own where fewer would be another score, else
    the strength's; None where the cosine rule sizes them.
    """
    if objective in detector.whole:
        return detector.passes(objective)[1] // max(1, detector.passes(objective, 1)[1])
    return plan.strength.draws


def draws_needed(
    detector: Detector, x: Tensor, threat: ThreatModel, *, objective: str, generator: torch.Generator
) -> tuple[int, float]:
    """Copies per gradient of a randomised detector, and the cosine they reach: 25, doubled until it is 0.5 (or 200)."""
    z, n = threat.random(x, generator), LEAST
    while True:
        found = cosine(detector, z, objective=objective, draws=n, generator=generator)
        if found >= COSINE or n >= MOST:
            return n, found
        n *= 2


def cosine(detector: Detector, x: Tensor, *, objective: str, draws: int, generator: torch.Generator) -> float:
    """The median cosine, over images, between gradients of two independent halves of `draws` copies.

    0 where the gradient is zero.
    """
    half = max(1, draws // 2)
    a, b = (
        gradient_of(detector, x, objective=objective, draws=half, generator=generator)[1].flatten(1) for _ in range(2)
    )
    tiny = torch.finfo(a.dtype).tiny
    a, b = (g / g.abs().amax(1, keepdim=True).clamp_min(tiny) for g in (a, b))
    return float(F.cosine_similarity(a, b, eps=1e-30).median())
