"""All that an attack knows of a detector, and its demand: finite scores and gradients, one of each per image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from .waiting import demand


class Detector(Protocol):
    """A score (B,) of images (B, C, H, W), higher = more in-distribution, and gradients of what grows with it.

    `passes` and `score_passes` are network passes (forward, backward) per image, for budgets. `network` maps images to
    logits (B, K); None where the detector shows none.
    """

    @property
    def network(self) -> Callable[[Tensor], Tensor] | None: ...

    randomized: bool
    objectives: tuple[str, ...]
    whole: frozenset[str]
    """Noisy objectives of which fewer copies than the detector's own give the gradient of another score."""
    jumps: frozenset[str]
    """Objectives without noise whose gradient is another one a step further, as that of the k-th nearest neighbour."""

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


def is_cheap(detector: Detector, objective: str) -> bool:
    """Whether a look at an objective takes one pass of the network."""
    return not is_noisy(detector, objective) and detector.passes(objective) == (1, 1)


class GradientError(ValueError):
    """A detector's `value_and_grad` gives something other than the values and gradients of the images."""


def gradient_of(detector: Detector, x: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
    """Objective (B,) and gradient (like x) of `detector.value_and_grad(x, **settings)`, detached.

    GradientError, in words that follow the detector's name, where it gives no such pair.
    """
    given = detector.value_and_grad(x, **settings)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise GradientError(f"value_and_grad gave {kind_of(given)}: expected the pair (value, gradient)")
    value, grad = given
    if not isinstance(value, Tensor) or value.shape != (len(x),) or not value.is_floating_point():
        raise GradientError(
            f"value_and_grad gave {kind_of(value)} as its value for {len(x)} images: expected a float32 tensor "
            f"({len(x)},), one number per image"
        )
    if not isinstance(grad, Tensor) or grad.shape != x.shape or not grad.is_floating_point():
        cure = "; torch.autograd.grad gives a tuple: take its first" if isinstance(grad, tuple | list) else ""
        cure = "; where the value does not depend on the images, return torch.zeros_like(x)" if grad is None else cure
        raise GradientError(
            f"value_and_grad gave {kind_of(grad)} as its gradient for images {tuple(x.shape)}: expected a float32 "
            f"tensor of the images' shape{cure}"
        )
    if value.device != x.device or grad.device != x.device:
        raise GradientError(
            f"value_and_grad gave a value on {value.device}, a gradient on {grad.device}: expected both on {x.device}"
        )
    return value.detach(), grad.detach().to(x.dtype)


def kind_of(value: Any) -> str:
    """A value by its kind and size."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"something of type {type(value).__name__}"


class NonFiniteError(ValueError):
    """A detector's objective or gradient is not finite; `index` is the image's place in the batch."""

    def __init__(self, what: str, index: int) -> None:
        super().__init__(f"{what} is not finite")
        self.what, self.index = what, index


def check_finite(value: Tensor, grad: Tensor | None = None) -> None:
    """Demand that every image's objective (B,) and gradient (B, ...) are finite; else NonFiniteError for the first."""
    check_visited(value[None], None if grad is None else finite(grad)[None])


def finite(grad: Tensor) -> Tensor:
    """(B,) bool: whether each image's gradient is finite."""
    return grad.flatten(1).isfinite().all(1)


def check_visited(values: Tensor, gradients: Tensor | None = None) -> None:
    """Demand that the objectives (k, B) of k visits are finite, and all of `gradients` (k, B) true; else NonFiniteError
    for the first that is not.
    """
    good = values.isfinite()
    good = good if gradients is None else good & gradients

    def first() -> NonFiniteError:
        visit, index = (~good).nonzero()[0].tolist()
        value = values[visit, index].item()
        return NonFiniteError("gradient" if math.isfinite(value) else f"score {value}", index)

    demand(good.all(), first)
