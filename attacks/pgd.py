"""Projected gradient descent on a detector's score (Madry et al. 2018), with expectation over transformation."""

from __future__ import annotations

import torch
from torch import Tensor

from .seam import Detector
from .threat import ThreatModel, check_attack
from .trace import Attacked, Recorder, better, unbeaten


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

    x_{k+1} = P(x_k + sign a_k u(g_k)), where u is the steepest direction of the norm (sign for linf, normalised for
    l2) and g_k the gradient at x_k, or with `momentum` mu the sum over j <= k of mu^(k-j) grad_j / norm2(grad_j). Each
    of the `restarts` begins at a uniform random point, the first at `start` (B, C, H, W), projected, if that is given.
    For a randomised detector `draws` is the number of noisy copies per gradient (EOT): every step draws new ones from
    `generator`, and momentum averages over them.

    The default steps a_k fall geometrically (`step_sizes`); a given `step_size` is kept constant. Returned is, per
    image, the iterate with the best objective over all steps and restarts (`keep="best"`; x itself counts, unless
    `clean=False`), or the last iterate of the last restart (`keep="last"`), whose objective is not computed: `values`
    are those one step before. The best of noisy values is partly luck: score the images of a randomised detector again.
    """
    check_attack(threat, x, sign, start=start, steps=steps, restarts=restarts)
    if keep not in ("best", "last"):
        raise ValueError(f"keep {keep!r}: expected 'best' or 'last'")
    if step_size is not None and not 0 < step_size < float("inf"):
        raise ValueError(f"step_size {step_size}: expected a number above 0; `sign` says which way")
    if not 0 <= momentum < float("inf"):
        raise ValueError(f"momentum {momentum}: expected a number of at least 0")
    look = Recorder(detector, objective=objective, draws=draws, generator=generator)
    best = (x, look(x)[0]) if clean and keep == "best" else unbeaten(x, sign)
    look.begin()
    sizes = [step_size] * steps if step_size is not None else step_sizes(threat.eps, steps)
    for restart in range(restarts):
        x_k = threat.random(x, generator) if start is None or restart else threat.project(start, x)
        g_k = torch.zeros_like(x)
        for k in range(steps):
            value, grad = look(x_k)
            best = better(sign, best, (x_k, value))
            g_k = momentum * g_k + threat.unit(grad) if momentum else grad
            x_k = threat.project(x_k + sign * sizes[k] * threat.ascent(g_k), x)
        if keep == "best":
            best = better(sign, best, (x_k, look(x_k)[0]))
    trace = look.trace(travel=sum(sizes), runs=restarts)
    return Attacked(*best, trace) if keep == "best" else Attacked(x_k, value, trace)


def step_sizes(eps: float, steps: int) -> list[float]:
    """Geometric from 2 eps, which crosses the ball, to 8 eps / steps^2, which settles: eps / 50 for 20 steps.

    At equal cost this is stronger than the customary constant 2.5 eps / steps, which oscillates around an interior
    optimum and, from a random start in l2, stops 1.3% short of the optimum of even a linear score
    (benchmarks/RESULTS.md has the figures on real detectors).
    """
    return [2 * eps * min(1.0, 4 / steps**2) ** (k / max(1, steps - 1)) for k in range(steps)]
