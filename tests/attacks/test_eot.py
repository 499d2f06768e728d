"""The cosine rule: more copies until two halves of a gradient agree."""

import pytest
import torch

from attacks import STRENGTHS, AttackPlan, Component, ThreatModel, cosine, draws_needed, fixed_draws
from detectors import Detector, create
from tests.attacks.analytic import Noisy, generator


class NoisyGradient(Detector):
    """s(x) = <1 + sigma noise, x>: halves of n copies agree to a cosine of 1 / (1 + 2 sigma^2 / n)"""

    name, randomized = "noisy-gradient", True

    def __init__(self, sigma):
        super().__init__()
        self.sigma = sigma

    def forward(self, x, *, generator=None):
        return (x * (1 + self.sigma * torch.randn(x.shape, generator=generator))).flatten(1).sum(1)


@pytest.fixture
def x():
    return torch.rand(9, 3, 20, 20, generator=generator(1))


@pytest.mark.parametrize(("sigma", "n"), [(1.0, 10), (3.0, 24), (6.0, 8)])
def test_cosine_is_the_predicted_one(x, sigma, n):
    found = cosine(NoisyGradient(sigma), x, objective="exact", draws=n, generator=generator())
    assert found == pytest.approx(1 / (1 + 2 * sigma**2 / n), abs=0.03)


@pytest.mark.parametrize(("sigma", "n"), [(0.5, 25), (4.3, 50), (6.0, 100), (9.0, 200), (50.0, 200)])
def test_copies_double_until_the_cosine_is_a_half(x, sigma, n):
    found, reached = draws_needed(NoisyGradient(sigma), x, ThreatModel(0.01), objective="exact", generator=generator())
    assert found == n
    assert (reached >= 0.5) == (sigma < 50)


def test_noise_that_leaves_the_gradient_alone_needs_few_copies(x):
    w = torch.ones(3, 20, 20)
    found = draws_needed(Noisy(w, 9.0), x, ThreatModel(0.1), objective="exact", generator=generator())
    assert found == (25, pytest.approx(1))


def test_a_zero_gradient_is_no_agreement(x):
    class Flat(Noisy):
        def value_and_grad(self, x, **settings):
            return x.new_zeros(len(x)), torch.zeros_like(x)

    assert cosine(Flat(torch.ones(3, 20, 20), 1.0), x, objective="exact", draws=4, generator=generator()) == 0


class Spread(Detector):
    """Minus the spread of noisy copies of one pixel: of 5 copies another score than of 25."""

    randomized = True
    whole = frozenset({"exact"})
    objectives = ("exact", "mean")

    def forward(self, x, *, generator=None):
        return -x.flatten(1).std(1)

    def passes(self, objective="exact", draws=None):
        return 2 * (draws or 25), draws or 25


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_score_of_the_spread_gets_all_its_copies_at_every_strength(strength):
    plan = AttackPlan(ThreatModel(0.1), strength=STRENGTHS[strength])
    assert fixed_draws(Spread(), "exact", plan) == Component("pgd", "exact").draws(Spread(), plan, {}) == 25
    assert fixed_draws(Spread(), "mean", plan) == STRENGTHS[strength].draws
    assert Component("pgd", "mean").draws(Spread(), plan, {"mean": 50}) == 50


def test_mad_and_cov_are_scores_of_the_spread(smooth):
    for name, wanted in (("mad", 25), ("cov", 25), ("median", 8), ("ross", 8)):
        detector = create(name, smooth)
        assert fixed_draws(detector, "exact", AttackPlan(ThreatModel(0.1))) == wanted
