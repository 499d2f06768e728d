"""A randomised detector as an adversary sees it who knows its draws."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .seam import Detector


class KnownSeed:
    """A randomised detector whose draws the adversary knows: deterministic, with the noise of `stream` every time.

    An image's noise depends on its place in the batch: always give the whole batch.
    """

    def __init__(self, detector: Detector, stream: Callable[[], torch.Generator]) -> None:
        self.detector, self.stream = detector, stream
        self.randomized, self.objectives, self.whole = False, detector.objectives, detector.whole
        self.jumps = detector.jumps
        self.score_passes, self.network = detector.score_passes, detector.network

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
