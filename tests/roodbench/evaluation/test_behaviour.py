"""Kept results of an attack are of a detector that does the same under attack, in its direction and its ball."""

import pytest
import torch

import detectors
import roodbench
from tests.roodbench.helpers import small


class Steered(detectors.Detector):
    """The largest logit; its gradient is what a helper makes of it."""

    name = "steered"

    def __init__(self, net, helper):
        super().__init__()
        self.module, self.helper = net, helper

    def forward(self, x, *, generator=None):
        return self.module(x).amax(1)

    def value_and_grad(self, x, *, objective="exact", draws=None, generator=None):
        value, grad = super().value_and_grad(x)
        return value, self.helper(x, grad)


def aurocs(result):
    return [row.auroc for row in result.rows]


@pytest.mark.parametrize("other", [torch.zeros_like, torch.neg, lambda grad: grad.flip(3)])
def test_a_helper_that_changes_the_gradient_alone_is_noticed(other, digits_net, tmp_path):
    bench, store, helper = small(12), roodbench.Store(tmp_path), [other]
    detector = Steered(digits_net, lambda x, grad: helper[0](grad))
    settings = {"attack": "min", "steps": 4, "check": False, "eps": 32 / 255}
    weak = roodbench.evaluate(detector, bench, store=store, **settings)
    helper[0] = lambda grad: grad
    strong = roodbench.evaluate(detector, bench, store=store, **settings)
    assert aurocs(strong) == aurocs(roodbench.evaluate(detector, bench, **settings))
    assert aurocs(strong)[1] < aurocs(weak)[1] - 0.05


FLAT = {
    "far from the image": lambda net, x, clean: (x - clean).abs().flatten(1).amax(1) > 0.12,
    "below its clean score": lambda net, x, clean: net(x).amax(1) < net(clean).amax(1) - 0.5,
    "of the last images": lambda net, x, clean: torch.arange(len(x)) >= 6,
}
"""Where a gradient vanishes before a helper changes, of images x (B, C, H, W) near clean ones."""


@pytest.mark.parametrize("where", FLAT)
def test_a_change_under_attack_alone_is_noticed(where, digits_net, tmp_path):
    bench, store, flat = small(12), roodbench.Store(tmp_path), [True]
    clean = bench.id_test.shard(0, 12)

    def helper(x, grad):
        near = clean[(x.flatten(1)[:, None] - clean.flatten(1)).norm(dim=2).argmin(1)]
        vanishes = FLAT[where](digits_net, x, near) if flat[0] else torch.zeros(len(x), dtype=torch.bool)
        return grad.masked_fill(vanishes.view(-1, 1, 1, 1), 0.0)

    detector = Steered(digits_net, helper)
    settings = {"attack": "min", "method": "pgd", "steps": 4, "check": False, "eps": 32 / 255}
    weak = roodbench.evaluate(detector, bench, store=store, **settings)
    assert roodbench.evaluate(detector, bench, store=store, **settings).timing.reused["cells"] > 0
    flat[0] = False
    strong = roodbench.evaluate(detector, bench, store=store, **settings)
    assert aurocs(strong) == aurocs(roodbench.evaluate(detector, bench, **settings))
    assert aurocs(strong)[1] < aurocs(weak)[1]


def test_a_gradient_that_is_none_is_named_where_results_are_kept(digits_net, tmp_path):
    detector = Steered(digits_net, lambda x, grad: None)
    with pytest.raises(roodbench.EvaluationError, match="steered: value_and_grad gave None as its gradient"):
        roodbench.evaluate(detector, small(4), steps=2, check=False, store=roodbench.Store(tmp_path))
