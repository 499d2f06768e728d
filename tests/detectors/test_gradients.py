"""G-ODIN and the approximate mass: formulas by autograd, the step that is chosen, what kinks hide."""

import numpy as np
import pytest
import torch
from torch import nn

import detectors
from detectors import Outputs
from tests.conftest import SmoothNet, finite_difference
from tests.detectors.table import smooth_fit


class Divided(nn.Module):
    """A head of DeConf-I: inner products over a sigmoid."""

    def __init__(self, D, K):
        super().__init__()
        self.h, self.g = nn.Linear(D, K).double(), nn.Sequential(nn.Linear(D, 1).double(), nn.Sigmoid())

    def forward(self, features):
        return self.h(features) / self.g(features)


class DividedNet(SmoothNet):
    def __init__(self):
        super().__init__()
        self.head = Divided(6 * 16, 5)
        g = torch.Generator().manual_seed(4)
        for parameter in self.head.parameters():
            parameter.data = torch.randn(parameter.shape, generator=g, dtype=torch.double) / 5
        self.requires_grad_(False)


def part(net, x, divisor):
    h = net.outputs(x).features
    return net.head.g(h)[:, 0] if divisor else net.head.h(h).amax(1)


@pytest.mark.parametrize("divisor", [False, True])
def test_godin(divisor, smooth_images):
    net = DividedNet()
    x = smooth_images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(part(net, x, divisor).sum(), x)
    moved = smooth_images + 0.02 * torch.where(grad >= 0, 1.0, -1.0)
    godin = detectors.create("g-odin", net, step_size=0.02, divisor=divisor)
    torch.testing.assert_close(godin(smooth_images), part(net, moved, divisor))
    assert (godin(smooth_images) > part(net, smooth_images, divisor)).all()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    for objective in ("exact", "base"):
        value, grad = godin.value_and_grad(smooth_images, objective=objective)
        torch.testing.assert_close(value, part(net, moved if objective == "exact" else smooth_images, divisor))
        slope = finite_difference(
            lambda x, o=objective: godin.value_and_grad(x, objective=o)[0], smooth_images, direction
        )
        torch.testing.assert_close((grad * direction).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-8)


def test_godin_takes_the_published_step_with_the_largest_mean_on_id_validation():
    split, net = smooth_fit(), DividedNet()
    means = {}
    for size in (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08):
        godin = detectors.create("g-odin", net, step_size=size)
        means[size] = np.mean(torch.cat([godin(x) for x, _ in split]).numpy())
    godin = detectors.create("g-odin", net).fit([], split)
    assert godin.step_size == max(means, key=means.get)
    assert godin.fitted() == {"step_size": godin.step_size}
    assert detectors.create("g-odin", net, step_size=0.3).fit([], split).step_size == 0.3


def test_godin_steps_in_pixels(smooth_images):
    net = DividedNet()
    whole = detectors.create("g-odin", net, step_size=0.02, std=(0.5, 0.5))(smooth_images)
    torch.testing.assert_close(whole, detectors.create("g-odin", net, step_size=0.04)(smooth_images))


def test_godin_inside_pro_and_ross(smooth_images):
    for outer, settings in (("pro", {"steps": 2}), ("ross", {"sigma": 0.02, "copies": 5})):
        detector = detectors.create(outer, DividedNet(), base="g-odin", **settings).fit(smooth_fit(), smooth_fit())
        value, grad = detector.value_and_grad(smooth_images, generator=torch.Generator().manual_seed(0))
        assert value.isfinite().all()
        assert (grad.flatten(1).abs().amax(1) > 0).all()


def test_godin_of_another_head_says_what_it_needs(smooth, smooth_images):
    with pytest.raises(ValueError, match="g-odin needs a network trained with a head that divides"):
        detectors.create("g-odin", smooth, step_size=0.02)(smooth_images)
    with pytest.raises(ValueError, match="g-odin has no step size yet"):
        detectors.create("g-odin", DividedNet())(smooth_images)
    with pytest.raises(ValueError, match="g-odin cannot choose its step on an empty validation split"):
        detectors.create("g-odin", DividedNet()).fit([], [])


def test_the_approximate_mass_is_the_length_of_the_gradient(smooth, smooth_images):
    expected = []
    for image in smooth_images:
        x = image[None].clone().requires_grad_()
        z = smooth(x)
        p = z.softmax(1).detach()
        rows = [torch.autograd.grad(z[0, c], x, retain_graph=True)[0].flatten() for c in range(5)]
        expected.append(-sum(p[0, c] * row for c, row in enumerate(rows)).norm())
    mass = detectors.create("approximate-mass", smooth)
    torch.testing.assert_close(mass(smooth_images), torch.stack(expected))
    with torch.no_grad():
        torch.testing.assert_close(mass(smooth_images), torch.stack(expected))


def test_a_short_secant_is_the_score_and_its_gradient(smooth, smooth_images):
    mass = detectors.create("approximate-mass", smooth)
    mass.secant = 1e-5
    for secant, exact in zip(
        mass.value_and_grad(smooth_images, objective="secant"), mass.value_and_grad(smooth_images), strict=True
    ):
        torch.testing.assert_close(secant, exact, rtol=1e-5, atol=1e-6)


class Rectified(nn.Module):
    """One logit far ahead of another, with a kink at 0.1: the score has no slope but at the kink."""

    head = nn.Linear(1, 1)

    def outputs(self, x):
        s = x.flatten(1).sum(1)
        return Outputs(torch.stack([100 + s + (s - 0.1).relu(), torch.zeros_like(s)], 1), None)


def test_the_secant_sees_a_kink_that_the_gradient_does_not():
    mass, x = detectors.create("approximate-mass", Rectified()), torch.zeros(1, 1, 1, 1, dtype=torch.double)
    assert mass(x).item() == pytest.approx(-1)
    assert mass(x + 0.2).item() == pytest.approx(-2)
    assert mass.value_and_grad(x)[1].abs().max() < 1e-30
    value, grad = mass.value_and_grad(x, objective="secant")
    assert value.item() == pytest.approx(-(0.5 + 0.15) / 0.5)  # 0.5 and 0.15 more from one end to the other
    assert grad.item() == pytest.approx(-(2 - 1) / 0.5)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_images_stay_finite_in_float32(value, digits_net):
    x = torch.full((3, 1, 8, 8), value)
    for name in ("approximate-mass", "rankfeat"):
        detector = detectors.create(name, digits_net)
        for objective in detector.objectives:
            assert all(part.isfinite().all() for part in detector.value_and_grad(x, objective=objective))


def test_where_log_p_is_flat_the_mass_is_zero_and_has_no_gradient():
    class Flat(nn.Module):
        def outputs(self, x):
            return Outputs(0 * x.flatten(1)[:, :2], None)

    mass = detectors.create("approximate-mass", Flat())
    for objective in mass.objectives:
        value, grad = mass.value_and_grad(torch.rand(3, 1, 4, 4), objective=objective)
        assert value.abs().max() < 1e-15
        assert not grad.any()
