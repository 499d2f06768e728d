"""Bounds on a network's logits within an linf ball, and on the scores that are made of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, fx, nn

from detectors import EBO, Score
from detectors.care import in_eval

from ...models import Classifier
from ...models.classifier import Backbone
from .layers import Bounded
from .reach import FINE, UNIT, Reach, UnboundedError, box, linear


class Logits(NamedTuple):
    """Of n images and K classes."""

    lower: np.ndarray
    upper: np.ndarray
    """(n, K): each logit lies between them."""
    ahead_lower: np.ndarray
    ahead_upper: np.ndarray
    """(n, K, K): so does the difference of logits, z_j - z_k at [j, k]."""


class Whole(nn.Module):
    """A classifier in one piece, as it can be traced."""

    def __init__(self, net: Classifier) -> None:
        super().__init__()
        self.backbone, self.mean, self.std = net.backbone, net.mean, net.std

    def forward(self, x: Tensor) -> Tensor:
        backbone = cast(Backbone, self.backbone)
        return backbone.head(backbone.features((x - self.mean) / self.std))


class Bounds:
    """Bounds of one network's logits, computed in float64 on the CPU.

    ValueError for a network that cannot be traced or has a layer without a rule.
    """

    def __init__(self, net: Classifier) -> None:
        whole, self.name = Whole(copy.deepcopy(net).cpu()), net.name
        try:
            with in_eval(whole):
                self.graph = fx.symbolic_trace(whole)
        except Exception as error:  # control flow that depends on data: whatever the network's own code raises
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"interval bounds: network {self.name} cannot be traced ({reason})") from None

    @torch.no_grad()
    def logits(self, images: Tensor, radius: float) -> Iterator[Logits]:
        """Of every image (n, C, H, W) alone, moved by at most `radius` in each pixel of [0, 1].

        A moved image is rounded to float32 as an adversary has it.
        """
        eps = radius + 2 * UNIT if radius else 0.0
        for x in images.double().split(1):
            given = box((x - eps).clamp_min(0), (x + eps).clamp_max(1)) if radius else box(x, x)
            try:
                z = Bounded(self.graph).run(given)
            except UnboundedError as error:
                raise ValueError(f"network {self.name}: {error.said}") from None
            yield logits_in(z)


def logits_in(z: Reach) -> Logits:
    """Bounds of the logits in a set, and of their differences."""
    classes = z.shape[1]
    one = torch.eye(classes, dtype=torch.float64)
    apart = (one[:, None] - one[None]).view(-1, classes)  # e_j - e_k
    between = linear(z, lambda h: h @ apart.T, lambda h: h @ apart.abs().T)
    between = between.wider(FINE * (z.largest @ apart.abs().T))
    ahead = [side.view(1, classes, classes).numpy() for side in (between.lower, between.upper)]
    for side in ahead:
        side[:, range(classes), range(classes)] = 0.0
    return Logits(z.lower.numpy(), z.upper.numpy(), *ahead)


def joined(parts: list[Logits]) -> Logits:
    """The bounds of several sets of images, one after the other."""
    return Logits(*(np.concatenate(sides) for sides in zip(*parts, strict=True)))


def of_mls(detector: Score, z: Logits) -> tuple[np.ndarray, np.ndarray]:
    return z.lower.max(1), z.upper.max(1)


def of_msp(detector: Score, z: Logits) -> tuple[np.ndarray, np.ndarray]:
    """p_k = 1 / sum_j exp(z_j - z_k), of the largest."""
    lower, upper = (np.exp(-summed(side)).max(1) for side in (z.ahead_upper, z.ahead_lower))
    rounding = roundings(z)
    return lower * (1 - rounding), np.minimum(1.0, upper * (1 + rounding))


def of_ebo(detector: Score, z: Logits) -> tuple[np.ndarray, np.ndarray]:
    """T log sum_j exp(z_j / T) = z_k + T log sum_j exp((z_j - z_k) / T), of every k."""
    T = cast(EBO, detector).temperature
    lower = np.maximum(T * summed(z.lower / T), (z.lower + T * summed(z.ahead_lower / T)).max(1))
    upper = np.minimum(T * summed(z.upper / T), (z.upper + T * summed(z.ahead_upper / T)).min(1))
    largest = np.maximum(np.abs(z.lower), np.abs(z.upper)).max(1)
    rounding = roundings(z) * (largest + T * (1 + np.log(z.lower.shape[1])))
    return lower - rounding, upper + rounding


def summed(exponents: np.ndarray) -> np.ndarray:
    """log sum_j exp(a_j) over the second dimension."""
    most = exponents.max(1, keepdims=True)
    return (most + np.log(np.exp(exponents - most).sum(1, keepdims=True)))[:, 0]


def roundings(z: Logits) -> float:
    """Relative error of a softmax or logsumexp in float32, whose exp and log are wrong by a few units at most."""
    return 2 * UNIT * (z.lower.shape[1] + 32)


SCORES: dict[str, Callable[[Any, Logits], tuple[np.ndarray, np.ndarray]]] = {
    "msp": of_msp,
    "mls": of_mls,
    "ebo": of_ebo,
}
"""By score, its lower and upper bounds (n,) from those of the logits."""
