"""What a verdict rests on: enough images for its noise, the objective that wins, scores that repeat everywhere."""

import json

import pytest
import torch

import roodbench
from detectors import Detector
from roodbench.evaluation.indicators import attacked, indicators_of
from roodbench.evaluation.sweep import evaluated
from roodbench.setup.setting import plan_of
from tests.roodbench.helpers import evaluator, fitted, small


def entries(result):
    return {i.name: i for i in result.indicators}


def test_noise_wider_than_the_limit_decides_nothing(digits_net):
    bench = small(10)
    ross = fitted("ross", digits_net, bench, sigma=0.3, copies=5)
    result = roodbench.evaluate(ross, bench, thorough=True, restarts=1)
    undecided = {name: i for name, i in entries(result).items() if i.passed is None}
    assert "restarts" in undecided
    assert undecided.keys() <= {"convergence", "restarts", "black-box", "own-gradient"}
    for name, i in undecided.items():
        margin, images = i.detail["margin"], i.detail["images"]
        assert margin > i.threshold
        assert i.detail["needed"] >= images * (margin / i.threshold) ** 2
        assert i.verdict == "inconclusive"
        assert f"{name} is inconclusive: two standard errors on {images} images are" in i.message
    assert (
        json.loads(result.to_json())["indicators"][list(entries(result)).index(next(iter(undecided)))]["passed"] is None
    )
    assert f"ross(gen): {', '.join(undecided)} inconclusive: noise on 10 images a side" in result.to_table()
    assert all(row.reliable is not False for row in result.rows)
    assert roodbench.Result.from_json(result.to_json()).indicators == result.indicators


def test_without_noise_every_verdict_is_decided(digits_net):
    bench = small(16)
    result = roodbench.evaluate(fitted("gen", digits_net, bench), bench, attack="min", thorough=True)
    assert None not in {i.passed for i in result.indicators}
    assert entries(result)["restarts"].number <= 0.005  # at quick too


class Boasting(Detector):
    """Its gradient is right, the value beside it another one: an attack keeps the wrong iterate."""

    name = "boasting"

    def __init__(self, net, factor):
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x, *, generator=None):
        return self.net(x).logsumexp(1)

    def value_and_grad(self, x, **settings):
        value, grad = super().value_and_grad(x, **settings)
        return self.factor * value, grad


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (-1.0, False), (1.01, False)])
def test_a_value_that_is_not_the_score_is_named(factor, passed, digits_net):
    entry = entries(roodbench.evaluate(Boasting(digits_net, factor), small(8), restarts=1, thorough=True))["value"]
    assert entry.passed == passed
    assert ("value_and_grad gives another value than the score" in entry.message) == (not passed)


class NoisyBetweenLevels(Detector):
    """Noise that it does not declare, on images whose pixels are not the 17 levels of the digits."""

    name = "between"

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, *, generator=None):
        between = (16 * x - (16 * x).round()).abs().flatten(1).amax(1) > 1e-3
        return self.net(x).logsumexp(1) + between * torch.randn(len(x))


@pytest.mark.parametrize(("ood", "attack"), [("photos", "none"), ("unseen-digits", "min"), ("unseen-digits", "max")])
def test_scores_repeat_on_ood_and_on_attacked_images_too(ood, attack, digits_net):
    entry = entries(roodbench.evaluate(NoisyBetweenLevels(digits_net), small(16, (ood,)), attack=attack, check=False))
    assert not entry["randomness"].passed
    honest = roodbench.evaluate(NoisyBetweenLevels(digits_net), small(16), attack="none")
    assert entries(honest)["randomness"].passed


class TwoSided(Detector):
    """Two objectives: the score with its true gradient, and one whose copies agree and whose attack wins nothing."""

    name, randomized, objectives = "two-sided", True, ("exact", "idle")

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, *, generator=None):
        return self.net(x).logsumexp(1)

    def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
        value, grad = super().value_and_grad(x, generator=generator)
        if objective == "idle":
            return value, torch.full_like(x, 1e-6)
        noise = torch.randn(grad.shape, generator=generator)
        return value, grad + 8 * grad.flatten(1).std(1).view(-1, 1, 1, 1) * noise


def test_eot_judges_the_objective_that_wins(digits_net):
    bench = small(16)
    found = evaluated(evaluator(TwoSided(digits_net), bench), "min", plan_of(bench), check=False)
    (entry,) = (i for i in indicators_of(found) if i.name == "eot")
    assert entry.number == pytest.approx(entry.detail["exact"]["cosine"])
    assert entry.number < 0.5 < entry.detail["idle"]["cosine"]
    assert not entry.passed


@pytest.mark.parametrize("objective", ["exact", "idle"])
def test_eot_judges_the_objective_that_refine_went_on_with(objective, digits_net):
    bench = small(16)
    found = evaluated(evaluator(TwoSided(digits_net), bench), "min", plan_of(bench), check=False)
    for population in attacked(found).values():
        population.winner.fill_(population.components.index("refine"))
        population.origin.fill_(population.components.index(f"pgd:{objective}"))
    (entry,) = (i for i in indicators_of(found) if i.name == "eot")
    assert entry.number == pytest.approx(entry.detail[objective]["cosine"])
