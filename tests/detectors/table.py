"""A network that is a table of features, and detectors fitted on it."""

import torch

import detectors
from detectors import Outputs

NAMES = ["fdbd", "mds", "rmds", "knn", "vim", "react", "ash", "scale", "odin", "gradnorm"]
NAMES += ["dice", "she", "nnguide", "relation", "klm", "openmax", "rankfeat", "approximate-mass"]
PARAMS = {
    "knn": {"neighbours": 5},
    "vim": {"dim": 40},
    "odin": {"temperature": 2.0, "step_size": 0.01},
    "nnguide": {"neighbours": 5, "share": 0.5},
    "relation": {"chunk": 50},
}
"""Small enough for the networks of the tests."""


class Table(torch.nn.Module):
    """A network whose features are its input, with a random last layer in float64."""

    def __init__(self, D=12, K=4, seed=0):
        super().__init__()
        self.head = torch.nn.Linear(D, K).double().requires_grad_(False)
        g = torch.Generator().manual_seed(seed)
        self.head.weight.data = torch.randn(K, D, generator=g, dtype=torch.double)
        self.head.bias.data = torch.randn(K, generator=g, dtype=torch.double)

    def outputs(self, h):
        return Outputs(self.head(h), h)

    def forward(self, h):
        return self.head(h)


def batches(h, y=None, size=40):
    y = torch.arange(len(h)) % 4 if y is None else y
    return list(zip(h.split(size), y.split(size), strict=True))


def fitted(name, net, train, **params):
    return detectors.create(name, net, **params).fit(batches(train), batches(train[:50]))


def smooth_fit():
    x = torch.rand(120, 2, 4, 4, generator=torch.Generator().manual_seed(9), dtype=torch.double)
    y = torch.arange(120) % 5
    return list(zip(x.split(40), y.split(40), strict=True))
