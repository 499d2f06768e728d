"""Is the gradient that attacks follow the score's? Numbers of the indicators that look at it on the probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from attacks import SIGN, Direction, ThreatModel
from attacks.seam import is_base
from detectors import Detector

from ..engine.worker import Worker
from .differences import Noise, agreement, beside, given, looked, value_gap

Images = dict[Direction, Tensor]
"""Of the directions that the evaluation attacks."""
OTHERS = 8
"""Images of the other population towards which every image is moved."""
INTERVALS = (8, 32)
"""Of a path; the finer ones for images that fail at the coarser: kinks cost the trapezium rule less there."""
SHARE = 1 / 3
"""Largest share of what happens on a path that its gradient may leave open."""
SPREAD = 0.05
"""Of the spread of clean scores: smaller changes reorder few images."""
OTHER: dict[Direction, Direction] = {"min": "max", "max": "min"}


def truth_of(
    worker: Worker, threat: ThreatModel, clean: Mapping[Direction, Tensor], ended: Images, spread: float
) -> dict[str, float]:
    """`value` (without noise), `finite-difference` and `line-integral` of images `ended` where an attack left them.

    `clean` are those of both populations as they were, `spread` is that of clean scores.
    """
    detector = worker.detector
    found = {}
    if not detector.randomized:
        found["value"] = max(value_gap(detector, x) for x in ended.values())
    started = {d: threat.random(clean[d], worker.stream("differences", f"start {d}", 0)) for d in ended}
    near = {d: beside(x, clean[d], threat, worker.stream("differences", f"end {d}", 0)) for d, x in ended.items()}
    found["finite-difference"] = max(untrue(worker, threat, near), untrue(worker, threat, started))
    found["line-integral"] = untold_share(worker, threat, clean, ended, spread)
    return found


def untrue(worker: Worker, threat: ThreatModel, images: Images) -> float:
    """The share of images whose gradient is not that of the score, in the worse of the populations."""
    return max(
        agreement(worker.detector, x, threat, partial(worker.stream, "differences", f"probe {d}", 0)).untrue
        for d, x in images.items()
    )


def untold_share(
    worker: Worker, threat: ThreatModel, clean: Mapping[Direction, Tensor], ended: Images, spread: float
) -> float:
    """The share of images on whose paths the gradient does not say what happens, in the worse of the populations; 0
    where that is a single image.

    The paths lead from the clean image to where the attack ended, and on towards an image of the other population.
    """
    shares = []
    for direction, x in ended.items():
        noise = partial(worker.stream, "differences", f"path {direction}", 0)
        towards = farthest(worker.detector, threat, clean[direction], clean[OTHER[direction]], noise, SIGN[direction])
        bad = torch.zeros(len(x), dtype=torch.bool)
        for start, end in ((clean[direction], x), (x, towards)):
            bad |= untold(worker.detector, start, end, noise, spread)
        shares.append(float(bad.double().mean()) if bad.sum() > 1 else 0.0)
    return max(shares)


@torch.no_grad()
def farthest(
    detector: Detector, threat: ThreatModel, x: Tensor, others: Tensor, noise: Noise, sign: Literal[-1, 1]
) -> Tensor:
    """Of the points of the balls around x nearest to `OTHERS` of the other images, the one whose score is best for the
    attack: a gate that tells the populations apart is likely to have been crossed there.
    """
    place = torch.arange(len(x), device=x.device)
    ends = torch.stack([threat.project(others[(place + k) % len(others)], x) for k in range(OTHERS)])
    scores = torch.stack([detector(end, generator=given(detector, noise)) for end in ends])
    return ends[(sign * scores).argmax(0), place]


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
