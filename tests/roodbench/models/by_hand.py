"""Networks to load, images to score, and scores computed by hand, for the tests of every source."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import detectors


def needed(load):
    """A package of an extra, or a skip that says how to install it."""
    try:
        return load()
    except ValueError as error:
        pytest.skip(str(error))


def stirred(net):
    """A network whose batch norms have statistics and scales of their own, in eval mode."""
    g = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.1, 0.1, generator=g)
            layer.running_var.uniform_(0.5, 2.0, generator=g)
    return net.eval()


def images(side, channels=3, n=3):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1))


def normalised(x, mean, std):
    return (x - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


@torch.no_grad()
def assert_scores(net, x, z, last):
    """msp, energy and GradNorm of a classifier are those by hand of logits z and of the input of layer `last`."""
    h = []
    hook = last.register_forward_pre_hook(lambda _, given: h.append(given[0]))
    z = z()
    hook.remove()
    h, p = h[0].flatten(1), z.softmax(1)
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(detectors.create("msp", net)(x), p.amax(1), **close)
    torch.testing.assert_close(detectors.create("ebo", net)(x), z.exp().sum(1).log(), **close)
    expected = h.abs().sum(1) * (z.shape[1] * p - 1).abs().sum(1)
    torch.testing.assert_close(detectors.create("gradnorm", net)(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(F.linear(h, net.head.weight, net.head.bias), z, rtol=1e-4, atol=1e-4)
