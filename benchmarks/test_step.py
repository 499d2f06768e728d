"""Time of one perturbation step through msp, pro and ross, of the peers' steps, and of the floor."""

from __future__ import annotations

import pytest
import torch

from benchmarks import peers
from benchmarks.loops import COPIES, EPS, SIGMA, backward, make, passes_in, step


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["msp", "pro", "ross"])
def test_ours(name, precision, timed, setting):
    detector = make(name, setting.fast)
    noise = {"generator": torch.Generator(setting.x.device).manual_seed(0), "objective": "mean", "draws": COPIES}
    settings = noise if name == "ross" else {}
    objective = "mean" if name == "ross" else "exact"

    def run():
        with passes_in(precision, setting.fast):
            return step(detector, setting.x, **settings)

    timed(run, precision=precision, floor=list(detector.passes(objective, COPIES)))


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_floor(precision, timed, setting):
    def run():
        with passes_in(precision, setting.fast):
            return backward(setting.fast, setting.x)

    timed(run, precision=precision)


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_plain_network(precision, timed, setting):
    """Forward and backward of the network as it comes, eager; in TF32, in which torch computes convolutions unasked."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        timed(lambda: backward(setting.plain, setting.x), precision=precision)
    finally:
        torch.backends.cudnn.allow_tf32 = before


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("peer", ["torchattacks_pgd", "foolbox_pgd"])
def test_peer(peer, timed, setting):
    timed(getattr(peers, peer)(setting.plain, setting.x, setting.y, eps=EPS, steps=1))


@pytest.mark.benchmark(group="step")
def test_peer_torchattacks_eotpgd(timed, setting):
    noisy = peers.Noisy(setting.plain, SIGMA)
    timed(peers.torchattacks_eotpgd(noisy, setting.x, setting.y, eps=EPS, steps=1, copies=COPIES))
