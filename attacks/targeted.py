"""Starts on the way to classes, from which an attack on a score goes on (multi-targeted PGD, Gowal et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import torch
from torch import Tensor

from .pgd import pgd, step_sizes
from .restarts import clean_value, copies, side_by_side
from .seam import Detector
from .threat import ThreatModel
from .trace import Attacked, Trace, unbeaten

TOWARDS = 0.4
"""The share of steps that a start makes towards its class."""


def targeted(
    detector: Detector,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    objective: str = "exact",
    steps: int = 20,
    restarts: int = 5,
    draws: int | None = None,
    generator: torch.Generator | None = None,
    keep: str = "best",
    momentum: float = 0.0,
    clean: bool = True,
    place: int = 0,
) -> Attacked:
    """`restarts` times, move images x (B, C, H, W) towards a class, then `pgd` on the score from there.

    A score has a basin per class, and a random start seldom leaves the nearest one. Start t climbs the margin
    z_c - max_{j != c} z_j of class c for 0.4 `steps` from a random point: the t-th class by the clean logits, for
    `sign=-1`, which leaves the top class, of the runners-up; after the last class the first again. `place` is that of
    the first start, t = 0 without. The other steps are pgd's. Arguments and result as those of `pgd`; a detector
    without a network's logits gets random starts and all steps. Source: arXiv 1910.09338.
    """
    net = detector.network
    order = None if net is None else classes_of(net, x)
    settings: dict[str, Any] = {"sign": sign, "objective": objective, "draws": draws, "generator": generator}
    settings |= {"keep": keep, "momentum": momentum}
    if net is None or order is None:
        return pgd(detector, x, threat, steps=steps, restarts=restarts, clean=clean, **settings)
    order, first = order[:, 1:] if sign < 0 else order, ceil(TOWARDS * steps)

    def start(restart: int) -> tuple[Tensor, Tensor]:
        return order[:, (place + restart) % order.shape[1]], threat.random(x, generator)

    def run(starts: Sequence[tuple[Tensor, Tensor]]) -> Attacked:
        wide, label = copies(x, len(starts)), torch.cat([label for label, _ in starts])
        begun = towards(net, wide, threat, label, torch.cat([z for _, z in starts]), steps=first)
        return pgd(detector, wide, threat, steps=max(1, steps - first), start=begun, clean=False, **settings)

    if keep == "last":
        found = [run([start(restart)]) for restart in range(restarts)]
        end = replace(found[-1], trace=Trace.joined([one.trace for one in found]))
    else:
        value = clean_value(detector, x, objective, draws=draws, generator=generator) if clean else None
        best = unbeaten(x, sign) if value is None else (x, value)
        end = side_by_side(detector, x, objective, sign, best, restarts, start, run)
    travel = end.trace.travel + sum(step_sizes(threat.eps, first))
    return replace(end, trace=replace(end.trace, travel=travel))


def towards(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    threat: ThreatModel,
    label: Tensor,
    z: Tensor,
    *,
    steps: int,
) -> Tensor:
    """Images within `threat` of x, from z, such as a random point, `steps` steps up the margin of class `label` (B,).

    z itself where the network lets no gradient through.
    """
    own = label[:, None]
    for size in step_sizes(threat.eps, steps):
        with torch.inference_mode(False), torch.enable_grad():
            leaf = z.clone().requires_grad_()
            try:
                logits = net(leaf)
            except torch.OutOfMemoryError:
                raise
            except Exception:  # whatever a user's network raises that runs without gradients alone
                return z
            margin = logits.gather(1, own)[:, 0] - logits.scatter(1, own, -torch.inf).amax(1)
            if not margin.requires_grad:
                return z
            (grad,) = torch.autograd.grad(margin.sum(), leaf, allow_unused=True)
        if grad is None:
            return z
        z = threat.project(z + size * threat.ascent(grad.nan_to_num()), x)
    return z


@torch.no_grad()
def classes_of(net: Callable[[Tensor], Tensor], x: Tensor) -> Tensor | None:
    """(B, K) the classes of each image by falling logit; None where the network gives no logits (B, K), K >= 2."""
    logits = net(x)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        return None
    return logits.argsort(1, descending=True)
