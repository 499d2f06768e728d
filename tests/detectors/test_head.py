"""The last linear layer of a network that does not show it, and scores of features on plain networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import detectors
from detectors.head import Headed, NoHeadError, find_head

torch.manual_seed(0)
X = torch.rand(6, 3, 8, 8)
CONV = nn.Conv2d(3, 5, 3)


class HeadFirst(nn.Module):
    """Its head is registered before what goes into it."""

    def __init__(self):
        super().__init__()
        self.fc, self.hidden = nn.Linear(5, 4), nn.Linear(192, 5)

    def forward(self, x):
        return self.fc(F.relu(self.hidden(x.flatten(1))))


class Tokens(nn.Module):
    """A head at every token, and the mean of what it gives."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        return self.fc(x.flatten(2).mT).mean(1)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 192))

    def forward(self, x):
        return F.linear(x.flatten(1), self.weight)


class Softened(HeadFirst):
    def forward(self, x):
        return super().forward(x) / 2


class Capped(HeadFirst):
    """Its cap is above the logits of usual images."""

    def forward(self, x):
        return super().forward(x).clamp(-1.5, 1.5)


class Gated(HeadFirst):
    """Large logits are shrunk."""

    def forward(self, x):
        z = super().forward(x)
        return torch.where(z.abs().amax(1, keepdim=True) > 1.5, z / 5, z)


class Cosine(HeadFirst):
    """Its head is an nn.Linear that computes something else."""

    def __init__(self):
        super().__init__()
        self.fc = CosineLinear(5, 4)


class CosineLinear(nn.Linear):
    def forward(self, x):
        return F.linear(F.normalize(x), F.normalize(self.weight))


class Twice(HeadFirst):
    """Its head is called again, on something else, after it gave the logits."""

    def forward(self, x):
        z = super().forward(x)
        self.fc(torch.zeros(len(x), 5))
        return z


FLAT = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Sequential(nn.Dropout(), nn.Linear(5, 4)))
HEADS = {
    "last of a Sequential": (FLAT, "3.1", lambda net, x: net[:3](x)),
    "registered first": (HeadFirst(), "fc", lambda net, x: net.hidden(x.flatten(1)).relu()),
    "1x1 convolution, pooled before": (
        nn.Sequential(CONV, nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 4, 1), nn.Flatten()),
        "2",
        lambda net, x: net[0](x).mean((2, 3)),
    ),
    "1x1 convolution, pooled after": (
        nn.Sequential(CONV, nn.Conv2d(5, 4, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "1",
        lambda net, x: net[0](x).mean((2, 3)),
    ),
    "tokens, pooled after": (Tokens(), "fc", lambda net, x: x.mean((2, 3))),
    "the network itself": (nn.Linear(8, 4), "", None),
}


@pytest.mark.parametrize("kind", HEADS)
def test_heads_are_found(kind):
    net, name, features = HEADS[kind]
    net.eval()
    x = X if features else torch.rand(6, 8)
    assert find_head(net, x) == name
    outputs = Headed(net).outputs(x)
    torch.testing.assert_close(outputs.logits, net(x))
    torch.testing.assert_close(outputs.features, features(net, x) if features else x)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Functional(), r"Functional calls no linear layer \(nn.Linear or a 1x1 convolution\)"),
        (Softened(), "the logits of Softened are not those of its last linear layer fc: something follows it"),
        *(
            (net, f"the logits of {type(net).__name__} are not those of its")
            for net in (Capped(), Gated(), Cosine(), Twice())
        ),
    ],
)
def test_a_network_without_a_head_says_why(net, reason):
    with pytest.raises(NoHeadError, match=reason):
        find_head(net, X)
    knn = detectors.create("knn", net.eval())
    with pytest.raises(ValueError, match=rf"shows no features: {reason}.*; take gen, ebo, msp"):
        knn(X)
    assert detectors.create("gen", net)(X).shape == (6,)


def test_a_named_head_is_taken_or_refused():
    assert find_head(FLAT, X, "3") == "3.1"
    with pytest.raises(ValueError, match=r"head 'fc': expected the name of a linear layer of Sequential, .* 1, 3.1"):
        find_head(FLAT, X, "fc")
    with pytest.raises(NoHeadError, match="not those of its last linear layer 1: something follows it"):
        find_head(FLAT, X, "1")


def test_scores_of_features_on_a_plain_network():
    """Each against its formula, on the hidden layer's values."""
    net, y = FLAT.eval(), torch.tensor([0, 1, 2, 3, 0, 1])
    h, batches = net[:3](X).detach(), [(X, y)]
    p = net(X).softmax(1).detach()
    gradnorm = detectors.create("gradnorm", net).fit(batches, batches)
    torch.testing.assert_close(gradnorm(X).detach(), h.abs().sum(1) * (4 * p - 1).abs().sum(1))
    knn = detectors.create("knn", net, neighbours=2).fit(batches, batches)
    unit = F.normalize(h)
    second = torch.cdist(unit, unit).pow(2).kthvalue(2, dim=1).values
    torch.testing.assert_close(knn(X).detach(), -second, atol=1e-4, rtol=0)
    value, grad = knn.value_and_grad(X)
    assert grad.abs().sum() > 0
    assert value.shape == (6,)


def test_a_network_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="network HeadFirst is in training mode"):
        detectors.create("knn", HeadFirst())(X)


class Halved(nn.Module):
    """A network whose layers compute in bfloat16."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(X[0].numel(), 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.layers(x).float()


def test_logits_that_bfloat16_rounded_are_not_those_of_the_layer():
    with pytest.raises(NoHeadError, match=r"not those of its last linear layer layers\.3: something follows it"):
        find_head(Halved().eval(), X)
