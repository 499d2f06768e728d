"""Time of whole attack loops of the same steps and copies: ours, the peers', and the floor."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import attacks
from benchmarks import peers
from benchmarks.loops import COPIES, EPS, SIGMA, STEPS, THREAT, backward, make, passes_in

LOOPS: dict[str, dict[str, Any]] = {
    "msp": {"keep": "last"},
    "pro": {"keep": "last"},
    "ross": {"keep": "last", "objective": "mean", "draws": COPIES, "momentum": attacks.MOMENTUM},
}


@pytest.mark.benchmark(group="attack")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(LOOPS))
def test_ours(name, precision, timed, setting):
    detector, settings = make(name, setting.fast), LOOPS[name]

    def run():
        generator = torch.Generator(setting.x.device).manual_seed(0)
        with passes_in(precision, setting.fast):
            return attacks.pgd(detector, setting.x, THREAT, sign=-1, steps=STEPS, generator=generator, **settings)

    passes = detector.passes(settings.get("objective", "exact"), COPIES)
    timed(run, precision=precision, steps=STEPS, copies=COPIES, floor=[STEPS * n for n in passes])


@pytest.mark.benchmark(group="attack")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "passes"), [("msp", STEPS), ("pro", 4 * STEPS), ("ross", COPIES * STEPS)])
def test_floor(name, passes, precision, timed, setting):
    def run():
        with passes_in(precision, setting.fast):
            return [backward(setting.fast, setting.x) for _ in range(passes)]

    timed(run, precision=precision, steps=STEPS)


@pytest.mark.benchmark(group="attack")
@pytest.mark.parametrize("peer", ["torchattacks_pgd", "foolbox_pgd", "pyautoattack_apgd"])
def test_peer(peer, timed, setting):
    timed(getattr(peers, peer)(setting.plain, setting.x, setting.y, eps=EPS, steps=STEPS), steps=STEPS)


@pytest.mark.benchmark(group="attack")
def test_peer_torchattacks_eotpgd(timed, setting):
    noisy = peers.Noisy(setting.plain, SIGMA)
    attack = peers.torchattacks_eotpgd(noisy, setting.x, setting.y, eps=EPS, steps=STEPS, copies=COPIES)
    timed(attack, steps=STEPS, copies=COPIES)
