"""Base scores that compare an image with what the network says of ID train images: SHE, NNGuide, relation graph."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .detector import Classifier
from .features import FeatureScore, check_labels, features, means_of, norm, unit
from .score import Fitting


class SHE(FeatureScore):
    """h . M_y, y = argmax z, M_c the mean feature of the ID train images of class c that the network gets right.

    A class of which it gets none right stores the mean of all its images. The score jumps where y changes; surrogate
    `mean`: the mean of h . M_c under the softmax, which does not.
    """

    name = "she"
    reference = (
        "Zhang et al. 2023, Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization with "
        "Modern Hopfield Energy, ICLR 2023"
    )
    surrogates = {"mean": lambda self, z, h: (z.softmax(1) * self.similarities(h)).sum(1)}
    patterns: Tensor | None

    def __init__(self, net: Classifier) -> None:
        super().__init__(net)
        self.register_buffer("patterns", None)

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        self.patterns = right_means(self.name, h, train).to(h)

    def similarities(self, h: Tensor | None) -> Tensor:
        """h . M_c of every class, (B, K)."""
        return features(self, h) @ self._fitted("patterns").T

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        return self.similarities(h).gather(1, z.argmax(1, keepdim=True)).squeeze(1)


def right(name: str, train: Fitting) -> Tensor:
    """Which ID train images (n,) count for their class: those the network gets right, all of a class without one.

    ValueError for a class without an image, or a label that is no class.
    """
    check_labels(name, train)
    labels = train.labels
    correct = train.logits.argmax(1) == labels
    return correct | (torch.bincount(labels[correct], minlength=train.logits.shape[1]) == 0)[labels]


def right_means(name: str, values: Tensor, train: Fitting) -> Tensor:
    """(K, D) float64: the mean of `values` (n, D) of every class over the images that count for it."""
    kept = right(name, train)
    return means_of(values[kept], train.labels[kept], train.logits.shape[1])


class NNGuide(FeatureScore):
    """E(x) times the mean over the K nearest i of E_i cos(h, h_i); E = logsumexp(z), nearest by that product.

    The bank holds a `share` of ID train, evenly spaced, and at least K images where there are as many; K is clipped to
    it. Features are normalised as for knn. Surrogate `base`: E(x) alone.
    """

    name = "nnguide"
    reference = "Park, Jung & Teoh 2023, Nearest Neighbor Guidance for Out-of-Distribution Detection, arXiv:2309.14888"
    symbols = {"K": "neighbours", "alpha": "share"}
    surrogates = {"base": lambda self, z, h: z.logsumexp(1)}
    bank: Tensor | None

    def __init__(self, net: Classifier, *, neighbours: int = 100, share: float = 0.01) -> None:  # OpenOOD v1.5's
        super().__init__(net)
        if neighbours < 1:
            raise ValueError(f"neighbours {neighbours}: expected at least 1")
        if not 0 < share <= 1:
            raise ValueError(f"share {share}: expected a share of ID train, above 0 and at most 1")
        self.neighbours, self.share = neighbours, share
        self.register_buffer("bank", None)

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        n = min(len(h), max(self.neighbours, math.ceil(self.share * len(h))))
        chosen = torch.arange(n, device=h.device) * len(h) // n
        self.bank = unit(h[chosen]) * train.logits[chosen].logsumexp(1, keepdim=True)

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        bank = self._fitted("bank")
        guidance = unit(features(self, h)) @ bank.T
        return z.logsumexp(1) * guidance.topk(min(self.neighbours, len(bank)), dim=1).values.mean(1)


class Relation(FeatureScore):
    """sum over ID train images i of r_i^t, r_i = max(0, cos(h, h_i)) p . p_i, where r_i is above the threshold 0.03.

    Relations below it do not count, and where none counts there is no gradient. Surrogates: `log`, the logarithm of the
    sum of all of them, and `soft`, the same with the image's p at temperature 4, which sees other classes. ID train is
    read `chunk` images at a time, forward and backward: memory does not grow with it.
    """

    name = "relation"
    reference = (
        "Kim, Yun & Song 2023, "
        "Neural Relation Graph: A Unified Framework for Identifying Label Noise and Outlier Data, arXiv:2301.12321"
    )
    symbols = {"t": "power"}
    grid = {"power": (1, 2, 4, 6, 8)}  # OpenOOD v1.5's
    incidental = run_settings = frozenset({"chunk"})
    surrogates = {
        "log": lambda self, z, h: self.log_total(z, h),
        "soft": lambda self, z, h: self.log_total(z / 4, h),
    }
    bank: Tensor | None
    probabilities: Tensor | None

    def __init__(
        self,
        net: Classifier,
        *,
        power: float = 1.0,  # OpenOOD v1.5's, with the threshold
        threshold: float = 0.03,
        chunk: int = 16384,
    ) -> None:
        super().__init__(net)
        if not 0 < power < math.inf:
            raise ValueError(f"power {power}: expected a number above 0")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold {threshold}: expected a number from 0 to below 1")
        self.power, self.threshold, self.chunk = power, threshold, chunk
        self.register_buffer("bank", None)
        self.register_buffer("probabilities", None)

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        self.bank = h / norm(h)[:, None]
        self.probabilities = train.logits.softmax(1)

    def total(self, z: Tensor, h: Tensor | None, threshold: float) -> Tensor:
        """The sum of r_i^t of relations above a threshold, (B,)."""
        h = features(self, h)
        h, p = h / norm(h)[:, None], z.softmax(1)
        bank, probabilities = self._fitted("bank"), self._fitted("probabilities")

        def part(h: Tensor, p: Tensor, start: int) -> Tensor:
            rows = slice(start, start + self.chunk)
            r = (h @ bank[rows].T).clamp_min(0) * (p @ probabilities[rows].T)
            counted = r > threshold
            return torch.where(counted, torch.where(counted, r, 1) ** self.power, 0).double().sum(1)

        starts = range(0, len(bank), self.chunk)
        if len(starts) > 1 and torch.is_grad_enabled():
            return sum(checkpoint(part, h, p, start, use_reentrant=False) for start in starts).to(z.dtype)
        return sum(part(h, p, start) for start in starts).to(z.dtype)  # type: ignore[union-attr]

    def log_total(self, z: Tensor, h: Tensor | None) -> Tensor:
        return self.total(z, h, 0.0).clamp_min(torch.finfo(z.dtype).tiny).log()

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        return self.total(z, h, self.threshold)
