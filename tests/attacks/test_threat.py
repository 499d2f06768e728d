"""Projection, random starts and steepest directions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from attacks import ThreatModel
from attacks.seam import NonFiniteError, check_finite


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["linf", "l2"]), st.floats(0, 2), st.floats(0.01, 100))
def test_everything_stays_in_the_ball_and_the_bounds(seed, norm, eps, size):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(4, 1, 5, 5, generator=g)
    threat = ThreatModel(eps, norm)
    for moved in (threat.project(x + size * torch.randn(x.shape, generator=g), x), threat.random(x, g)):
        d = (moved - x).flatten(1)
        assert (d.abs().amax(1) if norm == "linf" else d.norm(dim=1)).max() <= eps + 1e-6
        assert moved.min() >= 0
        assert moved.max() <= 1
        assert threat.violation(moved, x) <= 1e-6
        torch.testing.assert_close(threat.project(moved, x), moved, atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_l2_projection_is_the_nearest_feasible_point(seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 1, 2, 3, generator=g, dtype=torch.double)
    y = x + torch.randn(x.shape, generator=g, dtype=torch.double)
    found = ThreatModel(0.4, "l2").project(y, x).flatten().numpy()
    x, y = x.flatten().numpy(), y.flatten().numpy()
    peer = minimize(
        lambda z: ((z - y) ** 2).sum(),
        x,
        bounds=[(0, 1)] * 6,
        constraints={"type": "ineq", "fun": lambda z: 0.16 - ((z - x) ** 2).sum()},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found, peer.x, atol=1e-5)


def test_epsilon_0_is_the_identity():
    x = torch.rand(3, 1, 4, 4)
    for norm in ("linf", "l2"):
        assert torch.equal(ThreatModel(0.0, norm).random(x, torch.Generator().manual_seed(0)), x)
        assert torch.equal(ThreatModel(0.0, norm).project(x + 1, x), x)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e25])
def test_steepest_direction_has_length_1_whatever_the_gradients_size(size):
    grad = size * torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ThreatModel(1.0, "l2").ascent(grad).flatten(1).norm(dim=1), torch.ones(4))
    assert (ThreatModel(1.0).ascent(grad).abs() == 1).all()


def test_random_starts_fill_the_ball():
    x = torch.full((2000, 1, 2, 2), 0.5)
    g = torch.Generator().manual_seed(0)
    d = (ThreatModel(0.1).random(x, g) - x).flatten(1)
    assert d.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.03)
    radius = (ThreatModel(0.1, "l2").random(x, g) - x).flatten(1).norm(dim=1) / 0.1
    assert radius.mean().item() == pytest.approx(4 / 5, rel=0.02)  # E r = d / (d + 1), d = 4


def test_bad_threats_are_refused():
    with pytest.raises(ValueError, match="epsilon -1"):
        ThreatModel(-1.0)
    with pytest.raises(ValueError, match="unknown norm 'l1'"):
        ThreatModel(1.0, "l1")  # type: ignore[arg-type]


def test_non_finite_values_name_the_image():
    with pytest.raises(NonFiniteError, match="score nan is not finite") as error:
        check_finite(torch.tensor([0.0, torch.nan]))
    assert error.value.index == 1
    with pytest.raises(NonFiniteError, match="gradient"):
        check_finite(torch.zeros(2), torch.tensor([[0.0], [torch.inf]]))
