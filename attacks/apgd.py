"""Auto-PGD (Croce & Hein 2020) on a detector's score: step sizes that halve when progress stalls, and momentum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .seam import Detector
from .threat import ThreatModel, check_attack
from .trace import Attacked, Recorder, better, pick, unbeaten, wide

MOMENTUM = 0.75
PROGRESS = 0.75
"""rho: the share of steps between two checkpoints that must improve."""


def apgd(
    detector: Detector,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    objective: str = "exact",
    steps: int = 100,
    restarts: int = 1,
    draws: int | None = None,
    generator: torch.Generator | None = None,
    clean: bool = True,
) -> Attacked:
    """Move images x (B, C, H, W) to a lower (`sign=-1`) or higher (`sign=+1`) `objective` within `threat`.

    z_{k+1} = P(x_k + sign a u(g_k)) and x_{k+1} = P(x_k + 0.75 (z_{k+1} - x_k) + 0.25 (x_k - x_{k-1})), u the steepest
    direction of the norm. The step a starts at 2 eps. At the checkpoints of the paper it halves, per image, where fewer
    than 3/4 of the steps since the last one improved the objective, or where neither a nor the best objective changed;
    such an image goes on from its best point. Returned is, per image, the best iterate of all `restarts` (x itself
    counts, unless `clean=False`). Randomised detectors: `draws` noisy copies per gradient, new ones in every step.
    """
    check_attack(threat, x, sign, steps=steps, restarts=restarts)
    look = Recorder(detector, objective=objective, draws=draws, generator=generator)
    best = (x, look(x)[0]) if clean else unbeaten(x, sign)
    look.begin()
    travel = x.new_zeros(())
    ends = checkpoints(steps)
    for restart in range(restarts):
        x_old = x_k = threat.random(x, generator)
        value, grad = look(x_k)
        x_best, f_best, g_best = x_k, value, grad
        size = torch.full((len(x),), 2 * threat.eps, device=x.device, dtype=x.dtype)
        halved = torch.ones(len(x), dtype=torch.bool, device=x.device)
        improved, f_checked, checked = torch.zeros_like(size), f_best, 0
        for k in range(1, steps + 1):
            travel = travel + (size.mean() if restart == 0 else 0)
            z = threat.project(x_k + sign * wide(size, x) * threat.ascent(grad), x)
            pull = 1.0 if k == 1 else MOMENTUM
            x_old, x_k = x_k, threat.project(x_k + pull * (z - x_k) + (1 - pull) * (x_k - x_old), x)
            last, (value, grad) = value, look(x_k)
            improved += sign * value > sign * last
            wins = sign * value > sign * f_best
            x_best, f_best, g_best = pick(wins, x_k, x_best), pick(wins, value, f_best), pick(wins, grad, g_best)
            if k in ends:
                stuck = (improved < PROGRESS * (k - checked)) | (~halved & (f_best == f_checked))
                size = pick(stuck, size / 2, size)
                x_k, value, grad = pick(stuck, x_best, x_k), pick(stuck, f_best, value), pick(stuck, g_best, grad)
                x_old = pick(stuck, x_best, x_old)
                halved, f_checked, checked, improved = stuck, f_best, k, torch.zeros_like(improved)
        best = better(sign, best, (x_best, f_best))
    return Attacked(*best, look.trace(travel, restarts))


def checkpoints(steps: int) -> set[int]:
    """The steps after which the step size may halve: at 22%, then at gaps that shrink by 3% to no less than 6%."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return {math.ceil(share * steps - 1e-9) for share in shares[1:] if share <= 1}
