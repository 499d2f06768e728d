"""Square reaches known optima by queries alone, inside the ball and at its corners."""

import pytest
import torch

from attacks import ThreatModel, square
from attacks.square import Line
from tests.attacks.analytic import FREE, Linear, Noisy, Quadratic, generator, linear_optimum

SHAPE = (3, 3, 4, 4)
QUERIES = 2200
"""For 48 dimensions: 46 each."""


@pytest.fixture
def shape():
    return SHAPE


@pytest.mark.parametrize(
    ("norm", "eps", "bounds", "sign"),
    [
        ("linf", 8 / 255, (0.0, 1.0), 1),
        ("linf", 8 / 255, FREE, -1),
        ("linf", 0.7, (0.0, 1.0), -1),
        ("l2", 0.5, FREE, 1),
        pytest.param("l2", 2.0, (0.0, 1.0), -1, marks=pytest.mark.slow),
    ],
)
def test_linear_score_comes_within_2_percent(x, w, norm, eps, bounds, sign):
    threat = ThreatModel(eps, norm, bounds)
    found = square(Linear(w), x, threat, sign=sign, queries=QUERIES, generator=generator())
    best, clean = linear_optimum(x, sign * w, eps, norm, *bounds), sign * Linear(w)(x)
    gain = (sign * found.values - clean) / (best - clean)
    assert gain.min() > 0.98
    assert gain.max() < 1 + 1e-9
    torch.testing.assert_close(Linear(w)(found.images), found.values)
    assert threat.violation(found.images, x) <= 1e-9


@pytest.mark.parametrize(
    ("norm", "radius", "bounds"),
    [
        ("linf", 0.07, FREE),
        ("linf", 0.2, (0.0, 1.0)),
        pytest.param("l2", 0.4, (0.0, 1.0), marks=pytest.mark.slow),
        pytest.param("l2", 1.5, FREE, marks=pytest.mark.slow),
    ],
)
def test_quadratic_score_comes_within_2_percent(x, norm, radius, bounds):
    threat = ThreatModel(0.1 if norm == "linf" else 0.5, norm, bounds)
    offset = torch.randn(SHAPE, generator=generator(3), dtype=torch.double)
    offset *= radius / (offset.abs().amax() if norm == "linf" else offset.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
    target = Quadratic(x + offset)
    found = square(target, x, threat, sign=1, queries=QUERIES, generator=generator())
    best, clean = target(threat.project(x + offset, x)), target(x)
    assert ((found.values - clean) / (best - clean)).min() > 0.98


def test_more_queries_only_help(x, w):
    for norm in ("linf", "l2"):
        found = square(Linear(w), x, ThreatModel(0.1, norm), sign=1, queries=300, generator=generator())
        assert found.trace.values.shape == (300, len(x))
        assert torch.equal(found.values, found.trace.values.amax(0))
        assert (found.trace.values[:50].amax(0) < found.values).any()


def test_a_randomised_detector_is_queried_with_the_same_noise(x, w):
    """Luck does not accumulate: the kept image is the best of one fixed draw, so close to the best of the mean."""
    found = square(Noisy(w, 5.0), x, ThreatModel(0.1), sign=1, queries=2000, generator=generator())
    best, clean = linear_optimum(x, w, 0.1, "linf", 0.0, 1.0), Linear(w)(x)
    assert ((Linear(w)(found.images) - clean) / (best - clean)).min() > 0.9
    with pytest.raises(ValueError, match="generator"):
        square(Noisy(w, 5.0), x, ThreatModel(0.1), sign=1, queries=2)


def test_scores_in_another_dtype_than_the_images(x, w):
    class Double(Linear):
        def forward(self, x, *, generator=None):
            return super().forward(x).double()

    threat, images = ThreatModel(0.1, "l2"), x.float()
    found = square(Double(w.float()), images, threat, sign=1, queries=50, generator=generator())
    assert found.images.dtype == images.dtype
    assert (found.values > Linear(w.float())(images)).all()


def test_a_line_search_ends_at_the_top(x):
    """Two points tell where a parabola is highest; of a slope and of a valley it is the end of the better side."""
    shape = (len(x), 1, 1, 1)
    for f, longest, top in (
        (lambda t: 1 - (t - 0.3) ** 2, 1.0, 0.3),
        (lambda t: 1 - (t - 0.3) ** 2, 0.2, 0.2),
        (lambda t: -2 * t, 1.0, -1.0),
        (lambda t: (t + 0.1) ** 2, 1.0, 1.0),
        (lambda t: 0 * t, 1.0, 0.0),
    ):
        line, tried = Line(x, x + 1, x.new_full(shape, 0.05), longest, [f(x.new_zeros(len(x)))]), []
        while line is not None:
            tried.append(((line.next() - x) / (x + 1)).flatten(1).mean(1))
            line = line.told(f(tried[-1]))
        expected = torch.tensor([0.05, -0.05, top], dtype=x.dtype)[:, None].expand(3, len(x))
        torch.testing.assert_close(torch.stack(tried), expected, atol=1e-6, rtol=1e-6)


def test_epsilon_0_and_bad_settings(x, w):
    assert torch.equal(square(Linear(w), x, ThreatModel(0.0), sign=1, queries=5, generator=generator()).images, x)
    with pytest.raises(ValueError, match="queries 0"):
        square(Linear(w), x, ThreatModel(0.1), sign=1, queries=0)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 32, 32), (2, 3, 5, 9)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_any_shape(shape, norm):
    x = torch.rand(shape, generator=generator())
    w = torch.randn(shape[1:], generator=generator(1))
    threat = ThreatModel(0.1, norm)
    found = square(Linear(w), x, threat, sign=-1, queries=60, generator=generator())
    assert (found.values < Linear(w)(x)).all()
    assert threat.violation(found.images, x) <= 1e-6


def test_a_given_start_is_gone_on_from(x, w):
    """A gate that random search from the image does not open in so few queries: its start is past it."""
    corner = x + 0.1 * w.sign()

    class Gated(Linear):
        def forward(self, x, *, generator=None):
            return super().forward(x) + 100.0 * ((x - corner).abs().flatten(1).amax(1) < 0.15)

    threat = ThreatModel(0.1, bounds=FREE)
    x = x.clone()
    x[0] = corner[0] - 0.2  # the start lies outside the ball of this image
    found = square(Gated(w), x, threat, sign=1, queries=20, start=corner, generator=generator())
    assert (found.values[1:] > 80).all()
    assert threat.violation(found.images, x) <= 1e-6
    same = square(Linear(w), x, threat, sign=1, queries=20, start=x, generator=generator())
    alone = square(Linear(w), x, threat, sign=1, queries=20, generator=generator())
    assert torch.equal(same.images, alone.images)  # of an image itself there is nothing to go on from
    with pytest.raises(ValueError, match=r"start of shape \(2, 3, 4, 4\): expected that of the images, \(3, 3, 4, 4\)"):
        square(Linear(w), x, threat, sign=1, queries=2, start=x[:2])
