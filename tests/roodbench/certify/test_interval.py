"""Interval bounds: no image of the ball has a score outside of them, and their certificate can be computed again."""

import copy
import json

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
from roodbench import cli
from roodbench.certify.certificate import read
from roodbench.certify.interval.config import IntervalConfig
from roodbench.certify.interval.logits import SCORES, Bounds, joined
from roodbench.certify.interval.run import certify_intervals
from roodbench.certify.interval.verifier import verify_intervals
from roodbench.models import Classifier
from roodbench.models.head import Body
from roodbench.setup.config import RunConfig

RADIUS = 4 / 255


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


SMALL = IntervalConfig(
    RunConfig(detector=("ebo", "msp"), ood=("unseen-digits",), limit=4, steps=2, device="cpu", compile="off"), (RADIUS,)
)


@pytest.fixture(scope="module")
def made(tmp_path_factory, private_cache):
    return certify_intervals(SMALL, out=tmp_path_factory.mktemp("runs"))


def test_certified_is_below_attacked_below_clean(made):
    result, _ = made
    assert len(result.rows) == 2 * 3
    for row in result.rows:
        assert row.gauroc - 1e-12 <= row.auroc_attacked <= row.auroc_clean
        assert row.method.startswith("interval")
    assert max(row.gauroc for row in result.rows) > 0.5
    assert "4/255" in result.to_table()


def test_an_honest_certificate_holds(made):
    verdict = verify_intervals(read(made[1]))
    assert verdict.failures == []
    assert verdict.bounds == 2 * 8 * 2 * 2


def better(certificate):
    entry = certificate["detectors"][0]["populations"]["digits"]["bounds"][f"{RADIUS:.9g}"]
    entry["lower"][3] += 0.01


def hardly_better(certificate):
    entry = certificate["detectors"][1]["populations"]["unseen-digits"]["bounds"]["0"]
    entry["upper"] = [value - 1e-7 for value in entry["upper"]]


def improved(certificate):
    for row in certificate["gauroc"]:
        row["gfpr95"] -= 0.01


def swapped(certificate):
    for entry in certificate["detectors"]:
        bounds = entry["populations"]["digits"]["bounds"]
        bounds[f"{RADIUS:.9g}"] = bounds["0"]


def renamed(certificate):
    certificate["config"]["radius"], certificate["threat"]["radii"] = [2 * RADIUS], [2 * RADIUS]
    for entry in certificate["detectors"]:
        for population in entry["populations"].values():
            population["bounds"][f"{2 * RADIUS:.9g}"] = population["bounds"].pop(f"{RADIUS:.9g}")
    for row in certificate["gauroc"]:
        row["radius_linf"] *= 2


def colder(certificate):
    certificate["config"]["run"]["params"] = {"temperature": 2.0}


def more(certificate):
    certificate["detectors"].append(certificate["detectors"][0])


def other(certificate):
    certificate["network"]["sha256"] = "0" * 64


def longer(certificate):
    certificate["accuracy"] = 1.0


def promising(certificate):
    certificate["claim"] = "robust"


@pytest.mark.parametrize(
    "forge",
    [better, hardly_better, improved, swapped, renamed, colder, more, other, longer, promising],
    ids=lambda f: f.__name__,
)
def test_a_forged_certificate_does_not_hold(forge, made):
    certificate = copy.deepcopy(read(made[1]))
    forge(certificate)
    assert verify_intervals(certificate).failures


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("--detector ebo", "ebo is certified by interval bounds, in linf: give --norm linf"),
        ("--detector ebo,ross --norm linf", "ross is certified by noise, not by interval bounds like the others"),
        ("--detector ebo --norm linf --sigma 0.1", "by interval bounds, takes no sigma: leave out --sigma 0.1"),
        ("--detector ebo --norm linf --radius 4", "epsilon 4: pixels lie in [0, 1]; did you mean 4/255?"),
        ("--detector ebo --norm linf --base msp", "base"),
    ],
)
def test_mistakes_are_one_line(argv, said, capsys):
    assert cli.main(["certify", *argv.split()]) == 2
    assert said in capsys.readouterr().err


def test_the_command_line_certifies_and_verifies(tmp_path, capsys):
    few = "--ood unseen-digits --limit 2 --attack none --quiet"
    words = f"certify --detector mls --norm linf --radius 1/255 {few} --out {tmp_path}"
    assert cli.main(words.split()) == 0
    assert "interval" in capsys.readouterr().out
    (file,) = tmp_path.glob("*/certificate.json")
    assert cli.main(["certify", "--verify", str(file)]) == 0
    assert "holds: " in capsys.readouterr().out
    certificate = json.loads(file.read_text())
    certificate["detectors"][0]["populations"]["digits"]["bounds"]["0.00392156863"]["lower"][1] += 0.01
    file.write_text(json.dumps(certificate))
    assert cli.main(["certify", "--verify", str(file)]) == 1
