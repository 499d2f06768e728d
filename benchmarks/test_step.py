"""Time of one perturbation step through msp, pro and ross, of the peers' steps, and of the floor."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from attacks import ThreatModel
from benchmarks import peers
from benchmarks.conftest import COPIES, EPS, SIGMA

THREAT = ThreatModel(EPS)


def backward(net, x):
    """One forward and backward pass of a network, as bare as can be."""
    z = x.detach().requires_grad_()
    (grad,) = torch.autograd.grad(net(z).sum(), z)
    return grad


@contextmanager
def half(net):
    """bfloat16 passes of a prepared network."""
    net.backbone.halved = True
    try:
        yield
    finally:
        net.backbone.halved = False


def step(detector, x, generator=None, **settings):
    """The body of the PGD loop."""
    _, grad = detector.value_and_grad(x, generator=generator, **settings)
    return THREAT.project(x + EPS / 4 * THREAT.ascent(grad), x)


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["msp", "pro", "ross"])
def test_ours(name, precision, timed, setting):
    from benchmarks.test_score import make

    detector, generator = make(name, setting.fast), torch.Generator(setting.x.device).manual_seed(0)
    settings = {"generator": generator, "objective": "mean", "draws": COPIES} if name == "ross" else {}

    def run():
        if precision == "float32":
            return step(detector, setting.x, **settings)
        with half(setting.fast):
            return step(detector, setting.x, **settings)

    timed(run, precision=precision, floor=list(detector.passes(settings.get("objective", "exact"), COPIES)))


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_floor(precision, timed, setting):
    def run():
        if precision == "float32":
            return backward(setting.fast, setting.x)
        with half(setting.fast):
            return backward(setting.fast, setting.x)

    timed(run, precision=precision)


@pytest.mark.benchmark(group="step")
def test_plain_network(timed, setting):
    """Forward and backward of the network as it comes, eager."""
    timed(lambda: backward(setting.plain, setting.x))


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("peer", ["torchattacks_pgd", "foolbox_pgd"])
def test_peer(peer, timed, setting):
    timed(getattr(peers, peer)(setting.plain, setting.x, setting.y, eps=EPS, steps=1))


@pytest.mark.benchmark(group="step")
def test_peer_torchattacks_eotpgd(timed, setting):
    noisy = peers.Noisy(setting.plain, SIGMA)
    timed(peers.torchattacks_eotpgd(noisy, setting.x, setting.y, eps=EPS, steps=1, copies=COPIES))
