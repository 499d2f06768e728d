"""Square Attack (Andriushchenko et al. 2020) on a detector's score: random search that needs no gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .noise import Queries
from .seam import Detector
from .threat import ThreatModel, check_attack
from .trace import Attacked, better, pick, wide

HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the squares' area halves, as published."""
PUBLISHED = 0.1
"""Share of the queries before any line search."""
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
    start: Tensor | None = None,
) -> Attacked:
    """Move images x (B, C, H, W) to a lower (`sign=-1`) or higher score within `threat` by `forward` alone.

    Starts from `start` (B, C, H, W), projected, where that is given and differs from the image; else from vertical
    stripes of +-eps (linf) or a grid of bumps (l2). A query changes a random square of each
    image, a share `area` of it that halves nine times, and is kept where the score improves. linf: to +-eps per
    channel. l2: to a bump that takes the norm of a second square and what is left of eps. Other than published, after a
    tenth of the queries every second change (linf) or every one (l2) is a line search along a bump (`Line`, three
    queries): corners of the ball alone miss optima inside it, and moving norm about is slow. A randomised detector is
    queried with the same noise every time, drawn from `generator` once: score the images again.
    """
    check_attack(threat, x, sign, start=start, queries=queries)
    low, high = threat.bounds
    score = Queries(detector, generator)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=x.device, dtype=x.dtype)

    n, c, h, w = x.shape
    best = (x, score(x))
    line, searched = None, False
    delta = stripes(threat, x, random)
    if start is not None:
        delta = pick((start != x).flatten(1).any(1), start - x, delta)
    for query in range(queries):
        if query and line is None:
            share = area / 2 ** sum(query / queries > at for at in HALVINGS)
            side = min(max(1, round((share * h * w) ** 0.5)), h, w)
            here = window(side, h, w, random, n)
            signs = random(n, c, 1, 1).sub(0.5).sign()
            delta = best[0] - x
            if query > PUBLISHED * queries and (threat.norm == "l2" or not searched):
                step = threat.eps * 10 ** (-2 * random(n, 1, 1, 1))
                line = Line(delta, here.sign() * signs, step, 2 * threat.eps, [sign * best[1]])
            elif threat.norm == "linf":
                delta = torch.where(here > 0, threat.eps * signs, delta)
            else:
                delta = with_norm_of(delta, here, window(side, h, w, random, n), signs, threat.eps)
        searched = line is not None
        if line is not None:
            delta = line.next()
        z = threat.project((x + delta).clamp(low, high), x)
        value = score(z)
        best = better(sign, best, (z, value))
        if line is not None:
            line = line.told(sign * value)
    return Attacked(*best, score.trace(x.dtype))


@dataclass(frozen=True)
class Line:
    """The search for a maximum of f(t), the score of delta + t direction: at t = step, at -step, then at the top.

    The top is that of the parabola through the two and f(0), or `longest` away on the better side where there is none.
    """

    delta: Tensor
    direction: Tensor
    step: Tensor
    """(B, 1, 1, 1)."""
    longest: float
    values: list[Tensor]
    """f at 0, and of what was tried."""

    def next(self) -> Tensor:
        """The change to try."""
        if len(self.values) < 3:
            return self.delta + (self.step if len(self.values) == 1 else -self.step) * self.direction
        middle, ahead, behind = self.values
        slope, bend = (ahead - behind) / 2, 2 * middle - ahead - behind
        top = torch.where(bend > 0, slope / bend, torch.inf * slope.sign()).nan_to_num(0.0)
        return self.delta + (wide(top, self.step) * self.step).clamp(-self.longest, self.longest) * self.direction

    def told(self, value: Tensor) -> Line | None:
        """The search with one more value, None where it is over."""
        return replace(self, values=[*self.values, value]) if len(self.values) < 3 else None


def stripes(threat: ThreatModel, x: Tensor, random: Random) -> Tensor:
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
    place = random(n)
    top = (place * (h - side + 1)).long().clamp_max(h - side)
    left = (random(n) * (w - side + 1)).long().clamp_max(w - side)
    rows = torch.arange(h, device=top.device) - top[:, None]
    columns = torch.arange(w, device=top.device) - left[:, None]
    shape = bump(side, place.device, place.dtype)
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    heights = shape[rows.clamp(0, side - 1)[:, :, None], columns.clamp(0, side - 1)[:, None, :]]
    return (inside * heights)[:, None]


def bump(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(side, side), positive: 1 in the middle, falling towards the edge."""
    distance = (torch.arange(side, device=device, dtype=dtype) - (side - 1) / 2).abs()
    slope = 1 - distance / (side / 2 + 0.5)
    return torch.minimum(slope[:, None], slope[None, :])


def with_norm_of(delta: Tensor, here: Tensor, there: Tensor, signs: Tensor, eps: float) -> Tensor:
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
