"""The weakest sensible attack: the best of n uniform draws in the ball. A gradient attack that loses to it failed."""

from __future__ import annotations

import torch
from torch import Tensor

from .pgd import Attacked, Trace, better
from .threat import Detector, ThreatModel, check_finite


@torch.no_grad()
def noise(
    detector: Detector,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    n: int = 100,
    generator: torch.Generator | None = None,
) -> Attacked:
    """The uniform draw with the lowest (`sign=-1`) or highest score among n, or x itself if none improves on it."""
    if n < 1:
        raise ValueError(f"n {n}: expected at least 1 draw")

    def score(z: Tensor) -> Tensor:
        value = detector(z, generator=generator) if detector.randomized else detector(z)
        check_finite(value)
        return value

    best, visited = (x, score(x)), []
    for _ in range(n):
        z = threat.random(x, generator)
        visited.append(score(z))
        best = better(sign, best, (z, visited[-1]))
    return Attacked(*best, Trace(torch.stack(visited), 0.0, torch.zeros(len(x), dtype=torch.bool, device=x.device)))
