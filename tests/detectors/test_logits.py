"""Base scores: values against float64 formulas of their own, finite values and gradients, surrogates' direction."""

import math

import numpy as np
import pytest
import torch

import detectors
from detectors import Outputs
from detectors.logits import fit_temperature
from tests.conftest import finite_difference

NAMES = ["msp", "ent", "gen", "ebo", "mls", "msp-t"]


class Identity(torch.nn.Module):
    """A network whose logits are its input."""

    head = torch.nn.Linear(1, 1)

    def outputs(self, x):
        return Outputs(x, None)


def score(name, **params):
    if name == "msp-t":
        params.setdefault("temperature", 2.0)
    return detectors.create(name, Identity(), **params)


def oracle(name, z, gamma=0.1, top=100):
    """The formulas in float64 numpy, 1 - p as the sum of the other probabilities."""
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    if name == "msp":
        return p.max(1)
    if name == "ent":
        return np.array([sum(q * math.log(q) for q in row if q > 0) for row in p])
    if name == "ebo":
        return np.log(e.sum(1)) + z.max(1)
    if name == "mls":
        return z.max(1)
    if name == "msp-t":
        return oracle("msp", z / 2)
    others = np.stack([np.delete(p, c, axis=1).sum(1) for c in range(p.shape[1])], 1)
    terms = [sorted(zip(row, rest, strict=True), reverse=True)[:top] for row, rest in zip(p, others, strict=True)]
    return np.array([-sum((a * b) ** gamma for a, b in t) for t in terms])


@pytest.mark.parametrize("name", NAMES)
def test_values_match_the_formula(name):
    z = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)) * 6
    np.testing.assert_allclose(score(name)(z).numpy(), oracle(name, z.double().numpy()), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("gamma", "top"), [(0.01, 3), (0.5, 5), (1, 10), (10, 4)])
def test_gen_parameters(gamma, top):
    z = torch.randn(50, 10, generator=torch.Generator().manual_seed(1)) * 3
    expected = oracle("gen", z.double().numpy(), gamma, top)
    np.testing.assert_allclose(score("gen", gamma=gamma, top=top)(z).numpy(), expected, rtol=1e-4, atol=1e-7)


def test_gen_is_exact_where_float32_softmax_saturates():
    z = torch.zeros(1, 10)
    z[0, 3] = 30.0
    rest = 9 * math.exp(-30) / (1 + 9 * math.exp(-30))
    expected = -((1 - rest) ** 0.1 * rest**0.1 + 9 * (math.exp(-30) * (1 - math.exp(-30))) ** 0.1)
    assert z.softmax(1).amax() == 1.0
    assert score("gen")(z).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("gamma", "top"), [(0.01, 10), (0.1, 3), (1.0, 10), (2.0, 10), (10.0, 4)])
def test_gen_as_published_has_the_published_gradient_where_it_is_finite(gamma, top):
    z = (torch.randn(12, 10, generator=torch.Generator().manual_seed(2)) * 4).requires_grad_()
    with torch.no_grad():
        z[:6, 2] += 30.0
    p = z.softmax(1).sort(1, descending=True).values[:, :top]
    (published,) = torch.autograd.grad(-(p**gamma * (1 - p) ** gamma).sum(), z)
    assert published[:6].isnan().any(1).tolist() == [gamma < 1] * 6
    assert not published[6:].isnan().any()
    grad = score("gen", gamma=gamma, top=top, published=True).value_and_grad(z.detach())[1]
    torch.testing.assert_close(grad, published.nan_to_num(0.0, 0.0, 0.0))  # inf - inf in the network is NaN, too


def test_gen_as_published_has_neither_its_top_term_nor_a_slope_where_softmax_rounds_to_one():
    z = torch.randn(6, 10, generator=torch.Generator().manual_seed(0)) * 3
    z[:3, 4] = 40.0
    p = z.softmax(1)
    assert (p.amax(1) == 1).tolist() == [True] * 3 + [False] * 3
    value, grad = score("gen", published=True).value_and_grad(z)
    torch.testing.assert_close(value, -(p**0.1 * (1 - p) ** 0.1).sum(1))
    exact_value, exact = score("gen").value_and_grad(z)
    assert (value - exact_value)[:3].min() > 0.02
    torch.testing.assert_close(value[3:], exact_value[3:], rtol=1e-4, atol=0)
    assert not grad[:3].any()
    torch.testing.assert_close(grad[3:], exact[3:], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0.0, 1.0, 17.5, 90.0, 1e3, 1e4])
def test_value_and_gradient_are_finite_up_to_1e4(name, size):
    z = torch.tensor([[1.0, -1, 0.3, 0], [1, 1, -1, -1], [-1, -1, -1, -1], [0.9, 1, -1, 0.2]]) * size
    variants = [score(name), score(name, published=True)] if name == "gen" else [score(name)]
    for detector, objective in ((d, o) for d in variants for o in d.objectives):
        value, grad = detector.value_and_grad(z, objective=objective)
        assert value.isfinite().all()
        assert grad.isfinite().all()


@pytest.mark.parametrize("margin", [5.0, 17.5, 25.0, 60.0])
@pytest.mark.parametrize(
    ("name", "objective"), [("msp", "log-odds"), ("msp-t", "log-odds"), ("ent", "uniform"), ("gen", "exact")]
)
def test_float32_gradients_stay_true_where_softmax_saturates(name, objective, margin):
    """Also the top class's part, which rounding p to 1 drops from the gradients of msp and ent themselves."""
    z = torch.tensor([[margin, 0.0, 1.0, -1.0, 0.5]])
    z = torch.cat([z, z.flip(1) + 3])
    a = score(name).value_and_grad(z, objective=objective)[1].double()
    b = score(name).value_and_grad(z.double(), objective=objective)[1]
    torch.testing.assert_close(a, b, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ["msp", "ent", "gen", "msp-t"])
def test_a_shift_of_all_logits_changes_nothing(name):
    z = torch.randint(-40, 40, (50, 6), generator=torch.Generator().manual_seed(0)) / 4
    detector = score(name, **({"gamma": 2.0} if name == "gen" else {}))
    torch.testing.assert_close(detector(z + 8192), detector(z), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_match_finite_differences(name, smooth, smooth_images):
    detector = detectors.create(name, smooth, **({"temperature": 2.0} if name == "msp-t" else {}))
    direction = torch.randn(smooth_images.shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    for objective in detector.objectives:
        _, grad = detector.value_and_grad(smooth_images, objective=objective)
        slope = finite_difference(
            lambda x, o=objective: detector.value_and_grad(x, objective=o)[0], smooth_images, direction
        )
        torch.testing.assert_close((grad * direction).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-8)
        assert (grad.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("name", ["msp", "msp-t", "gen"])
def test_surrogates_rise_with_the_score(name):
    z = torch.randn(300, 6, generator=torch.Generator().manual_seed(5), dtype=torch.double) * 2
    detector = score(name)
    (surrogate,) = detector.objectives[1:]
    order = detector(z).argsort()
    assert (detector.value_and_grad(z[order], objective=surrogate)[0].diff() > -1e-9).all()


def test_ranges():
    z = torch.randn(500, 10, generator=torch.Generator().manual_seed(2)) * 4
    assert score("msp")(z).min() >= 0.1
    assert score("gen")(z).max() <= 0
    assert score("gen")(z).min() >= -10 * 4**-0.1


def test_temperature_fit_stops_where_openood_stops():
    """On overconfident logits 50 small LBFGS steps move T from 1.5 towards, but not onto, the optimum."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(10, (500,), generator=g)
    z = torch.randn(500, 10, generator=g)
    z[torch.arange(500), y] += 2
    T = fit_temperature(z * 5, y)
    grid = torch.linspace(1, 12, 400)
    best = grid[torch.stack([torch.nn.functional.cross_entropy(z * 5 / t, y) for t in grid]).argmin()].item()
    assert 1.5 < T < best
    assert fit_temperature(z * 5, y) == T


def test_unfitted_temperature_is_an_error():
    with pytest.raises(ValueError, match="no temperature"):
        detectors.create("msp-t", Identity())(torch.zeros(1, 3))


def test_a_temperature_that_steps_across_zero_is_fitted_anew():
    """As on the adversarially trained CIFAR-10 network: OpenOOD's iterations end below 0, which turns MSP round."""
    g = torch.Generator().manual_seed(0)
    y, z = torch.randint(10, (500,), generator=g), torch.randn(500, 10, generator=g)
    hit = torch.rand(500, generator=g) < 0.95
    z[hit, y[hit]] = z[hit].amax(1) + 1
    grid = torch.logspace(-1, 1, 2001).double()
    nll = torch.stack([torch.nn.functional.cross_entropy(2 * z.double() / t, y) for t in grid])
    assert fit_temperature(2 * z, y) == pytest.approx(grid[nll.argmin()].item(), rel=5e-3)


def test_where_no_validation_image_is_wrong_and_the_fit_steps_across_0_the_temperature_is_1():
    """The NLL falls without end as T does: a T near 0 would leave one score for all images."""
    _, z = 10 * torch.randn(2, 500, 10, generator=torch.Generator().manual_seed(0))
    assert fit_temperature(z, z.argmax(1)) == 1
