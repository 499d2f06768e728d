"""All that an attack knows of a detector, and its one demand: finite scores and gradients."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Detector(Protocol):
    """A score (B,) of images (B, C, H, W), higher = more in-distribution, and gradients of what grows with it.

    `passes` and `score_passes` are network passes (forward, backward) per image, for budgets.
    """

    randomized: bool
    objectives: tuple[str, ...]

    def __call__(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor: ...

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]: ...

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]: ...

    def score_passes(self) -> tuple[int, int]: ...


def is_base(objective: str) -> bool:
    """Whether an objective is that of the base score, without noise: `base` or `base:NAME`."""
    return objective.partition(":")[0] == "base"


def is_noisy(detector: Detector, objective: str) -> bool:
    """Whether an objective's gradient comes from noisy copies."""
    return detector.randomized and not is_base(objective)


class NonFiniteError(ValueError):
    """A detector's objective or gradient is not finite; `index` is the image's place in the batch."""

    def __init__(self, what: str, index: int) -> None:
        super().__init__(f"{what} is not finite")
        self.what, self.index = what, index


def check_finite(value: Tensor, grad: Tensor | None = None) -> None:
    """Raise NonFiniteError for the first image with a NaN or infinite objective or gradient."""
    check_visited(value[None], finite(value, grad)[None])


def finite(value: Tensor, grad: Tensor | None = None) -> Tensor:
    """(2, B) bool: whether each image's objective and gradient are finite; stays on the device."""
    good = value.isfinite()
    return torch.stack([good, good if grad is None else grad.flatten(1).isfinite().all(1)])


def check_visited(values: Tensor, good: Tensor) -> None:
    """Raise NonFiniteError for the first of k visits with a bad objective (k, B) or gradient; `good` is (k, 2, B)."""
    bad = ~good.all(1)
    if bad.any():
        visit, index = (int(i) for i in bad.nonzero()[0])
        value = values[visit, index]
        raise NonFiniteError("gradient" if value.isfinite() else f"score {value.item()}", index)
