"""PRO, perturbation-rectified OOD detection, over any deterministic base score (Chen et al., CVPR 2025)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .detector import Batches, Detector

PUBLISHED = {"msp": (0.003, 1), "msp-t": (0.003, 1), "ent": (0.0014, 2), "gen": (1e-4, 3)}
"""Step size a and number of steps K per base score, as published; every other base takes OTHERS."""
OTHERS = (0.0005, 3)
BASE_GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "gen": {"step_size": (3e-4, 5e-4, 8e-4, 1e-3), "gamma": (0.01, 0.1, 0.3, 0.5), "top": (10, 50, 100)},
    "msp-t": {"temperature": (0.01, 0.1, 10, 100, 1000)},
}


class PRO(Detector):
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
    reference = "Chen et al. 2025"
    grid = {"step_size": (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3), "steps": (1, 2, 3, 5)}
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
        super().__init__()
        if base.randomized:
            raise ValueError(f"PRO needs a deterministic base score, not {base.name}")
        published_size, published_steps = PUBLISHED.get(base.name, OTHERS)
        self.base = base
        self.step_size = published_size if step_size is None else step_size
        self.steps = published_steps if steps is None else steps
        self.last, self.bounds = last, bounds
        self.objectives = (*type(self).objectives, *surrogates_of(base))
        if self.step_size < 0:
            raise ValueError(f"step_size {self.step_size}: expected a number of at least 0")
        if self.steps < 0:
            raise ValueError(f"steps {self.steps}: expected at least 0")

    def fit(self, train: Batches, val: Batches) -> PRO:
        self.base.fit(train, val)
        return self

    def fitted(self) -> dict[str, float]:
        return self.base.fitted()

    @classmethod
    def grid_over(cls, base: str) -> dict[str, tuple[Any, ...]]:
        """The published grid for a base score: PRO-GEN and PRO-MSP-T also search the base's own parameters."""
        return {**cls.grid, **BASE_GRIDS.get(base, {})}

    def _step(self, x: Tensor, grad: Tensor) -> Tensor:
        x = x - self.step_size * grad.sign()
        return x if self.bounds is None else x.clamp(*self.bounds)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Scores (B,); under autograd their gradient is the exact one."""
        differentiable = torch.is_grad_enabled() and x.requires_grad
        scores = []
        for _ in range(self.steps):
            value, grad = self.base.value_and_grad(x)
            scores.append(self.base(x) if differentiable else value)
            x = self._step(x, grad)
        with torch.set_grad_enabled(differentiable):
            scores.append(self.base(x))
        return scores[-1] if self.last else torch.stack(scores).min(0).values

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        self.check_objective(objective)
        if objective.startswith("base"):
            return self.base.value_and_grad(x, objective=objective.partition(":")[2] or "exact")
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
                if self.bounds is not None:  # a coordinate once clipped no longer follows the image
                    moved = x - self.step_size * grad.sign()
                    free = free * (moved == moved.clamp(*self.bounds))
                x = self._step(x, grad)
        return torch.stack(scores), torch.stack(grads)

    def _reduce(self, s: Tensor, objective: str) -> tuple[Tensor, Tensor]:
        """The objective (B,) of the iterates' scores (K+1, B) and its derivative in each of them (K+1, B)."""
        if objective == "sum":
            return s.sum(0), torch.ones_like(s)
        low, k = s.min(0)
        if objective == "soft-min":
            excess = s - low
            h = excess.mean(0).clamp_min(torch.finfo(s.dtype).tiny)
            weights = (-excess / h).softmax(0)
            return (weights * s).sum(0), weights
        k = torch.full_like(k, self.steps) if self.last else k
        weights = torch.zeros_like(s).scatter_(0, k[None], 1.0)
        return s.gather(0, k[None])[0], weights

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        if objective.startswith("base"):
            return self.base.passes(objective.partition(":")[2] or "exact")
        n, (forward, backward) = self.steps + 1, self.base.passes()
        return n * forward, n * backward

    def score_passes(self) -> tuple[int, int]:
        (forward, backward), (last, _) = self.base.passes(), self.base.score_passes()
        return self.steps * forward + last, self.steps * backward


def surrogates_of(base: Detector) -> tuple[str, ...]:
    """A wrapper's objectives `base:NAME`, one for every surrogate of its base score."""
    return tuple(f"base:{name}" for name in base.objectives if name not in ("exact", "base"))


def sum_weighted(weights: Tensor, grads: Tensor) -> Tensor:
    """sum_i w_i g_i over the first dimension: weights (N, B), grads (N, B, ...) -> (B, ...)."""
    return torch.einsum("nb,nb...->b...", weights, grads)
