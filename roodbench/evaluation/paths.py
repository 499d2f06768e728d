"""Does a score change along a path by what its gradient says? Gates and jumps, which no small step meets, show here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from attacks.seam import is_base
from detectors import Detector

from .differences import Noise, looked

INTERVALS = (8, 32)
"""Of a path; the finer ones for images that fail at the coarser: kinks cost the trapezium rule less there."""
SHARE = 1 / 3
"""Largest share of what happens on a path that its gradient may leave open."""
SPREAD = 0.05
"""Of the spread of clean scores: smaller changes reorder few images."""


@dataclass(frozen=True)
class Walk:
    """What happens to B images on straight paths, in n intervals (n, B)."""

    changes: Tensor
    """Of the score."""
    predicted: Tensor
    """By the integral of its gradient, the trapezium rule in every interval."""

    def untold(self, spread: float) -> Tensor:
        """(B,) bool: whether the gradient leaves open, net, more than `SHARE` of what happens on an image's path and
        `SPREAD` of `spread`.
        """
        left = (self.changes - self.predicted).sum(0).abs()
        happens = torch.maximum(self.changes.abs().sum(0), self.predicted.abs().sum(0))
        return (left > SHARE * happens) & (left > SPREAD * spread)


def untold(detector: Detector, start: Tensor, end: Tensor, noise: Noise, spread: float) -> Tensor:
    """(B,) bool: whether something happens on the way from images `start` (B, C, H, W) straight to `end` that the
    gradient does not say, in as many intervals as there are, nor that of a surrogate, which may know of jumps.
    """
    bad = torch.ones(len(start), dtype=torch.bool)
    own = ["exact"] if detector.randomized else [name for name in detector.objectives if not is_base(name)]
    for objective, intervals in product(own, INTERVALS):
        which = bad.nonzero().flatten()
        path = walk(detector, start[which.to(start.device)], end[which.to(end.device)], noise, intervals, objective)
        bad[which] = path.untold(spread)
        if not bad.any():
            break
    return bad


def walk(
    detector: Detector, start: Tensor, end: Tensor, noise: Noise, intervals: int, objective: str = "exact"
) -> Walk:
    """From images `start` (B, C, H, W) straight to `end`: s(x_i+1) - s(x_i), and (x_i+1 - x_i) . (g_i + g_i+1) / 2.

    All on the same noise. The two agree where g is the gradient of a score s without jumps, up to the curvature of s,
    or the gradient of a surrogate that changes as s does.
    """
    scores, slopes = [], []
    for i in range(intervals + 1):
        x = start + (end - start) * (i / intervals)
        score, grad, _ = looked(detector, x, noise, objective)
        scores.append(score.double())
        slopes.append((grad.double() * (end - start).double()).flatten(1).sum(1))
    s, g = torch.stack(scores), torch.stack(slopes)
    return Walk(s.diff(dim=0).cpu(), ((g[1:] + g[:-1]) / (2 * intervals)).cpu())
