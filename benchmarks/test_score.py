"""Time of one score of a batch, per detector; the floor is the prepared network's own passes."""

from __future__ import annotations

import pytest
import torch

from benchmarks.loops import SIGMA, K, N, backward, make, passes_in
from benchmarks.peers import eager_pro, eager_ross
from detectors import WRAPPERS

BASES = ["msp", "ent", "gen", "ebo", "mls", "odin", "gradnorm"]
"""Those that need no fit; the others add a product with the features."""


@pytest.mark.benchmark(group="score")
@pytest.mark.parametrize("name", [*BASES, *WRAPPERS])
def test_ours(name, timed, setting):
    detector, generator = make(name, setting.fast), torch.Generator(setting.x.device)
    forward, back = detector.score_passes()

    @torch.no_grad()
    def score():
        return detector(setting.x, generator=generator.manual_seed(0) if detector.randomized else None)

    timed(score, floor=[forward, back])


@pytest.mark.benchmark(group="score")
def test_ours_pro_bfloat16(timed, setting):
    pro = make("pro", setting.fast)

    def score():
        with passes_in("bfloat16", setting.fast):
            return pro.value_and_grad(setting.x)

    timed(score, precision="bfloat16", floor=[K + 1, K + 1])


@pytest.mark.benchmark(group="score")
def test_floor_forward(timed, setting):
    timed(torch.no_grad()(lambda: setting.fast(setting.x)))


@pytest.mark.benchmark(group="score")
def test_floor_ross(timed, setting):
    """N bare forward passes."""
    timed(torch.no_grad()(lambda: [setting.fast(setting.x) for _ in range(N)]))


@pytest.mark.benchmark(group="score")
def test_floor_pro(timed, setting):
    """K + 1 forward and backward passes."""
    timed(lambda: [backward(setting.fast, setting.x) for _ in range(K + 1)])


@pytest.mark.benchmark(group="score")
def test_eager_ross(timed, setting):
    timed(lambda: eager_ross(setting.plain, setting.x, copies=N, sigma=SIGMA, tau=-1.0))


@pytest.mark.benchmark(group="score")
def test_eager_pro(timed, setting):
    timed(lambda: eager_pro(setting.plain, setting.x, steps=K, step_size=1e-4))
