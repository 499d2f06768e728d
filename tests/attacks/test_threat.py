"""Projection, random starts and steepest directions; images that no attack takes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import attacks
from attacks import ThreatModel
from attacks.external import external
from attacks.seam import NonFiniteError, check_finite
from tests.attacks.analytic import Linear


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


RUNS = {
    "pgd": lambda detector, x, threat: attacks.pgd(detector, x, threat, sign=-1, steps=1),
    "apgd": lambda detector, x, threat: attacks.apgd(detector, x, threat, sign=-1, steps=1),
    "square": lambda detector, x, threat: attacks.square(detector, x, threat, sign=-1, queries=1),
    "noise": lambda detector, x, threat: attacks.noise(detector, x, threat, sign=-1, queries=1),
    "suite": lambda detector, x, threat: attacks.suite(
        detector, x, attacks.AttackPlan(threat), "min", streams=lambda name: torch.Generator()
    ),
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: 255 * x, r"pixels from 0 to 255, outside \[0, 1\]: divide by 255\?"),
        (lambda x: x - 0.5, r"pixels from -0.5 to 0.5, outside \[0, 1\]$"),
        (lambda x: torch.where(x == 1, torch.nan, x), "pixels that are not finite"),
        (lambda x: torch.where(x == 1, -torch.inf, x), "pixels that are not finite"),
        (lambda x: x.permute(0, 2, 3, 1), r"images are \(4, 8, 8, 3\): expected \(B, C, H, W\), x.permute"),
        (lambda x: (255 * x).to(torch.uint8), r"images are torch.uint8 \(4, 3, 8, 8\): expected a batch .* of floats"),
        (lambda x: x[0, 0, 0], r"images are torch.float32 \(8,\): expected a batch"),
    ],
)
def test_every_attack_refuses_images_that_are_none(run, change, message):
    x = torch.linspace(0, 1, 4 * 3 * 64).view(4, 3, 8, 8)
    detector, threat = Linear(torch.ones(3, 8, 8)), ThreatModel(0.1)
    RUNS[run](detector, x, threat)
    with pytest.raises(ValueError, match=message):
        RUNS[run](detector, change(x), threat)


def test_other_libraries_attacks_refuse_them_too():
    view = attacks.TwoLogits(Linear(torch.ones(3, 8, 8)), 0.0)
    with pytest.raises(ValueError, match="outside"):
        external(
            view, torch.full((2, 3, 8, 8), 9.0), ThreatModel(0.1), sign=-1, method="foolbox:LinfPGD", steps=1, seed=0
        )


def test_normalised_images_have_no_bounds_and_rounding_is_no_mistake():
    ThreatModel(0.1, bounds=(-torch.inf, torch.inf)).check(torch.full((2, 3, 8, 8), -9.0))
    ThreatModel(0.1).check(torch.tensor([[-2e-7, 1 + 2e-7]]))
    ThreatModel(0.1).check(torch.zeros(0, 3, 8, 8))
    with pytest.raises(ValueError, match="not finite"):
        ThreatModel(0.1, bounds=(-torch.inf, torch.inf)).check(torch.full((2, 3), torch.nan))


def test_attacked_images_of_another_layout_are_refused():
    x = torch.full((2, 1, 4, 4), 0.5)
    assert ThreatModel(0.1).violation(x + 0.3, x) == pytest.approx(0.2)
    with pytest.raises(
        ValueError, match=r"attacked images are \(2, 4, 4, 1\): expected the shape of x, \(2, 1, 4, 4\)"
    ):
        ThreatModel(0.1).violation((x + 0.3).permute(0, 2, 3, 1), x)
    with pytest.raises(ValueError, match=r"candidate 1 is \(2, 4, 4, 1\): expected"):
        attacks.select(Linear(torch.ones(1, 4, 4)), [x, x.permute(0, 2, 3, 1)], sign=-1, stream=torch.Generator)


def test_a_view_needs_finite_scores_of_some_images():
    with pytest.raises(NonFiniteError) as error:
        attacks.view_of(torch.tensor([0.0, torch.nan]), torch.zeros(1))
    assert error.value.index == 1
    with pytest.raises(NonFiniteError):
        attacks.view_of(torch.zeros(2), torch.tensor([torch.inf]))
    with pytest.raises(ValueError, match="no ID images"):
        attacks.view_of(torch.zeros(0), torch.zeros(1))


def test_only_ascii_digits_count_submissions():
    with pytest.raises(ValueError, match="threat 'resubmit:\u0663'"):
        ThreatModel(0.1, noise="resubmit:\u0663")


@pytest.mark.parametrize("attack", ["pgd", "targeted", "apgd", "square", "noise"])
def test_no_attack_takes_another_sign(attack):
    with pytest.raises(ValueError, match="sign 2: expected -1"):
        getattr(attacks, attack)(Linear(torch.ones(1, 4, 4)), torch.full((1, 1, 4, 4), 0.5), ThreatModel(0.1), sign=2)
