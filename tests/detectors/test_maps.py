"""RankFeat: the singular value decomposition of numpy, its gradient, and where maps are found."""

import numpy as np
import pytest
import torch
from torch import nn

import detectors
from detectors import Outputs
from detectors.maps import FirstVector, without_first
from tests.conftest import finite_difference


class Net(nn.Module):
    """Maps of two stages with a gate between them, joined as `how` says."""

    def __init__(self, how, channels=6):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.first, self.second = nn.Conv2d(2, 5, 3, padding=1).double(), nn.Conv2d(5, channels, 3, padding=1).double()
        self.how, self.head = how, nn.Linear(channels * 16 if how == "flatten" else channels, 3).double()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=g, dtype=torch.double)
        self.requires_grad_(False)

    def maps(self, x):
        x = self.first(x).tanh()
        x = x * x.mean((2, 3), keepdim=True).sigmoid()
        return self.second(x).tanh()

    def joined(self, maps):
        if self.how == "flatten":
            return maps.flatten(1)
        if self.how == "mean":
            return maps.mean((2, 3))
        return nn.functional.adaptive_avg_pool2d(maps, 1).flatten(1)

    def outputs(self, x):
        h = self.joined(self.maps(x))
        return Outputs(self.head(h), h)

    def forward(self, x):
        return self.outputs(x).logits


def removed(maps):
    """Without the first singular part, by numpy."""
    matrices = maps.flatten(2).numpy()
    u, s, v = np.linalg.svd(matrices, full_matrices=False)
    return torch.from_numpy(matrices - s[:, :1, None] * u[:, :, :1] @ v[:, :1]).view_as(maps)


@pytest.mark.parametrize("channels", [6, 24])
@pytest.mark.parametrize("how", ["flatten", "mean", "pool"])
def test_the_first_singular_part_of_the_last_maps_is_removed(how, channels, smooth_images):
    net = Net(how, channels)
    z = net.head(net.joined(removed(net.maps(smooth_images))))
    rankfeat = detectors.create("rankfeat", net, temperature=2.0)
    torch.testing.assert_close(rankfeat(smooth_images), 2 * (z / 2).logsumexp(1))
    direction = torch.randn(smooth_images.shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    _, grad = rankfeat.value_and_grad(smooth_images)
    slope = finite_difference(rankfeat, smooth_images, direction)
    torch.testing.assert_close((grad * direction).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-8)
    base = rankfeat.value_and_grad(smooth_images, objective="base")[0]
    torch.testing.assert_close(base, 2 * (net(smooth_images) / 2).logsumexp(1))


def test_the_network_is_as_it_was(smooth_images):
    net = Net("mean")
    before = net(smooth_images)
    detectors.create("rankfeat", net)(smooth_images)
    assert torch.equal(net(smooth_images), before)


class Parts(Net):
    """Runs two images at a time, and more of them again where a gradient is asked for, as a prepared network does."""

    def outputs(self, x):
        from torch.utils.checkpoint import checkpoint

        run = super().outputs
        again = x.requires_grad and len(x) > 2
        parts = [checkpoint(run, part, use_reentrant=False) if again else run(part) for part in x.split(2)]
        return Outputs(torch.cat([o.logits for o in parts]), torch.cat([o.features for o in parts]))


def test_a_network_that_runs_in_parts_is_scored_alike(smooth_images):
    whole, parts = (detectors.create("rankfeat", cls("mean")) for cls in (Net, Parts))
    torch.testing.assert_close(parts(smooth_images), whole(smooth_images))
    for ours, theirs in zip(parts.value_and_grad(smooth_images), whole.value_and_grad(smooth_images), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_network_without_maps_says_so(table, h):
    with pytest.raises(ValueError, match="rankfeat needs feature maps: Table has no step that makes one vector of"):
        detectors.create("rankfeat", table)(h)


@pytest.mark.parametrize("maps", [torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4), torch.eye(4).repeat(2, 3, 1, 1)])
def test_maps_without_a_single_first_part_stay_finite(maps):
    """Dark and constant images: no singular value, or several that are equal."""
    x = maps.clone().requires_grad_()
    out = without_first(x)
    (grad,) = torch.autograd.grad(out.square().sum(), x)
    assert out.isfinite().all()
    assert grad.isfinite().all()


def test_the_derivative_of_the_first_vector_needs_no_other_simple_eigenvalue():
    """Of a matrix of rank 2 in five dimensions; autograd through eigh divides by the differences of zeros."""
    a = torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    weights = torch.randn(5, generator=torch.Generator().manual_seed(1), dtype=torch.double)

    def value(x):
        v = FirstVector.apply(x @ x.transpose(1, 2))
        return (v * weights).sum(1).square()

    x = a.clone().requires_grad_()
    (grad,) = torch.autograd.grad(value(x).sum(), x)
    direction = torch.randn(a.shape, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    torch.testing.assert_close((grad * direction).flatten(1).sum(1), finite_difference(value, a, direction))
