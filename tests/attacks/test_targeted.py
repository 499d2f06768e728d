"""Starts towards classes: where they go, in which order, and that pgd goes on from them."""

import importlib

import pytest
import torch

from attacks import AttackPlan, Component, Strength, ThreatModel, pgd
from attacks.components import Job
from attacks.targeted import classes_of, targeted, towards
from detectors import Detector
from tests.attacks.analytic import generator, streams

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


def labels_of_starts(monkeypatch):
    """A list to which every start will add the classes (B,) that it goes towards."""
    asked = []

    def noted(net, x, threat, label, z, **settings):
        asked.append(label)
        return towards(net, x, threat, label, z, **settings)

    monkeypatch.setattr(importlib.import_module("attacks.targeted"), "towards", noted)
    return asked


class NoisyBasins(Basins):
    randomized = True

    def forward(self, x, *, generator=None):
        return super().forward(x) + 0.01 * torch.randn(len(x), generator=generator)


@pytest.fixture
def x():
    return torch.rand(6, 1, 4, 4, generator=generator(3)) * 0.2 + 0.4


def test_a_start_raises_the_margin_of_its_class_within_the_ball(x):
    for label in range(4):
        z = towards(Logits(), x, THREAT, torch.full((6,), label), THREAT.random(x, generator()), steps=5)
        assert (Logits()(z).argmax(1) == label).all()
        assert THREAT.violation(z, x) < 1e-6


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_classes_are_taken_by_their_clean_logits(x, sign, monkeypatch):
    """Down from the top class one goes to the runners-up; after the last class the first comes again."""
    asked = labels_of_starts(monkeypatch)
    found = targeted(Basins(), x, THREAT, sign=sign, steps=10, restarts=5, generator=generator())
    order = Logits()(x).argsort(1, descending=True)
    order = order[:, 1:] if sign < 0 else order
    assert torch.equal(torch.cat(asked).view(5, 6).T, torch.cat([order, order], 1)[:, :5])  # side by side
    assert found.trace.runs == 5
    assert found.trace.values.shape == (5 * 7, 6)  # 6 of 10 steps and the last look, each time


@pytest.mark.parametrize("sign", [-1, 1])
def test_restarts_on_noise_go_to_one_class_after_the_other_too(x, sign, monkeypatch):
    """There every start is a run of its own."""

    asked = labels_of_starts(monkeypatch)
    plan = AttackPlan(THREAT, "targeted", strength=Strength(5, 3, 2))
    results, _ = Component("targeted", "exact").run(NoisyBasins(), x, plan, Job(sign, streams("noise"), x))
    order = Logits()(x).argsort(1, descending=True)
    assert len(results) == 3
    assert torch.equal(torch.stack(asked, 1), order[:, 1:] if sign < 0 else order[:, :3])


@pytest.mark.parametrize("detector", [Basins(), NoisyBasins()])
@pytest.mark.parametrize("steps", [1, 5])
def test_the_cost_counts_the_networks_own_passes(x, detector, steps):
    spent, plan = [], AttackPlan(THREAT, "targeted", strength=Strength(steps, 3, 2))
    hook = detector.net.register_forward_hook(lambda net, given, logits: spent.append(len(logits) / 6))
    _, passes = Component("targeted", "exact").run(detector, x, plan, Job(1, streams("cost"), x))
    hook.remove()
    assert passes[0] == sum(spent)


NETWORKS = {
    "all of it": lambda x: Logits()(x),
    "no gradient": lambda x: Logits()(x).detach(),
    "numpy inside": lambda x: torch.from_numpy(Logits()(x).numpy()),
    "nothing of the image": lambda x: torch.zeros(len(x), 4, requires_grad=True) * 1,
}


@pytest.mark.parametrize("outer", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("shows", NETWORKS)
def test_where_a_network_lets_no_gradient_through_the_start_stays_random(x, shows, outer):
    label = torch.zeros(6, dtype=torch.long)
    with outer():
        z = towards(NETWORKS[shows], x, THREAT, label, THREAT.random(x, generator()), steps=3)
    assert torch.equal(z, THREAT.random(x, generator())) == (shows != "all of it")
    assert THREAT.violation(z, x) < 1e-6


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
