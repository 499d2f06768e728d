"""PRO: the path, its exact gradient, its objectives and its price."""

import pytest
import torch

import detectors
from tests.conftest import finite_difference

CASES = [("gen", 0.02, 3), ("msp", 0.05, 2), ("ebo", 0.1, 5), ("ent", 0.03, 1)]


def by_hand(base, x, step_size, steps):
    """min over the path, one image and one autograd call at a time."""
    best = []
    for image in x.split(1):
        scores = []
        for _ in range(steps + 1):
            image = image.detach().requires_grad_()
            s = base(image).sum()
            scores.append(s.item())
            image = image - step_size * torch.sign(torch.autograd.grad(s, image)[0])
        best.append(min(scores))
    return torch.tensor(best, dtype=x.dtype)


@pytest.mark.parametrize(("base", "step_size", "steps"), CASES)
def test_value_is_the_minimum_along_the_path(base, step_size, steps, smooth, smooth_images):
    pro = detectors.create("pro", smooth, base=base, step_size=step_size, steps=steps)
    expected = by_hand(pro.base, smooth_images, step_size, steps)
    torch.testing.assert_close(pro(smooth_images), expected)
    torch.testing.assert_close(pro.value_and_grad(smooth_images)[0], expected)
    with torch.no_grad():
        torch.testing.assert_close(pro(smooth_images), expected)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("base", "step_size", "steps"), CASES)
def test_exact_gradient_matches_finite_differences(base, step_size, steps, last, smooth, smooth_images):
    pro = detectors.create("pro", smooth, base=base, step_size=step_size, steps=steps, last=last)
    direction = torch.randn(smooth_images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    slope = finite_difference(pro, smooth_images, direction)
    _, grad = pro.value_and_grad(smooth_images)
    torch.testing.assert_close((grad * direction).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-7)


def test_gradient_with_clipping_matches_finite_differences(smooth, smooth_images):
    pro = detectors.create("pro", smooth, base="gen", step_size=0.3, steps=3, bounds=(0.0, 1.0))
    direction = torch.randn(smooth_images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    slope = finite_difference(pro, smooth_images, direction)
    torch.testing.assert_close(
        (pro.value_and_grad(smooth_images)[1] * direction).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-7
    )


def test_autograd_through_forward_is_the_exact_gradient(smooth, smooth_images):
    for bounds in (None, (0.0, 1.0)):
        pro = detectors.create("pro", smooth, base="gen", step_size=0.2, steps=3, bounds=bounds)
        x = smooth_images.clone().requires_grad_()
        (grad,) = torch.autograd.grad(pro(x).sum(), x)
        torch.testing.assert_close(grad, pro.value_and_grad(smooth_images)[1])


def test_objectives_are_what_they_say(smooth, smooth_images):
    pro = detectors.create("pro", smooth, base="gen", step_size=0.05, steps=2)
    x, path, grads = smooth_images, [], []
    for _ in range(3):
        value, grad = pro.base.value_and_grad(x)
        path.append(value)
        grads.append(grad)
        x = x - 0.05 * grad.sign()
    s = torch.stack(path)
    value, grad = pro.value_and_grad(smooth_images, objective="sum")
    torch.testing.assert_close(value, s.sum(0))
    torch.testing.assert_close(grad, sum(grads))
    value, grad = pro.value_and_grad(smooth_images, objective="soft-min")
    weights = torch.softmax(-(s - s.amin(0)) / (s - s.amin(0)).mean(0), 0)
    torch.testing.assert_close(value, (weights * s).sum(0))
    torch.testing.assert_close(grad, sum(w.view(-1, 1, 1, 1) * g for w, g in zip(weights, grads, strict=True)))
    torch.testing.assert_close(pro.value_and_grad(smooth_images, objective="base")[0], s[0])


def test_passes_are_counted_truly(counting, smooth_images):
    pro = detectors.create("pro", counting, base="gen", step_size=0.05, steps=3)
    for objective in pro.objectives:
        counting.forwards = counting.backwards = 0
        pro.value_and_grad(smooth_images, objective=objective)
        spent = counting.forwards // len(smooth_images), counting.backwards // len(smooth_images)
        assert spent == pro.passes(objective) == ((1, 1) if objective.startswith("base") else (4, 4))
    counting.forwards = counting.backwards = 0
    with torch.no_grad():
        pro(smooth_images)
    assert (counting.forwards // 6, counting.backwards // 6) == pro.score_passes() == (4, 3)


def test_published_defaults(smooth):
    found = {b: detectors.create("pro", smooth, base=b) for b in ("msp", "msp-t", "ent", "gen", "ebo", "mls")}
    assert {b: (p.step_size, p.steps) for b, p in found.items()} == {
        "msp": (0.003, 1),
        "msp-t": (0.003, 1),
        "ent": (0.0014, 2),
        "gen": (1e-4, 3),
        "ebo": (0.0005, 3),
        "mls": (0.0005, 3),
    }
    assert found["msp-t"].base.temperature == 1.0


def test_zero_gradients_stay_put():
    class Flat(torch.nn.Module):
        head = torch.nn.Linear(1, 1)

        def outputs(self, x):
            return detectors.Outputs(torch.ones(len(x), 3), None)

    pro = detectors.create("pro", Flat(), base="msp")
    value, grad = pro.value_and_grad(torch.rand(2, 1, 2, 2))
    torch.testing.assert_close(value, torch.full((2,), 1 / 3))
    assert (grad == 0).all()
