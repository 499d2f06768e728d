"""The weakest sensible attack: the best of n uniform draws in the ball. A gradient attack that loses to it failed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .pgd import Attacked, Trace, better
from .threat import Detector, ThreatModel, check_finite


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
    n: int = 100,
    generator: torch.Generator | None = None,
) -> Attacked:
    """The uniform draw with the lowest (`sign=-1`) or highest score among n, or x itself if none improves on it.

    A randomised detector scores all of them on the same noise, drawn from `generator` once: score the images again.
    """
    if n < 1:
        raise ValueError(f"n {n}: expected at least 1 draw")
    score = same_noise(detector, generator)
    best, visited = (x, score(x)), []
    for _ in range(n):
        z = threat.random(x, generator)
        visited.append(score(z))
        best = better(sign, best, (z, visited[-1]))
    return Attacked(*best, Trace(torch.stack(visited), 0.0, torch.zeros(len(x), dtype=torch.bool, device=x.device)))
