"""Starts towards classes: where they go, in which order, and that pgd goes on from them."""

import pytest
import torch

import attacks.targeted
from attacks import ThreatModel, pgd
from attacks.targeted import classes_of, targeted, towards
from detectors import Detector
from tests.attacks.analytic import generator

THREAT = ThreatModel(0.2)


class Logits(torch.nn.Module):
    """Class k is the sum of the k-th quarter of the pixels."""

    def forward(self, x):
        return x.flatten(1).unflatten(1, (4, -1)).sum(2)


class Basins(Detector):
    """max_k z_k: every class is an optimum of its own, and gradients lead to the nearest."""

    name = "basins"

    def __init__(self):
        super().__init__()
        self.net = Logits()

    def forward(self, x, *, generator=None):
        return self.net(x).amax(1)


@pytest.fixture
def x():
    return torch.rand(6, 1, 4, 4, generator=generator(3)) * 0.2 + 0.4


def test_a_start_raises_the_margin_of_its_class_within_the_ball(x):
    for label in range(4):
        z = towards(Logits(), x, THREAT, torch.full((6,), label), steps=5, generator=generator())
        assert (Logits()(z).argmax(1) == label).all()
        assert THREAT.violation(z, x) < 1e-6


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_classes_are_taken_by_their_clean_logits(x, sign, monkeypatch):
    """Down from the top class one goes to the runners-up; after the last class the first comes again."""
    asked = []

    def noted(net, x, threat, label, **settings):
        asked.append(label)
        return towards(net, x, threat, label, **settings)

    monkeypatch.setattr(attacks.targeted, "towards", noted)
    found = targeted(Basins(), x, THREAT, sign=sign, steps=10, restarts=5, generator=generator())
    order = Logits()(x).argsort(1, descending=True)
    order = order[:, 1:] if sign < 0 else order
    assert torch.equal(torch.stack(asked, 1), torch.cat([order, order], 1)[:, :5])
    assert found.trace.runs == 5
    assert found.trace.values.shape == (5 * 7, 6)  # 6 of 10 steps and the last look, each time


def test_the_best_start_is_kept(x):
    """At most as good as the optimum: the best class's quarter, each pixel 0.2 brighter."""
    found = targeted(Basins(), x, THREAT, sign=1, steps=20, restarts=4, generator=generator())
    torch.testing.assert_close(found.values, Logits()(x).amax(1) + 4 * 0.2, atol=2e-3, rtol=0)
    torch.testing.assert_close(Basins()(found.images), found.values)


@pytest.mark.parametrize("net", [None, torch.nn.Identity()])
def test_without_logits_starts_are_random(x, net):
    """No network is shown, or one whose output is no (B, K)."""

    class Other(Basins):
        network = net

    assert net is None or classes_of(net, x) is None
    settings = {"sign": 1, "steps": 5, "restarts": 3}
    found = targeted(Other(), x, THREAT, generator=generator(), **settings)
    assert torch.equal(found.images, pgd(Other(), x, THREAT, generator=generator(), **settings).images)
