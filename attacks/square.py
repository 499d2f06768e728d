"""Square Attack (Andriushchenko et al. 2020) on a detector's score: random search that needs no gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .noise import same_noise
from .pgd import Attacked, Trace, better
from .threat import Detector, ThreatModel

HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the squares' area halves, as published."""
LOCAL = {"linf": 4, "l2": 2}
"""One query in so many refines a square; the others are the published ones, which see corners of the ball only. In l2,
where these only move norm about, all refine after a fifth of the queries (benchmarks/RESULTS.md)."""


Random = Callable[..., Tensor]
"""Uniform numbers of a shape."""


@torch.no_grad()
def square(
    detector: Detector,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    queries: int = 500,
    area: float = 0.8,
    generator: torch.Generator | None = None,
) -> Attacked:
    """Move images x (B, C, H, W) to a lower (`sign=-1`) or higher score within `threat` by `forward` alone.

    Starts from vertical stripes of +-eps (linf) or a grid of bumps (l2). A query changes a random square of each
    image, a share `area` of it that halves nine times, and is kept where the score improves. linf: to +-eps per
    channel. l2: to a bump that takes the norm of a second square and what is left of eps. Other than published, some
    queries add a bump of random height instead: corners of the ball alone miss optima inside it. A randomised
    detector is queried with the same noise every time, drawn from `generator` once: score the images again.
    """
    if queries < 1:
        raise ValueError(f"queries {queries}: expected at least 1")
    low, high = threat.bounds
    score = same_noise(detector, generator)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=x.device, dtype=x.dtype)

    n, c, h, w = x.shape
    best = (x, score(x))
    visited = []
    delta = start(threat, x, random)
    for query in range(queries):
        if query:
            share = area / 2 ** sum(query / queries > at for at in HALVINGS)
            side = min(max(1, round((share * h * w) ** 0.5)), h, w)
            delta = best[0] - x
            here = window(side, h, w, random, n)
            signs = random(n, c, 1, 1).sub(0.5).sign()
            if query % LOCAL[threat.norm] == 0 or (threat.norm == "l2" and query > queries / 5):
                height = threat.eps * 10 ** (-3 * random(n, 1, 1, 1))
                delta = delta + here.sign() * signs * height
            elif threat.norm == "linf":
                delta = torch.where(here > 0, threat.eps * signs, delta)
            else:
                delta = moved(delta, here, window(side, h, w, random, n), signs, threat.eps)
        z = threat.project((x + delta).clamp(low, high), x)
        visited.append(score(z))
        best = better(sign, best, (z, visited[-1]))
    return Attacked(*best, Trace(torch.stack(visited), 0.0, torch.zeros(n, dtype=torch.bool, device=x.device)))


def start(threat: ThreatModel, x: Tensor, random: Random) -> Tensor:
    """The first change: stripes of +-eps (linf), or a grid of bumps of random sign with norm eps (l2)."""
    n, c, h, w = x.shape
    if threat.norm == "linf":
        return threat.eps * random(n, c, 1, w).sub(0.5).sign().expand_as(x)
    side = max(1, h // 5)
    tile = bump(side, x.device, x.dtype)
    grid = tile.repeat(-(-h // side), -(-w // side))[:h, :w]
    signs = random(n, c, -(-h // side), -(-w // side)).sub(0.5).sign()
    signs = signs.repeat_interleave(side, 2).repeat_interleave(side, 3)[:, :, :h, :w]
    return threat.eps * threat.unit(grid * signs)


def window(side: int, h: int, w: int, random: Random, n: int) -> Tensor:
    """(n, 1, h, w): a bump of height 1 on a random square of this side, 0 elsewhere, one place per image."""
    top = (random(n) * (h - side + 1)).long().clamp_max(h - side)
    left = (random(n) * (w - side + 1)).long().clamp_max(w - side)
    rows = torch.arange(h, device=top.device) - top[:, None]
    columns = torch.arange(w, device=top.device) - left[:, None]
    shape = bump(side, top.device, torch.get_default_dtype())
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    heights = shape[rows.clamp(0, side - 1)[:, :, None], columns.clamp(0, side - 1)[:, None, :]]
    return (inside * heights)[:, None]


def bump(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(side, side), positive: 1 in the middle, falling towards the edge."""
    distance = (torch.arange(side, device=device, dtype=dtype) - (side - 1) / 2).abs()
    slope = 1 - distance / (side / 2 + 0.5)
    return torch.minimum(slope[:, None], slope[None, :])


def moved(delta: Tensor, here: Tensor, there: Tensor, signs: Tensor, eps: float) -> Tensor:
    """An l2 change whose square `there` gives its norm, and with it what is left of eps, to a bump in `here`."""

    def norm2(d: Tensor) -> Tensor:
        return d.square().sum((1, 2, 3), keepdim=True)

    tiny = torch.finfo(delta.dtype).tiny
    inside = here > 0
    outside = torch.where(inside | (there > 0), 0, delta)
    budget = (eps**2 - norm2(outside)).clamp_min(0)
    old = torch.where(inside, delta, 0)
    new = signs * here.to(delta.dtype)
    direction = new / norm2(new).sqrt().clamp_min(tiny) + old / norm2(old).sqrt().clamp_min(tiny)
    return outside + direction * (budget.sqrt() / norm2(direction).sqrt().clamp_min(tiny))
