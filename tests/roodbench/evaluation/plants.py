"""Scores of the digits network with something wrong, as users write them: plain modules and a noisy detector."""

import torch
from torch.nn import functional as F

from detectors import Detector


class Planted(torch.nn.Module):
    """A plain module whose score of images is given by a function of the energy score and the images."""

    def __init__(self, net, score):
        super().__init__()
        self.net, self.score = net, score

    def energy(self, x):
        return self.net(x).logsumexp(1)

    def forward(self, x):
        return self.score(self.energy, x)


class NoisyPlanted(Detector):
    """The same with declared noise, drawn by shape."""

    name = "noisy-planted"
    randomized = True

    def __init__(self, net, score, *, noise=0.3):
        super().__init__()
        self.planted, self.noise = Planted(net, score), noise

    def forward(self, x, *, generator=None):
        return self.planted(x) + self.noise * torch.randn(len(x), generator=generator)


class NormalizedInTrainingMode(Planted):
    """Batch norm over the features of the batch, hidden in a function."""

    def __init__(self, net):
        super().__init__(net, None)

    def forward(self, x):
        h = self.net.outputs(x).features
        return self.net.head(F.batch_norm(h, None, None, training=True)).logsumexp(1)


def standardized(energy, x):
    s = energy(x)
    return (s - s.mean()) / s.std()


def largest_alone(energy, x):
    s = energy(x)
    return torch.where(s == s.max(), s + 10, s)


BATCH_EFFECTS = {
    "mean": lambda energy, x: energy(x) + 2 * energy(x).mean(),
    "a little of the mean": lambda energy, x: energy(x) + 0.05 * energy(x).mean(),
    "z-score": standardized,
    "size": lambda energy, x: energy(x) + 0.1 * len(x),
    "over the size": lambda energy, x: energy(x) / len(x),
    "place": lambda energy, x: energy(x) + 0.1 * torch.arange(len(x)),
    "order": lambda energy, x: energy(x).cumsum(0),
    "largest": lambda energy, x: energy(x) - energy(x).max(),
    "only the largest": largest_alone,
    "rank": lambda energy, x: energy(x).argsort().argsort().float() + 0 * energy(x),
    "sorted": lambda energy, x: energy(x).sort().values,
    "share": lambda energy, x: energy(x).softmax(0),
    "tiny": lambda energy, x: 1e-12 * (energy(x) + 2 * energy(x).mean()),
    "huge": lambda energy, x: 1e12 * (energy(x) + 2 * energy(x).mean()),
    "far away": lambda energy, x: 1e5 + energy(x) + 2 * energy(x).mean(),
}
"""Scores that depend on the other images of the batch, their number or their places."""
HONEST = {
    "energy": lambda energy, x: energy(x),
    "tiny": lambda energy, x: 1e-12 * energy(x),
    "tinier": lambda energy, x: 1e-300 * energy(x).double(),
    "huge": lambda energy, x: 1e12 * energy(x),
    "far away": lambda energy, x: 1e6 + energy(x),
    "constant": lambda energy, x: 0 * energy(x) + 3,
    "zero": lambda energy, x: 0 * energy(x),
    "saturated": lambda energy, x: (100 * energy(x)).sigmoid(),
    "rounded": lambda energy, x: energy(x).round(),
    "sum of the softmax": lambda energy, x: energy(x).unsqueeze(1).expand(-1, 3).softmax(1).sum(1),
}
"""Functions of one image each, of scales at which a comparison may go wrong."""
