"""The integral of a gradient along a path is the score's change: gates and jumps are seen, curves and kinks are not."""

import pytest
import torch

import attacks
import roodbench
from attacks import ThreatModel
from detectors import DETECTORS, Detector
from roodbench.evaluation.truth import untold, walk
from tests.roodbench.helpers import fitted, small

THREAT = ThreatModel(16 / 255)


def noise():
    return torch.Generator().manual_seed(3)


class Curve(Detector):
    """f(t) of t, the first pixel of an image, and the gradient that autograd or `slope` gives."""

    def __init__(self, f, slope=None):
        super().__init__()
        self.f, self.slope = f, slope

    def forward(self, x, *, generator=None):
        return self.f(x[:, 0, 0, 0])

    def value_and_grad(self, x, **settings):
        value, grad = super().value_and_grad(x, **settings)
        return value, grad if self.slope is None else self.slope * grad


def line(n=4):
    """Images (n, 1, 2, 2) whose first pixel goes from 0 to 1, the others anywhere."""
    start = torch.rand(n, 1, 2, 2, generator=noise())
    end = torch.rand(n, 1, 2, 2, generator=noise())
    start[:, 0, 0, 0], end[:, 0, 0, 0] = 0.0, 1.0
    return start, end


def test_the_trapezium_rule_is_exact_for_parabolas():
    path = walk(Curve(lambda t: 3 * t**2 - t), *line(), noise, 8)
    t = torch.linspace(0, 1, 9, dtype=torch.double)
    assert torch.allclose(path.changes, (3 * t**2 - t).diff()[:, None].expand(8, 4), atol=1e-6)
    assert torch.allclose(path.predicted, path.changes, atol=1e-6)


def gate(height):
    return lambda t: t + height * (t > 0.55).to(t)


@pytest.mark.parametrize(
    ("f", "slope", "seen"),
    [
        (lambda t: t, None, False),
        (lambda t: (9 * t).sin(), None, False),
        (lambda t: (t - 0.52).abs(), None, False),
        (lambda t: (30 * (t - 0.5)).sigmoid(), None, False),
        (lambda t: t, 1.4, False),
        (lambda t: t, 0.6, True),
        (lambda t: t, -1.0, True),
        (lambda t: t, 0.0, True),
        (gate(0.4), None, False),  # 0.4 of 1.4 that happens
        (gate(0.6), None, True),
        (gate(-0.6), None, True),
        (lambda t: t + (3 * t).round() / 3, None, True),
        (lambda t: (8.1 * t).round() / 8 + t - t.detach(), None, False),  # straight through: steps that cancel
        (lambda t: (1000 * (t - 0.52)).sigmoid(), None, True),  # a slope so steep that no step meets it
    ],
)
def test_what_the_gradient_does_not_say(f, slope, seen):
    assert untold(Curve(f, slope), *line(), noise, 1.0).tolist() == [seen] * 4


class WithSurrogate(Curve):
    """A gate, and a surrogate whose gradient says `told` of the way across."""

    objectives = ("exact", "soft")

    def __init__(self, told):
        super().__init__(gate(1.0))
        self.soft = Curve(lambda t: t + told * (20 * (t - 0.55)).sigmoid())

    def value_and_grad(self, x, *, objective="exact", **settings):
        return self.soft.value_and_grad(x) if objective == "soft" else super().value_and_grad(x)


@pytest.mark.parametrize(("told", "seen"), [(1.0, False), (0.0, True), (-1.0, True), (4.0, True)])
def test_a_surrogate_may_say_what_the_gradient_does_not(told, seen):
    assert untold(WithSurrogate(told), *line(), noise, 1.0).tolist() == [seen] * 4


def test_small_changes_are_left_alone():
    assert untold(Curve(gate(1.0)), *line(), noise, 19.0).all()
    assert not untold(Curve(gate(1.0)), *line(), noise, 21.0).any()


def test_images_that_stay_where_they_are_say_nothing():
    start, _ = line()
    assert not untold(Curve(gate(1.0)), start, start, noise, 0.0).any()


@pytest.fixture(scope="module")
def paths(digits, digits_net):
    x = torch.cat([digits.id_test.shard(0, 8), digits.ood["unseen-digits"].shard(0, 8)])
    return x, THREAT.project(x.flip(0), x)


@pytest.mark.parametrize("name", [name for name in DETECTORS if name not in ("ash", "approximate-mass")])
def test_every_gradient_of_ours_says_what_happens(name, paths, digits, digits_net):
    """ash's does not: units below its threshold are gone at once; nor does a gradient's length, which jumps at kinks.
    she jumps between classes, and relation counts which of its neighbours are near: both have surrogates for it.
    """
    detector = fitted(name, digits_net, digits)
    scores = torch.cat([attacks.seam.gradient_of(detector, x, generator=noise())[0] for x in paths])
    assert untold(detector, *paths, noise, float(scores.std())).sum() <= 1


MIDDLE = 18.0
"""Between the lengths of the features of ID and of unseen digits."""


class Gated(torch.nn.Module):
    """The energy, and more where the features are long: no gradient shows the way across."""

    def __init__(self, net, height):
        super().__init__()
        self.net, self.height = net, height

    def forward(self, x):
        z, h = self.net.outputs(x)
        return z.logsumexp(1) + self.height * (h.norm(dim=1) > MIDDLE).to(z)


@pytest.mark.parametrize(("height", "passed"), [(6.0, False), (0.0, True)])
def test_the_record_says_so(height, passed, digits_net):
    result = roodbench.evaluate(Gated(digits_net, height), small(16), attack="min", restarts=1, thorough=True)
    (entry,) = (i for i in result.indicators if i.name == "line-integral")
    assert entry.passed == passed
    assert ("is there a gate, a rounding or another jump in it" in entry.message) == (not passed)
