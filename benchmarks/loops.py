"""What the timed files share: sizes, detectors, the bare passes they are compared with, and the precision of passes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

import detectors
from attacks import ThreatModel
from detectors import ROSS, WRAPPERS, Detector, Smoothed
from roodbench.machine.prepare import Prepared
from roodbench.models import Classifier

TINY = bool(os.environ.get("ROODBENCH_TINY"))
"""A dry run: everything runs on a few images, no time means anything."""
STEPS, COPIES, SIGMA, EPS = 1 if TINY else 10, 2 if TINY else 8, 0.0125, 2 / 255
N, K = 2 if TINY else 25, 3
"""Copies of a ROSS score, steps of a PRO score."""
THREAT = ThreatModel(EPS)


def make(name: str, net: Classifier) -> Detector:
    """A detector on a prepared network that needs no fit to be timed."""
    params: dict[str, Any] = {"base": "gen"} if name in WRAPPERS else {}
    if name in WRAPPERS and issubclass(WRAPPERS[name], Smoothed):
        params |= {"copies": N, "sigma": SIGMA, "chunk": net.backbone.batch}
    detector = detectors.create(name, net, **params)
    if isinstance(detector, ROSS):
        detector.tau = -1.0
    return detector


def backward(net: Classifier, x: Tensor) -> Tensor:
    """One forward and backward pass of a network, as bare as can be."""
    z = x.detach().requires_grad_()
    (grad,) = torch.autograd.grad(net(z).sum(), z)
    return grad


def step(detector: Detector, x: Tensor, **settings: Any) -> Tensor:
    """The body of the PGD loop."""
    _, grad = detector.value_and_grad(x, **settings)
    return THREAT.project(x + EPS / 4 * THREAT.ascent(grad), x)


@contextmanager
def passes_in(precision: str, net: Classifier) -> Iterator[None]:
    """Passes of a prepared network in float32 or bfloat16."""
    backbone = net.backbone
    assert isinstance(backbone, Prepared)
    backbone.halved = precision == "bfloat16"
    try:
        yield
    finally:
        backbone.halved = False
