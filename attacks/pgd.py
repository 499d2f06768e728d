"""Projected gradient descent on a detector's score (Madry et al. 2018), with expectation over transformation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .threat import Detector, ThreatModel, check_visited, finite


@dataclass(frozen=True)
class Attacked:
    """The result of one attack on a batch: images like x, their objective (B,), and what happened on the way."""

    images: Tensor
    values: Tensor
    trace: Trace


@dataclass(frozen=True)
class Trace:
    """The objective of every visited iterate, the sum of step sizes, and the images whose start had no gradient."""

    values: Tensor
    """(restarts * (steps + 1), B); (restarts * steps, B) where the last iterate is kept, which nobody looks at."""
    travel: float
    zero_gradient: Tensor
    """(B,): whether the gradient at the first start is exactly zero; NaN where a suite did not run it."""


def pgd(
    detector: Detector,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    objective: str = "exact",
    steps: int = 20,
    restarts: int = 1,
    draws: int | None = None,
    generator: torch.Generator | None = None,
    start: Tensor | None = None,
    step_size: float | None = None,
    momentum: float = 0.0,
    keep: str = "best",
    clean: bool = True,
) -> Attacked:
    """Move images x (B, C, H, W) to a lower (`sign=-1`) or higher (`sign=+1`) `objective` within `threat`.

    x_{k+1} = P(x_k + sign a_k u(g_k)), u the steepest direction of the norm (sign for linf, normalised for l2), from a
    uniform random start, `restarts` times, the first time from `start` (B, C, H, W), projected, if given; g_k is the
    gradient, with `momentum` mu the sum of mu^(k-j) grad_j / norm2(grad_j) over the steps j so far. `draws` is the
    number of noisy copies per gradient of a randomised detector (EOT); every step draws new ones from `generator`,
    which momentum averages over.

    The default steps a_k fall geometrically (`step_sizes`); a given `step_size` is kept constant. Returned is, per
    image, the iterate with the best objective over all steps and restarts (`keep="best"`; x itself counts, unless
    `clean=False`), or the last iterate of the last restart (`keep="last"`), whose objective is not computed: `values`
    are those one step before. The best of noisy values is partly luck: score the images of a randomised detector again.
    """
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps {steps}, restarts {restarts}: expected at least 1 of each")
    if sign not in (-1, 1):
        raise ValueError(f"sign {sign}: expected -1 (lower the score) or 1 (raise it)")
    if start is not None and start.shape != x.shape:
        raise ValueError(f"start of shape {tuple(start.shape)}: expected that of the images, {tuple(x.shape)}")
    if keep not in ("best", "last"):
        raise ValueError(f"keep {keep!r}: expected 'best' or 'last'")
    values: list[Tensor] = []
    good: list[Tensor] = []

    def look(z: Tensor) -> tuple[Tensor, Tensor]:
        value, grad = detector.value_and_grad(z, objective=objective, draws=draws, generator=generator)
        values.append(value)
        good.append(finite(value, grad))
        return value, grad

    best, best_value = x, torch.full((len(x),), -sign * torch.inf, device=x.device, dtype=x.dtype)
    if clean and keep == "best":
        best_value = look(x)[0]
    before = len(values)
    sizes = [step_size] * steps if step_size is not None else step_sizes(threat.eps, steps)
    for restart in range(restarts):
        x_k = threat.random(x, generator) if start is None or restart else threat.project(start, x)
        g_k = torch.zeros_like(x)
        for k in range(steps):
            value, grad = look(x_k)
            if restart == k == 0:
                zero_gradient = (grad.flatten(1) == 0).all(1)
            best, best_value = better(sign, (best, best_value), (x_k, value))
            g_k = momentum * g_k + threat.unit(grad) if momentum else grad
            x_k = threat.project(x_k + sign * sizes[k] * threat.ascent(g_k), x)
        if keep == "best":
            best, best_value = better(sign, (best, best_value), (x_k, look(x_k)[0]))
    check_visited(torch.stack(values), torch.stack(good))  # once, at the end: a GPU need not wait in every step
    trace = Trace(torch.stack(values[before:]), sum(sizes), zero_gradient)
    return Attacked(best, best_value, trace) if keep == "best" else Attacked(x_k, value, trace)


def better(sign: int, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Per image, the (image, value) with the lower (`sign=-1`) or higher value; the old one on a tie."""
    wins = sign * new[1] > sign * old[1]
    return torch.where(wide(wins, old[0]), new[0], old[0]), torch.where(wins, new[1], old[1])


def wide(per_image: Tensor, x: Tensor) -> Tensor:
    """(B,) as (B, 1, ..., 1), to be multiplied with x."""
    return per_image.view(-1, *[1] * (x.ndim - 1))


def step_sizes(eps: float, steps: int) -> list[float]:
    """Geometric from 2 eps, which crosses the ball, to 8 eps / steps^2, which settles: eps / 50 for 20 steps.

    At equal cost this is stronger than the customary constant 2.5 eps / steps, which oscillates around an interior
    optimum and, from a random start in l2, stops 1.3% short of the optimum of even a linear score
    (benchmarks/RESULTS.md has the figures on real detectors).
    """
    return [2 * eps * min(1.0, 4 / steps**2) ** (k / max(1, steps - 1)) for k in range(steps)]
