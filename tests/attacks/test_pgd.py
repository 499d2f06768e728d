"""PGD reaches known optima, keeps the best iterate, averages over copies; noise search."""

import itertools

import pytest
import torch

from attacks import ThreatModel, noise, pgd, step_sizes
from detectors import Detector
from tests.attacks.analytic import FREE, SHAPE, Linear, Noisy, Quadratic, generator, linear_optimum


@pytest.mark.parametrize("bounds", [(0.0, 1.0), FREE])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("linf", 0.7), ("l2", 0.5), ("l2", 3.0)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_linear_score_reaches_the_closed_form(x, w, norm, eps, bounds, sign):
    threat = ThreatModel(eps, norm, bounds)
    found = pgd(Linear(w), x, threat, sign=sign, steps=40, generator=generator())
    best = sign * linear_optimum(x, sign * w, eps, norm, *bounds)
    torch.testing.assert_close(found.values, best, rtol=0, atol=1e-5)
    torch.testing.assert_close(Linear(w)(found.images), found.values)
    assert threat.violation(found.images, x) <= 1e-9


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-9.0, 9.0)])
@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.02), ("linf", 0.2), ("l2", 0.1), ("l2", 1.5)])
def test_quadratic_score_reaches_the_closed_form(x, norm, radius, bounds):
    """The target c is inside the ball (value 0) or outside (the projection of c is the best point)."""
    threat = ThreatModel(0.1 if norm == "linf" else 0.5, norm, bounds)
    offset = torch.randn(SHAPE, generator=generator(3), dtype=torch.double)
    offset *= radius / (offset.abs().amax() if norm == "linf" else offset.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
    target = Quadratic(x + offset)
    found = pgd(target, x, threat, sign=1, steps=100, generator=generator())
    torch.testing.assert_close(found.values, target(threat.project(x + offset, x)), rtol=0, atol=1e-4)


def test_the_best_iterate_is_returned_and_the_last_on_request(x):
    target = Quadratic(x + 0.03)
    threat = ThreatModel(0.1)
    best = pgd(target, x, threat, sign=1, steps=5, step_size=0.07, generator=generator())
    assert torch.equal(best.values, torch.maximum(best.trace.values.amax(0), target(x)))
    torch.testing.assert_close(target(best.images), best.values)
    last = pgd(target, x, threat, sign=1, steps=5, step_size=0.07, generator=generator(), keep="last")
    assert last.trace.values.shape == (5, len(x))
    assert torch.equal(last.values, last.trace.values[-1])
    assert (target(last.images) < best.values).all()


def test_restarts_only_help(x, w):
    threat = ThreatModel(0.1, "l2")
    one = pgd(Linear(w), x, threat, sign=-1, steps=3, generator=generator())
    many = pgd(Linear(w), x, threat, sign=-1, steps=3, restarts=4, generator=generator())
    assert (many.values <= one.values).all()
    assert (many.values < one.values).any()
    assert many.trace.values.shape == (16, 5)


def test_a_start_is_projected_and_used_once(x, w):
    threat, far = ThreatModel(0.1), x + 5
    cold = pgd(Linear(w), x, threat, sign=1, generator=generator(), clean=False)
    warm = pgd(Linear(w), x, threat, sign=1, start=far, restarts=2, generator=generator(), clean=False)
    assert torch.equal(warm.trace.values[0], Linear(w)(threat.project(far, x)))
    assert torch.equal(warm.trace.values[21:], cold.trace.values)  # the second restart is like any first


def test_epsilon_0_changes_nothing(x, w):
    for norm in ("linf", "l2"):
        found = pgd(Linear(w), x, ThreatModel(0.0, norm), sign=1, steps=2, generator=generator())
        assert torch.equal(found.images, x)
        assert torch.equal(found.values, Linear(w)(x))


class NoisyGradient(Detector):
    """s(x) = <w + noise, x>: every copy has a gradient of its own; their mean is w."""

    name, randomized = "noisy-gradient", True

    def __init__(self, w, sigma):
        super().__init__()
        self.w, self.sigma = w, sigma

    def forward(self, x, *, generator=None):
        noise = self.sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return (x * (self.w + noise)).flatten(1).sum(1)


def test_more_copies_and_momentum_come_closer_to_the_optimum(x, w):
    threat = ThreatModel(0.05)
    best = linear_optimum(x, w, 0.05, "linf", 0, 1)

    def shortfall(**settings):
        found = pgd(NoisyGradient(w, 3.0), x, threat, sign=1, steps=20, generator=generator(), keep="last", **settings)
        return (best - Linear(w)(found.images)).mean().item()

    assert shortfall(draws=16) < 0.6 * shortfall(draws=1)
    assert shortfall(draws=4, momentum=0.75) < 0.8 * shortfall(draws=4)


def test_momentum_by_hand(x, w):
    """Two l2 steps on a quadratic: x_2 = x_1 + a u(mu u(g_0) + u(g_1))."""
    target, threat = Quadratic(x + 0.4), ThreatModel(9.0, "l2", (-99.0, 99.0))
    found = pgd(target, x, threat, sign=1, steps=2, step_size=0.3, momentum=0.5, keep="last", generator=generator())
    x_0 = threat.random(x, generator())
    norm = lambda g: g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)  # noqa: E731
    g_0 = norm(x + 0.4 - x_0)
    x_1 = x_0 + 0.3 * g_0
    g_1 = 0.5 * g_0 + norm(x + 0.4 - x_1)
    torch.testing.assert_close(found.images, x_1 + 0.3 * norm(g_1))


def test_same_seed_same_images(x, w):
    threat = ThreatModel(0.05)
    a, b, c = (
        pgd(Noisy(w, 1.0), x, threat, sign=1, steps=2, generator=generator(s), step_size=0.01).images for s in (5, 5, 6)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_default_steps_cross_the_ball_and_settle():
    sizes = step_sizes(0.1, 20)
    assert sum(sizes) >= 2 * 0.1
    assert sizes[0] == pytest.approx(0.2)
    assert sizes[-1] == pytest.approx(0.002)
    assert all(a > b for a, b in itertools.pairwise(sizes))


def test_zero_gradients_are_on_record(x):
    class Flat(Linear):
        def forward(self, x, *, generator=None):
            return super().forward(x * 0) + (x[:, 0, 0, 0] > 2)

    found = pgd(Flat(torch.ones(SHAPE[1:])), x, ThreatModel(0.1), sign=1, steps=2, generator=generator())
    assert found.trace.zero_gradient.all()


STEPS = {"step_size": -0.1}, {"step_size": 0.0}, {"step_size": float("nan")}, {"momentum": -1.0}


def test_bad_settings_are_refused(x, w):
    for settings in ({"steps": 0}, {"restarts": 0}, {"keep": "first"}, {"objective": "mean"}, *STEPS):
        with pytest.raises(ValueError, match=str(next(iter(settings.values())))):
            pgd(Linear(w), x, ThreatModel(0.1), sign=1, generator=generator(), **settings)


def test_noise_search_improves_and_stays_below_pgd(x, w):
    threat = ThreatModel(0.05)
    found = noise(Linear(w), x, threat, sign=1, queries=50, generator=generator())
    assert (found.values > Linear(w)(x)).all()
    assert (found.values < pgd(Linear(w), x, threat, sign=1, generator=generator()).values).all()
    torch.testing.assert_close(Linear(w)(found.images), found.values)
    assert threat.violation(found.images, x) <= 1e-9
