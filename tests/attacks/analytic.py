"""Detectors whose optimum is known."""

import hashlib

import numpy as np
import torch
from scipy.optimize import brentq

from detectors import Detector

SHAPE = (5, 3, 6, 6)
FREE = (-float("inf"), float("inf"))
"""Bounds that bound nothing."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def streams(name):
    """An attack's streams of randomness, by name."""
    return torch.Generator().manual_seed(int(hashlib.sha256(name.encode()).hexdigest()[:12], 16))


class Linear(Detector):
    """s(x) = <w, x>."""

    name = "linear"

    def __init__(self, w):
        super().__init__()
        self.w = w

    def forward(self, x, *, generator=None):
        return (x * self.w).flatten(1).sum(1)


class Quadratic(Detector):
    """s(x) = -|x - c|^2, with its maximum inside or outside the ball."""

    name = "quadratic"

    def __init__(self, c):
        super().__init__()
        self.c = c

    def forward(self, x, *, generator=None):
        return -((x - self.c) ** 2).flatten(1).sum(1)


class Noisy(Detector):
    """s(x) = <w, x> + noise: a randomised detector whose median is linear."""

    name = "noisy"
    randomized = True

    def __init__(self, w, sigma):
        super().__init__()
        self.w, self.sigma = w, sigma

    def forward(self, x, *, generator=None):
        noise = torch.randn(len(x), generator=generator, dtype=x.dtype, device=x.device)
        return (x * self.w).flatten(1).sum(1) + self.sigma * noise


def linear_optimum(x, w, eps, norm, low, high):
    """max <w, x'> over the ball and the bounds, image by image in float64."""
    best = []
    for image in x.double().flatten(1).numpy():
        v = w.double().flatten().numpy()
        lo, hi = low - image, high - image
        if norm == "linf":
            d = np.clip(np.sign(v) * eps, np.maximum(lo, -eps), np.minimum(hi, eps))
        else:
            d = np.clip(1e9 * v, lo, hi)
            if np.linalg.norm(d) > eps:
                t = brentq(lambda t: np.linalg.norm(np.clip(t * v, lo, hi)) - eps, 0, 1e9, xtol=1e-14, maxiter=500)  # noqa: B023
                d = np.clip(t * v, lo, hi)
        best.append(v @ (image + d))
    return torch.tensor(best)
