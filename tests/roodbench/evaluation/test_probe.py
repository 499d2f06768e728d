"""The indicators' own attacks: what they cost, what they judge, and whose image they name when something breaks."""

from dataclasses import replace

import pytest
import torch

import attacks
import detectors
import roodbench
from attacks import AttackPlan, Strength, Suite, ThreatModel, Trace
from detectors import Detector, Wrapper
from detectors.detector import autograd
from roodbench.evaluation.indicators import indicators_of
from roodbench.evaluation.probe import probe
from roodbench.evaluation.sweep import evaluated
from tests.roodbench.helpers import evaluator, fitted, small

PLAN = AttackPlan(ThreatModel(16 / 255))


class Counted(torch.nn.Module):
    """A network that counts the images which pass it, a backward pass as two forward ones."""

    def __init__(self, net):
        super().__init__()
        self.net, self.head, self.spent = net, net.head, 0

    def outputs(self, x):
        self.spent += len(x) * (3 if torch.is_grad_enabled() and x.requires_grad else 1)
        return self.net.outputs(x)

    def forward(self, x):
        return self.outputs(x).logits


@pytest.mark.parametrize(
    ("name", "limit", "attack"),
    [
        ("msp", 100, "min"),
        pytest.param("msp", 100, "both", marks=pytest.mark.slow),
        pytest.param("pro", 60, "both", marks=pytest.mark.slow),
        pytest.param("ross", 60, "both", marks=pytest.mark.slow),
    ],
)
def test_the_indicators_cost_no_more_than_the_attack(name, limit, attack, digits_net):
    """In passes counted in the network, on the default OOD sets, where the attack is large enough to be judged."""
    net = Counted(digits_net)
    bench = small(limit if attack == "both" else 3 * limit, ("unseen-digits", "photos", "noise"))
    found = evaluator(fitted(name, net, bench), bench)
    before = evaluated(found, "none", PLAN) and net.spent
    evaluated(found, attack, PLAN, check=False)
    spent, net.spent = net.spent - before, 0
    numbers = probe(found, PLAN, attacks.DIRECTIONS[attack])
    assert numbers["images"] >= (8 if name == "ross" else 15)
    assert 0 < net.spent <= spent


@pytest.mark.slow
def test_too_small_an_attack_is_not_judged(digits_net):
    bench = small(16)
    found = evaluator(fitted("ross", digits_net, bench), bench)
    quick = replace(PLAN, strength=Strength(steps=10, restarts=1, draws=8))
    assert probe(found, quick, ("min", "max")) == {}
    assert probe(found, quick, ("min", "max"), thorough=True)["images"] == 16


class Masked(Wrapper):
    """Its own gradient says nothing but where the base score's attack has arrived: the polish then takes the rest."""

    name = "masked"

    def __init__(self, base, w, low, high):
        super().__init__(base)
        self.w, self.low, self.high = w, low, high

    def forward(self, x, *, generator=None):
        return self.base(x) + (x * self.w).flatten(1).sum(1)

    def own_value_and_grad(self, x, *, objective, draws, generator):
        value, grad = autograd(self, x)
        s = self.base(x)
        lost = ((s > self.high) | (s < self.low)).view(-1, 1, 1, 1)
        return value, torch.where(lost, 1e-9 * self.w.flip(3).expand_as(grad), grad)


def test_a_gradient_that_lives_on_the_base_scores_work_is_caught(digits_net):
    """However many images the polish wins: `own-gradient` runs the detector's own objectives alone."""
    bench, plan = small(16), AttackPlan(ThreatModel(24 / 255), strength=Strength(steps=10, restarts=1, draws=8))
    base = detectors.create("ebo", digits_net)
    ends = [
        base(attacks.pgd(base, images.shard(0, 16), plan.threat, sign=sign).images)
        for images, sign in ((bench.id_test, -1), (bench.ood["unseen-digits"], 1))
    ]
    w = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    masked = Masked(base, w, float(ends[0].max()) + 0.05, float(ends[1].min()) - 0.05)
    found = evaluated(evaluator(masked, bench), "both", plan, thorough=True)
    (entry,) = (i for i in indicators_of(found) if i.name == "own-gradient")
    assert not entry.passed
    assert entry.number > 0.05


class Breaking(Detector):
    """It breaks on bright images, which no ID image within the radius is."""

    name = "breaking"

    def __init__(self, net):
        super().__init__()
        self.net, self.armed = net, False

    def forward(self, x, *, generator=None):
        s = self.net(x).logsumexp(1)
        return torch.where((x.flatten(1).mean(1) > 0.46) & self.armed, torch.nan, s)


def test_what_breaks_is_named(digits_net):
    bench = small(20, ("noise",))
    detector = Breaking(digits_net)
    found = evaluator(detector, bench)
    found.references()
    detector.armed = True
    with pytest.raises(roodbench.EvaluationError, match=r"breaking: score nan is not finite on noise, index \d+ "):
        probe(found, PLAN, ("min", "max"), thorough=True)


def shown(*runs, restarts=1):
    """A suite of two images whose attack on the score made these values, one restart after the other."""
    values = torch.cat([torch.stack([run, run], 1) for run in runs])
    trace = Trace(values, 1.0, torch.zeros(2), restarts)
    return Suite(
        torch.zeros(2, 1), torch.zeros(2), ("clean", "pgd:exact"), {"pgd:exact": trace}, (0, 0), torch.zeros(2)
    )


def test_late_gain_is_that_of_the_last_steps():
    rising, settled = torch.linspace(0, 1, 21), torch.cat([torch.linspace(0, 0.5, 6), torch.full((15,), 0.5)])
    assert shown(rising).late_gain(1).tolist() == [pytest.approx(0.5)] * 2
    assert shown(settled).late_gain(1).tolist() == [0.0] * 2
    assert shown(settled, rising, restarts=2).late_gain(1).tolist() == [pytest.approx(0.5)] * 2
    assert shown(rising, settled, restarts=2).late_gain(1).tolist() == [0.0] * 2  # another start found nothing more
    assert shown(torch.linspace(0, 1, 11)).late_gain(1).tolist() == [1.0] * 2  # ten steps: all of it
    assert shown(-rising).late_gain(-1).tolist() == [pytest.approx(0.5)] * 2
    empty = Suite(torch.zeros(2, 1), torch.zeros(2), ("clean",), {"pgd:exact": Trace.empty(torch.zeros(2, 1))}, (0, 0))
    assert replace(empty, scores=torch.zeros(2)).late_gain(1).tolist() == [0.0] * 2
    assert empty.late_gain(1) is None
