"""PRO, perturbation-rectified OOD detection, over any deterministic base score (Chen et al., CVPR 2025)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .detector import Batches, Detector, Images, Over
from .wrapper import Wrapper, sum_weighted

if TYPE_CHECKING:
    from typing_extensions import Self

PUBLISHED = {"msp": (0.003, 1), "msp-t": (0.003, 1), "ent": (0.0014, 2), "gen": (1e-4, 3)}
"""Step size a and number of steps K per base score, as published; every other base takes OTHERS."""
OTHERS = (0.0005, 3)
BASE_GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "gen": {"step_size": (3e-4, 5e-4, 8e-4, 1e-3), "gamma": (0.01, 0.1, 0.3, 0.5), "top": (10, 50, 100)},
    "msp-t": {"temperature": (0.01, 0.1, 10, 100, 1000)},
}


class PRO(Wrapper):
    """min over k = 0..K of s(x_k), where x_0 = x and x_{k+1} = x_k - a sign(grad s(x_k)).

    The path is neither projected nor clipped unless `bounds` = (low, high) are given; sign(0) = 0. `last` scores the
    last iterate instead of the minimum. a is in units of the network's input space.

    sign has derivative 0 almost everywhere, so the exact gradient at x is grad s at the minimising iterate, and one
    `value_and_grad` takes K+1 forward and backward passes. It ignores the jumps where that iterate or a sign
    changes, so attack the other objectives too: `sum` (of the iterates' scores), `soft-min` (weights
    proportional to exp(-(s_k - min s) / h), h the iterates' mean excess over their minimum, held constant) and
    `base` (s itself), and `base:NAME` for every surrogate NAME of s.
    """

    name = "pro"
    reference = (
        "Chen et al. 2025, Leveraging Perturbation Robustness to Enhance Out-of-Distribution Detection, "
        "arXiv:2503.18784"
    )
    grid = {"step_size": (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3), "steps": (1, 2, 3, 5)}
    shared = ("steps",)
    symbols = {"a": "step_size", "alpha": "step_size", "K": "steps"}
    objectives: tuple[str, ...] = ("exact", "sum", "soft-min", "base")

    def __init__(
        self,
        base: Detector,
        *,
        step_size: float | None = None,
        steps: int | None = None,
        last: bool = False,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(base)
        published_size, published_steps = PUBLISHED.get(base.name, OTHERS)
        self.step_size = published_size if step_size is None else step_size
        self.steps = published_steps if steps is None else steps
        self.last, self.bounds = last, bounds
        if not 0 <= self.step_size < math.inf:
            raise ValueError(f"step_size {self.step_size}: expected a number of at least 0")
        if self.steps < 0:
            raise ValueError(f"steps {self.steps}: expected at least 0")
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"bounds {bounds}: expected (low, high) with low below high, as (0, 1)")

    @classmethod
    def grid_over(cls, base: str) -> dict[str, tuple[Any, ...]]:
        """The published grid for a base score: PRO-GEN and PRO-MSP-T also search the base's own parameters."""
        return {**cls.grid, **BASE_GRIDS.get(base, {})}

    @classmethod
    def together(
        cls, members: Sequence[Self], train: Batches, sets: Sequence[Images], over: Over[Images]
    ) -> list[list[Tensor]]:
        """Every member scores the start of the longest member's path."""
        longest = max(members, key=lambda member: member.steps).fit(train, sets[0])
        paths = [over(images, lambda x, generator: longest.path(x)[0]) for images in sets]
        return [[member.end(path[: member.steps + 1]) for path in paths] for member in members]

    def end(self, scores: Tensor) -> Tensor:
        """The score (B,) of a whole path's (K+1, B)."""
        return scores[-1] if self.last else scores.min(0).values

    def _step(self, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """x - a sign(grad), and the same within the bounds: the next iterate."""
        moved = x - self.step_size * grad.sign()
        return moved, moved if self.bounds is None else moved.clamp(*self.bounds)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Scores (B,); under autograd their gradient is the exact one."""
        differentiable = torch.is_grad_enabled() and x.requires_grad
        scores = []
        for _ in range(self.steps):
            value, grad = self.base.value_and_grad(x)
            scores.append(self.base(x) if differentiable else value)
            _, x = self._step(x, grad)
        with torch.set_grad_enabled(differentiable):
            scores.append(self.base(x))
        return self.end(torch.stack(scores))

    def own_value_and_grad(
        self, x: Tensor, *, objective: str, draws: int | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        scores, grads = self.path(x)
        value, weights = self._reduce(scores, objective)
        return value, sum_weighted(weights, grads)

    def path(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (K+1, B) of the iterates, and their gradients with respect to x (K+1, B, ...), a.e. exact."""
        scores, grads, free = [], [], torch.ones_like(x)
        for k in range(self.steps + 1):
            value, grad = self.base.value_and_grad(x)
            scores.append(value)
            grads.append(grad * free)
            if k < self.steps:
                moved, x = self._step(x, grad)
                if self.bounds is not None:  # a coordinate once clipped no longer follows the image
                    free = free * (moved == x)
        return torch.stack(scores), torch.stack(grads)

    def _reduce(self, s: Tensor, objective: str) -> tuple[Tensor, Tensor]:
        """The objective (B,) of the iterates' scores (K+1, B) and its derivative in each of them (K+1, B)."""
        if objective == "sum":
            return s.sum(0), torch.ones_like(s)
        low, k = s.min(0)
        if objective == "soft-min":
            h = (s - low).mean(0).clamp_min(torch.finfo(s.dtype).tiny)
            weights = (-(s - low) / h).softmax(0)
            return (weights * s).sum(0), weights
        k = torch.full_like(k, self.steps) if self.last else k
        return s.gather(0, k[None])[0], torch.zeros_like(s).scatter_(0, k[None], 1.0)

    def own_passes(self, objective: str, draws: int | None) -> tuple[int, int]:
        n, (forward, backward) = self.steps + 1, self.base.passes()
        return n * forward, n * backward

    def score_passes(self) -> tuple[int, int]:
        (forward, backward), (last, _) = self.base.passes(), self.base.score_passes()
        return self.steps * forward + last, self.steps * backward
