"""Interval bounds: no image of the ball has a score outside of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import detectors
from attacks import ThreatModel
from detectors.detector import autograd
from roodbench.certify.interval.logits import SCORES, Bounds, joined
from roodbench.models import Classifier
from roodbench.models.head import Body


class Layers(nn.Module):
    """A little of all that there is a rule for: two branches, both with a ReLU, that are subtracted, and a pooling."""

    def __init__(self, pool, norm):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 3, 3, 1, 1), nn.BatchNorm2d(3) if norm else nn.Identity()
        self.one, self.other = nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.Conv2d(3, 4, 1, 2)
        self.pool, self.hidden, self.head = pool, nn.Linear(16, 8), nn.Linear(8, 3)

    def features(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = torch.relu(self.one(x)) - 0.5 * self.other(F.pad(x[:, :, :4], (0, 0, 0, 1))[..., :4, :]).relu()
        return F.relu(self.hidden(self.pool(x).flatten(1)))


def network(seed=0, pool=None, norm=True, scale=2.0):
    """An untrained network with large weights, on images (1, 4, 4)."""
    torch.manual_seed(seed)
    net = Layers(nn.Identity() if pool is None else pool, norm)
    for parameter in net.parameters():
        parameter.data = scale * torch.randn(parameter.shape) / max(1, parameter[0].numel()) ** 0.5
    if norm:
        net.norm.running_mean, net.norm.running_var = torch.randn(3), torch.rand(3) + 0.2
    return Classifier(net.eval(), [0.4], [0.3], name="layers").requires_grad_(False)


def bounds_of(net, x, radius, name, **params):
    detector = detectors.create(name, net, **params)
    return detector, SCORES[name](detector, joined(list(Bounds(net).logits(x, radius))))


def attacked(detector, x, radius, sign, steps):
    """PGD on the score from a random corner."""
    threat = ThreatModel(radius)
    z = threat.project(x + radius * torch.randn(x.shape).sign(), x)
    for _ in range(steps):
        z = threat.project(z + sign * radius / 3 * autograd(detector, z)[1].sign(), x)
    return z


CASES = {
    "seed": st.integers(0, 10**6),
    "radius": st.sampled_from([0.0, 1 / 255, 0.03, 0.2]),
    "name": st.sampled_from(sorted(SCORES)),
    "pool": st.sampled_from([None, nn.AvgPool2d(2, 1, 1, count_include_pad=False), nn.MaxPool2d(2, 1, 1)]),
    "norm": st.booleans(),
    "scale": st.sampled_from([0.3, 2.0, 6.0]),
}


@settings(max_examples=6, deadline=None)
@given(**CASES)
def test_no_attack_crosses_the_bounds(seed, radius, name, pool, norm, scale):
    crosses_nothing(seed, radius, name, pool, norm, scale, steps=4)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(**CASES)
def test_no_attack_crosses_the_bounds_of_many_networks(seed, radius, name, pool, norm, scale):
    crosses_nothing(seed, radius, name, pool, norm, scale, steps=20)


def crosses_nothing(seed, radius, name, pool, norm, scale, steps):
    """Neither images as they are, nor random corners of their boxes, nor what PGD makes of them in both directions."""
    net = network(seed, None, norm, scale)
    if pool is not None:
        net.backbone.pool, net.backbone.hidden = pool, nn.Linear(36, 8)
    x = torch.rand(2, 1, 4, 4)
    detector, (lower, upper) = bounds_of(net, x, radius, name)
    corners = [(x + radius * torch.randn(x.shape).sign()).clamp(0, 1) for _ in range(4)]
    for z in (x, *corners, *(attacked(detector, x, radius, sign, steps) for sign in (-1, 1) if radius)):
        found = detector(z).detach().double().numpy()
        assert (lower <= found).all()
        assert (found <= upper).all()


@pytest.mark.parametrize("name", SCORES)
def test_without_a_radius_only_rounding_is_left(name):
    net, x = network(), torch.rand(4, 1, 4, 4)
    detector, (lower, upper) = bounds_of(net, x, 0.0, name)
    found = detector(x).double().numpy()
    assert (upper - lower < 1e-3 * np.maximum(1, np.abs(found))).all()


def test_a_linear_network_has_the_bounds_of_closed_form():
    """max of w'x over a box inside [0, 1] is w'x + eps |w|_1."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    net = Classifier(Body(body[0], body[1], "", None, "bilinear", hooked=False), [0.0], [1.0], name="linear")
    x = torch.full((1, 1, 2, 2), 0.5)
    (z,) = Bounds(net.requires_grad_(False)).logits(x, 0.1)
    w = body[1].weight.detach().double().numpy()
    assert z.upper[0] == pytest.approx(0.5 * w.sum(1) + 0.1 * np.abs(w).sum(1), abs=1e-6)
    assert z.ahead_upper[0, 0, 1] == pytest.approx(
        0.5 * (w[0] - w[1]).sum() + 0.1 * np.abs(w[0] - w[1]).sum(), abs=1e-6
    )


class Changed(Layers):
    def __init__(self, layer):
        super().__init__(layer, norm=False)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.Sigmoid(), r"no rule for backbone.pool \(Sigmoid\)"),
        (nn.GELU(), r"no rule for backbone.pool \(GELU\)"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), r"no rule for backbone.pool \(Conv2d\)"),
    ],
)
def test_a_layer_without_a_rule_is_named(layer, said):
    net = Classifier(Changed(layer).eval(), [0.0], [1.0], name="odd").requires_grad_(False)
    with pytest.raises(ValueError, match=f"network odd: interval bounds have {said}: expected layers of Linear"):
        list(Bounds(net).logits(torch.rand(1, 1, 4, 4), 0.01))


def test_a_hook_is_no_rule():
    net = network()
    net.backbone.one.register_forward_hook(lambda layer, given, out: 2 * out)
    with pytest.raises(ValueError, match=r"no rule for backbone.one \(Conv2d\)"):
        list(Bounds(net).logits(torch.rand(1, 1, 4, 4), 0.01))


def test_functions_without_a_rule_and_control_flow_are_refused_in_a_line():
    class Squared(Layers):
        def features(self, x):
            return super().features(x * x)

    class Branching(Layers):
        def features(self, x):
            return super().features(x if x.sum() > 0 else -x)

    for kind, said in ((Squared, r"no rule for mul \(mul\)"), (Branching, "cannot be traced")):
        net = Classifier(kind(nn.Identity(), norm=False).eval(), [0.0], [1.0], name="odd").requires_grad_(False)
        with pytest.raises(ValueError, match=said):
            list(Bounds(net).logits(torch.rand(1, 1, 4, 4), 0.01))
