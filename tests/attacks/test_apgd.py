"""APGD reaches known optima, follows the paper's checkpoints and halves where it says."""

import pytest
import torch

from attacks import ThreatModel, apgd
from attacks.apgd import checkpoints
from detectors import Detector
from tests.attacks.analytic import FREE, SHAPE, Linear, Noisy, Quadratic, generator, linear_optimum


@pytest.mark.parametrize("bounds", [(0.0, 1.0), FREE])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("linf", 0.7), ("l2", 0.5), ("l2", 3.0)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_linear_score_reaches_the_closed_form(x, w, norm, eps, bounds, sign):
    threat = ThreatModel(eps, norm, bounds)
    found = apgd(Linear(w), x, threat, sign=sign, steps=100, generator=generator())
    best = sign * linear_optimum(x, sign * w, eps, norm, *bounds)
    torch.testing.assert_close(found.values, best, rtol=0, atol=1e-4)
    torch.testing.assert_close(Linear(w)(found.images), found.values)
    assert threat.violation(found.images, x) <= 1e-9


@pytest.mark.parametrize("bounds", [(0.0, 1.0), FREE])
@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.02), ("linf", 0.2), ("l2", 0.1), ("l2", 1.5)])
def test_quadratic_score_reaches_the_closed_form(x, norm, radius, bounds):
    """The target c is inside the ball (value 0) or outside (the projection of c is the best point)."""
    threat = ThreatModel(0.1 if norm == "linf" else 0.5, norm, bounds)
    offset = torch.randn(SHAPE, generator=generator(3), dtype=torch.double)
    offset *= radius / (offset.abs().amax() if norm == "linf" else offset.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
    target = Quadratic(x + offset)
    found = apgd(target, x, threat, sign=1, steps=100, generator=generator())
    torch.testing.assert_close(found.values, target(threat.project(x + offset, x)), rtol=0, atol=1e-4)


def test_checkpoints_are_the_papers():
    """p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 of 100 steps."""
    assert checkpoints(100) == {22, 41, 57, 70, 80, 87, 93, 99}
    assert checkpoints(40) == {9, 17, 23, 28, 32, 35, 38, 40}


class Recording(Detector):
    """A flat score whose gradient is 1: no step ever improves it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def value_and_grad(self, x, **settings):
        self.seen.append(x.clone())
        return x.new_zeros(len(x)), torch.ones_like(x)


def test_a_step_that_does_not_improve_halves_and_goes_on_from_the_best_point():
    flat, x = Recording(), torch.zeros(1, 1, 1, 1)
    threat = ThreatModel(1.0, bounds=(-9.0, 9.0))
    apgd(flat, x, threat, sign=1, steps=50, generator=generator(), clean=False)
    first = flat.seen[0]
    ends = sorted(checkpoints(50))
    size = 2.0
    for end in ends[:-1]:
        size /= 2
        z = threat.project(first + size, x)
        torch.testing.assert_close(flat.seen[end + 1], first + 0.75 * (z - first))


def test_restarts_only_help_and_the_seed_decides(x, w):
    threat = ThreatModel(0.1, "l2")
    one = apgd(Linear(w), x, threat, sign=-1, steps=2, generator=generator())
    many = apgd(Linear(w), x, threat, sign=-1, steps=2, restarts=4, generator=generator())
    assert (many.values <= one.values).all()
    assert (many.values < one.values).any()
    assert many.trace.values.shape == (12, 5)
    assert torch.equal(
        many.images, apgd(Linear(w), x, threat, sign=-1, steps=2, restarts=4, generator=generator()).images
    )


def test_images_do_not_affect_each_other(x, w):
    """State is per image: one that is stuck leaves the other's step size alone."""
    mixed = torch.cat([x[:1], x[:1] + 5])
    target = Quadratic(torch.cat([x[:1], x[:1] + 9]))
    threat = ThreatModel(0.5, bounds=FREE)

    together = apgd(target, mixed, threat, sign=1, steps=30, generator=generator()).values
    torch.testing.assert_close(together[1], target(mixed + 0.5)[1])
    assert together[0] > -1e-3


def test_randomised_detectors_need_copies_and_a_generator(x, w):
    found = apgd(Noisy(w, 0.01), x, ThreatModel(0.1), sign=1, steps=20, draws=4, generator=generator())
    best = linear_optimum(x, w, 0.1, "linf", 0.0, 1.0)
    assert (Linear(w)(found.images) > best - 0.05).all()


def test_bad_settings(x, w):
    for settings in ({"steps": 0}, {"restarts": 0}, {"objective": "mean"}):
        with pytest.raises(ValueError, match=str(next(iter(settings.values())))):
            apgd(Linear(w), x, ThreatModel(0.1), sign=1, generator=generator(), **settings)
