"""The weakest sensible attack: the best of n uniform draws in the ball. A gradient attack that loses to it failed."""

from __future__ import annotations

from hashlib import sha256

import torch
from torch import Tensor

from .seam import Detector, check_visited
from .threat import ThreatModel, check_attack
from .trace import Attacked, Trace, better


class Queries:
    """Called with images, gives the detector's score there and remembers it: the clean images come first.

    A randomised detector's noise is drawn anew from the same seed every time, which comes from `generator`. Finiteness
    is checked once, by `trace`.
    """

    def __init__(self, detector: Detector, generator: torch.Generator | None) -> None:
        self.detector, self.values, self.given = detector, list[Tensor](), None
        if detector.randomized:
            if generator is None:
                raise ValueError("a randomised detector needs a torch.Generator (generator=...)")
            self.given = torch.Generator(generator.device), seed_from(generator)

    def __call__(self, z: Tensor) -> Tensor:
        if self.given is None:
            value = self.detector(z)
        else:
            own, seed = self.given
            value = self.detector(z, generator=own.manual_seed(seed))
        self.values.append(value)
        return value.to(z.dtype)

    def trace(self, dtype: torch.dtype) -> Trace:
        """Every score but the first; NonFiniteError for the first score that is not finite."""
        check_visited(torch.stack(self.values))
        return Trace.of_queries([value.to(dtype) for value in self.values[1:]])


def seed_from(generator: torch.Generator) -> int:
    """A seed drawn from a generator; for a GPU's, made of its state, which the host knows without waiting."""
    if generator.device.type == "cpu":
        return int(torch.randint(2**62, (1,), generator=generator))
    state = generator.get_state().numpy().tobytes()
    return int.from_bytes(sha256(state).digest()[:8], "big") >> 2


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
    check_attack(threat, x, sign, queries=queries)
    score = Queries(detector, generator)
    best = (x, score(x))
    for _ in range(queries):
        z = threat.random(x, generator)
        best = better(sign, best, (z, score(z)))
    return Attacked(*best, score.trace(x.dtype))
