"""The weakest sensible attack: the best of n uniform draws in the ball. A gradient attack that loses to it failed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .seam import Detector, check_finite
from .threat import ThreatModel
from .trace import Attacked, Trace, better


def same_noise(detector: Detector, generator: torch.Generator | None) -> Callable[[Tensor], Tensor]:
    """The detector's score as a function: a randomised detector's noise is drawn anew from the same seed every time.

    The seed comes from `generator`. NonFiniteError for a score that is not finite.
    """
    seed, own = None, torch.Generator()
    if detector.randomized:
        if generator is None:
            raise ValueError("a randomised detector needs a torch.Generator (generator=...)")
        seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
        own = torch.Generator(generator.device)

    def score(z: Tensor) -> Tensor:
        value = detector(z) if seed is None else detector(z, generator=own.manual_seed(seed))
        check_finite(value)
        return value.to(z.dtype)

    return score


@torch.no_grad()
def noise(
    detector: Detector,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    queries: int = 100,
    generator: torch.Generator | None = None,
) -> Attacked:
    """The uniform draw with the lowest (`sign=-1`) or highest score of `queries`, or x itself if none improves on it.

    A randomised detector scores all of them on the same noise, drawn from `generator` once: score the images again.
    """
    if queries < 1:
        raise ValueError(f"queries {queries}: expected at least 1")
    threat.check(x)
    score = same_noise(detector, generator)
    best, visited = (x, score(x)), []
    for _ in range(queries):
        z = threat.random(x, generator)
        visited.append(score(z))
        best = better(sign, best, (z, visited[-1]))
    return Attacked(*best, Trace.of_queries(visited))
