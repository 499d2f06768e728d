"""Published evaluation protocols as settings of a run, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detectors import GEN, Classifier, Detector

PROTOCOLS: dict[str, dict[str, Any]] = {
    "roodbench": {},
    "ross-2026": {
        "space": "normalized",
        "method": "transfer",
        "steps": 40,
        "restarts": 1,
        "step": 0.01 / 0.3,
        "keep": "last",
        "norm": "linf",
        "threat": "fresh",
        "strength": "quick",
    },
    "pro-2025": {"attack": "none", "search": True},
}
"""Settings that a protocol fixes. roodbench: none. pro-2025: clean evaluation with parameters searched (APS)."""
PARAMS: dict[str, dict[str, Any]] = {
    "ross-2026": {"sigma": 0.05, "copies": 25, "gain": 0.01, "distance_to_mean": False},
}
"""Parameters of ROSS and fDBD, in normalised space, unless others are given."""
EPS = {"ross-2026": (8 / 255,)}


def faults_of(protocol: str, eps: float | None, eps_pixel: float | None) -> list[str]:
    """What an expert would object to a protocol's numbers, for the report."""
    if protocol != "ross-2026" or eps is None or eps_pixel is None:
        return []
    return [
        f"ross-2026: epsilon {255 * eps:.3g}/255 in normalised space is {255 * eps_pixel:.2g}/255 in pixels, "
        "and images may leave [0, 1]",
        "ross-2026: the attack sees the base score alone (transfer), not the detector that is reported",
        "ross-2026: 40 steps of epsilon / 30 travel 1.33 epsilon from one random start (2 would cross the ball), "
        "and the last iterate is kept, not the best",
        "ross-2026: over gen, images whose float32 softmax is 1 get no step: the published gradient is NaN there",
    ]


class PublishedGradients:
    """A detector as the published attack saw it: GEN's gradient was NaN, so no step, where float32 softmax is 1."""

    def __init__(self, detector: Detector, base: Detector, net: Classifier) -> None:
        self.detector, self.net, self.masks = detector, net, isinstance(base, GEN)
        self.randomized, self.objectives = detector.randomized, detector.objectives
        self.score_passes = detector.score_passes

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        forward, backward = self.detector.passes(objective, draws)
        return forward + self.masks, backward

    def __call__(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.detector(x, generator=generator) if self.randomized else self.detector(x)

    def value_and_grad(self, x: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
        value, grad = self.detector.value_and_grad(x, **settings)
        if self.masks:
            with torch.no_grad():
                saturated = self.net(x).softmax(1).amax(1) == 1
            grad = torch.where(saturated.view(-1, *[1] * (x.ndim - 1)), 0, grad)
        return value, grad
