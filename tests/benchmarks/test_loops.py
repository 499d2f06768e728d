"""benchmarks.loops: what is timed is what it is said to be."""

import pytest
import torch

import roodbench
from benchmarks import loops
from roodbench.models import Classifier


@pytest.fixture(scope="module")
def fast(digits, digits_net) -> Classifier:
    return roodbench.prepare(digits_net, digits.id_val.shard(0, 8), compile="off")


def test_backward_is_the_gradient_of_the_logits_sum(fast, digits):
    x = digits.id_val.shard(0, 4)
    z = x.clone().requires_grad_()
    fast(z).sum().backward()
    torch.testing.assert_close(loops.backward(fast, x), z.grad)


@pytest.mark.parametrize("name", ["msp", "pro", "ross"])
def test_a_step_stays_in_the_ball_and_climbs(name, fast, digits):
    x, detector = digits.id_val.shard(0, 4), loops.make(name, fast)
    moved = loops.step(detector, x, generator=torch.Generator().manual_seed(0))
    assert loops.THREAT.violation(moved, x) < 1e-6
    assert torch.allclose((moved - x).abs().amax((1, 2, 3)), torch.tensor(loops.EPS / 4), atol=1e-6)


def test_passes_are_in_bfloat16_only_inside(fast, digits):
    x = digits.id_val.shard(0, 4)
    before = fast(x)
    with loops.passes_in("bfloat16", fast):
        inside = fast(x)
    assert not torch.equal(inside, before)
    torch.testing.assert_close(inside, before, rtol=0.1, atol=0.5)
    with loops.passes_in("float32", fast):
        assert torch.equal(fast(x), before)
    assert torch.equal(fast(x), before)
