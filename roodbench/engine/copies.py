"""Images that a detector cannot spoil, results that it cannot change afterwards: both are copies, at every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

import attacks

from .errors import EvaluationError

T = TypeVar("T")


def on_copy(compute: Callable[[Tensor], T], x: Tensor, label: str) -> T:
    """A copy of compute(a copy of x); EvaluationError, naming `label`, where that copy was written into."""
    found = watched(compute, x, label, thorough=True)
    return found.clone() if isinstance(found, Tensor) else found  # type: ignore[return-value]


def watched(compute: Callable[[Tensor], T], x: Tensor, label: str, *, thorough: bool) -> T:
    """compute(a copy of x). torch counts most writes; `thorough` compares, which also finds those past its count."""
    copy = x.clone()
    version = copy._version
    found = compute(copy)
    wrote = EvaluationError(f"{label} writes into the images it is given: work on a copy: x = x.clone()")
    if copy._version != version:
        raise wrote
    if thorough:
        attacks.demand((copy == x).all(), lambda: wrote)
    return found


class OnCopies(nn.Module):
    """A detector as attacks and reports see it: it gets copies of images, and what it returns is copied.

    One that writes into its images changes no one else's and is named. One that keeps a tensor that it has returned,
    and overwrites it, changes no score that was given.
    """

    def __init__(self, detector: attacks.Detector, label: str) -> None:
        super().__init__()
        self.detector, self.label = detector, label
        self.randomized, self.objectives, self.whole = detector.randomized, detector.objectives, detector.whole
        self.jumps = detector.jumps
        self.passes, self.score_passes = detector.passes, detector.score_passes

    @property
    def network(self) -> Callable[[Tensor], Tensor] | None:
        net = self.detector.network
        return None if net is None else lambda x: net(x.clone())

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        if self.randomized:
            return on_copy(lambda x: self.detector(x, generator=generator), x, self.label)
        return on_copy(self.detector, x, self.label)

    def value_and_grad(self, x: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
        value, grad = watched(
            lambda x: attacks.gradient_of(self.detector, x, **settings), x, self.label, thorough=False
        )
        return value.clone(), grad.clone()
