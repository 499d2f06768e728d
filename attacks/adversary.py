"""What the adversary knows of the noise, and what 8-bit images leave of an attack."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .threat import Detector

ADVERSARIES = ("fresh", "known-seed", "resubmit:q")
"""fresh: everything but the draws; known-seed: the draws too; resubmit:q: q tries, the best draw counts."""


def tries_of(adversary: str) -> int:
    """How often the adversary may submit an image: q of resubmit:q, else 1. ValueError for an unknown adversary."""
    name, _, q = adversary.partition(":")
    if adversary in ("fresh", "known-seed"):
        return 1
    if name == "resubmit" and q.isdecimal() and int(q) > 0:
        return int(q)
    raise ValueError(
        f"threat {adversary!r}: expected fresh, known-seed or resubmit:q with q at least 1, as resubmit:10"
    )


class KnownSeed:
    """A randomised detector whose draws the adversary knows: deterministic, with the noise of `stream` every time.

    The noise belongs to the places in a batch: always give the whole batch.
    """

    def __init__(self, detector: Detector, stream: Callable[[], torch.Generator]) -> None:
        self.detector, self.stream = detector, stream
        self.randomized, self.objectives = False, detector.objectives
        self.score_passes = detector.score_passes

    def __call__(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.detector(x, generator=self.stream())

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        return self.detector.value_and_grad(x, objective=objective, generator=self.stream())

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        return self.detector.passes(objective, None)


def quantize(x_adv: Tensor, x: Tensor) -> Tensor:
    """x_adv with its change of the 8-bit image x in [0, 1] rounded to multiples of 1/255, towards x.

    Of an image that is not 8-bit itself the change still is: the result never leaves the ball.
    """
    change = 255 * (x_adv - x)
    return x + (change + 1e-4 * change.sign()).trunc() / 255
