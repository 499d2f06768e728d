"""Is the gradient that attacks follow the score's? Numbers of the indicators that look at it on the probe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from attacks import SIGN, Direction, ThreatModel
from detectors import Detector

from ..engine.worker import Worker
from .differences import Noise, agreement, beside, given, value_gap
from .paths import untold

Images = dict[Direction, Tensor]
"""Of the directions that the evaluation attacks."""
OTHERS = 8
"""Images of the other population towards which every image is moved."""
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
