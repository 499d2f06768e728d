"""Time of a certification: noisy scores against N bare forward passes, and bounds of 10^4 images from 10^4 scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import detectors
from benchmarks.loops import SIGMA, TINY
from detectors import Median
from roodbench.certify.sampling import noisy_scores, sampler_of
from roodbench.data import ImageSet
from roodbench.engine.worker import Worker
from roodbench.metrics.bounds import median_bounds, ross_bounds, ross_q_bounds
from roodbench.metrics.gain import Gain

N = 32


@pytest.mark.benchmark(group="certify")
@pytest.mark.parametrize("base", ["msp", "gen"])
def test_ours(base, timed, setting):
    net = setting.fast
    images = ImageSet("images", "ID test", setting.y.cpu().numpy(), setting.x.cpu().numpy)
    sampler = sampler_of(Median(detectors.create(base, net), copies=1, sigma=SIGMA, chunk=net.backbone.batch))
    worker = Worker(sampler, device=setting.x.device)
    timed(lambda: noisy_scores(worker, images, N), floor=[N, 0])


@pytest.mark.benchmark(group="certify")
def test_floor(timed, setting):
    """N bare forward passes."""
    timed(torch.no_grad()(lambda: [setting.fast(setting.x) for _ in range(N)]))


@pytest.mark.benchmark(group="bounds")
@pytest.mark.parametrize("name", ["sort", "median", "ross", "ross-q"])
def test_bounds(name, timed):
    """Of 10^4 images from 10^4 scores each; `sort` is what comes before them."""
    n = 100 if TINY else 10**4
    y = np.random.default_rng(0).random((n, n), dtype=np.float32)
    ordered, gain = np.sort(y, axis=1), Gain(0.3)
    run = {
        "sort": lambda: np.sort(y, axis=1),
        "median": lambda: median_bounds(ordered, 1.0, 1e-6, (0.0, 1.0)),
        "ross": lambda: ross_bounds(ordered, 1.0, 1e-6, gain, (0.0, 1.0)),
        "ross-q": lambda: ross_q_bounds(ordered, 1.0, 1e-6, gain, (0.0, 1.0)),
    }
    timed(run[name])
