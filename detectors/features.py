"""Base scores of the penultimate features: fDBD, Mahalanobis and its relative form, nearest neighbours, ViM.

`fit` works on the network's outputs on ID train, in float64 where precision matters; scores take the input's dtype.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from .detector import Classifier
from .given import NeedsError
from .score import Fitting, Score


class FeatureScore(Score):
    """A score that is fitted on ID train features."""

    needs = frozenset({"features", "train"})

    def fit_outputs(self, train: Fitting | None, val: Fitting | None) -> None:
        h = cast(Fitting, train).features
        if h is None:
            raise NeedsError(f"{self.name} needs penultimate features, and this network shows none")
        bad = ~h.isfinite().all(1)
        if bad.any():
            raise ValueError(f"{self.name}: features of ID train image {int(bad.nonzero()[0])} are not finite")
        self.fit_features(h, cast(Fitting, train))

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        raise NotImplementedError


class FDBD(FeatureScore):
    """sum over c != y of |z_c - z_y| / norm2(W_c - W_y), over norm2(h - mu) or norm2(h); y = argmax z.

    mu is the mean ID train feature; `distance_to_mean=False` divides by norm2(h), as the ROSS repository configures
    it. Classes with the same weight vector as y have no decision boundary to be far from and do not count.
    """

    name = "fdbd"
    reference = "Liu & Qin 2024, Fast Decision Boundary based Out-of-Distribution Detector, arXiv:2312.11536"
    grid = {"distance_to_mean": (True, False)}
    needs = FeatureScore.needs | {"last layer"}

    mean: Tensor | None
    between: Tensor | None
    """Distances between the classes' weight vectors, (K, K)."""

    def __init__(self, net: Classifier, *, distance_to_mean: bool = True) -> None:
        super().__init__(net)
        self.distance_to_mean = distance_to_mean
        self.register_buffer("mean", None)
        self.register_buffer("between", None)

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        W = self._last_layer.weight.detach().double()
        self.mean = h.double().mean(0).to(h)
        between = torch.cdist(W, W, compute_mode="donot_use_mm_for_euclid_dist")
        self.between = torch.where(between > 0, between, torch.inf).to(h)

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        h = features(self, h)
        y = z.argmax(1)
        gaps = (z - z.gather(1, y[:, None])).abs() / self._fitted("between")[y]
        return gaps.sum(1) / norm(h - self._fitted("mean") if self.distance_to_mean else h)


class MDS(FeatureScore):
    """max_c -(h - mu_c)' S^-1 (h - mu_c), S the covariance within classes (ddof 0), pseudo-inverted in float64.

    Directions in which S has no more variance than rounding the features to their dtype makes are left out: constant
    or linearly dependent features, or more features than images, are no error.
    """

    name = "mds"
    reference = (
        "Lee et al. 2018, "
        "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks, arXiv:1807.03888"
    )
    means: Tensor | None
    whitening: Tensor | None

    def __init__(self, net: Classifier) -> None:
        super().__init__(net)
        self.register_buffer("means", None)
        self.register_buffer("whitening", None)

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        means = class_means(self.name, h, train)
        self.means = means
        self.whitening = whitening(h, means[train.labels])

    def class_distances(self, h: Tensor) -> Tensor:
        """Squared Mahalanobis distances to the class means, (B, K) float64."""
        white = self._fitted("whitening")
        a, b = h.double() @ white, self._fitted("means") @ white
        return a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        h = features(self, h)
        return (-self.class_distances(h)).amax(1).to(h.dtype)


class RMDS(MDS):
    """max_c -d_c + d_0, d_0 the Mahalanobis distance to one Gaussian over all of ID train (Ren et al. 2021)."""

    name = "rmds"
    reference = (
        "Ren et al. 2021, A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection, arXiv:2106.09022"
    )
    mean: Tensor | None
    whole_whitening: Tensor | None

    def __init__(self, net: Classifier) -> None:
        super().__init__(net)
        self.register_buffer("mean", None)
        self.register_buffer("whole_whitening", None)

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        super().fit_features(h, train)
        self.mean = h.double().mean(0)
        self.whole_whitening = whitening(h, self.mean)

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        h = features(self, h)
        d_0 = ((h.double() - self._fitted("mean")) @ self._fitted("whole_whitening")).square().sum(1)
        return ((-self.class_distances(h)).amax(1) + d_0).to(h.dtype)


def class_means(name: str, h: Tensor, train: Fitting) -> Tensor:
    """(K, D) float64 means per class; ValueError for a class without an image."""
    check_labels(name, train)
    return means_of(h, train.labels, train.logits.shape[1])


def check_labels(name: str, train: Fitting) -> None:
    """ValueError for a label that is no class, and for a class without an image."""
    K = train.logits.shape[1]
    counts = torch.bincount(train.labels, minlength=K)
    if len(counts) > K:
        raise ValueError(f"{name}: ID train has label {len(counts) - 1}, but the network has {K} classes")
    if (counts == 0).any():
        raise ValueError(f"{name}: class {int((counts == 0).nonzero()[0])} has no image in ID train")


def means_of(values: Tensor, labels: Tensor, K: int) -> Tensor:
    """(K, D) float64 means of values (n, D) per label (n,), added up on the CPU: a GPU does so in any order."""
    sums, places = torch.zeros(K, values.shape[1], dtype=torch.double), labels.cpu()
    means = sums.index_add_(0, places, values.double().cpu()) / torch.bincount(places, minlength=K)[:, None]
    return means.to(values.device)


def whitening(h: Tensor, mean: Tensor) -> Tensor:
    """L (D, D) float64 with L L' the pseudo-inverse of the covariance of the features h (n, D) around `mean`."""
    centred = h.double() - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(h))
    rounding = h.double().square().sum(1).mean() * torch.finfo(h.dtype).eps ** 2  # what h's dtype cannot tell from 0
    floor = h.shape[1] * torch.maximum(rounding, values[-1] * torch.finfo(torch.double).eps)
    return vectors * torch.where(values > floor, values, torch.inf).rsqrt()


class KNN(FeatureScore):
    """-(K-th smallest squared L2 distance between h / norm2(h) and the normalised ID train features), exact search.

    The published normaliser adds 1e-10 after dividing, and so does this. Surrogate `mean`: minus the mean distance to
    the K nearest, which does not jump from neighbour to neighbour.
    """

    name = "knn"
    reference = "Sun et al. 2022, Out-of-Distribution Detection with Deep Nearest Neighbors, arXiv:2204.06507"
    symbols = {"K": "neighbours"}
    jumps = frozenset({"exact"})
    grid = {"neighbours": (50, 100, 200, 500, 1000)}
    incidental = run_settings = frozenset({"chunk"})
    bank: Tensor | None
    squares: Tensor | None

    def __init__(self, net: Classifier, *, neighbours: int = 50, chunk: int = 16384) -> None:
        super().__init__(net)
        if neighbours < 1:
            raise ValueError(f"neighbours {neighbours}: expected at least 1")
        self.neighbours, self.chunk = neighbours, chunk
        self.register_buffer("bank", None)
        self.register_buffer("squares", None)

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        if len(h) < self.neighbours:
            most = f"set neighbours to at most {len(h)} (--param neighbours={len(h)})"
            raise ValueError(f"knn with {self.neighbours} neighbours: ID train has only {len(h)} images: {most}")
        self.bank = unit(h)
        self.squares = self.bank.double().square().sum(1)

    def nearest(self, h: Tensor) -> Tensor:
        """Indices (B, K) of the K nearest train features of unit features h, nearest first; searched in float64."""
        bank, squares = self._fitted("bank"), self._fitted("squares")
        with torch.no_grad():
            h = h.double()
            best, index = h.new_empty(len(h), 0), torch.empty(len(h), 0, dtype=torch.long, device=h.device)
            for start in range(0, len(bank), self.chunk):
                part = bank[start : start + self.chunk]
                distance = squares[start : start + self.chunk] - 2 * h @ part.double().T
                places = torch.arange(start, start + len(part), device=h.device).expand(len(h), -1)
                both, where = torch.cat([best, distance], 1), torch.cat([index, places], 1)
                best, order = both.topk(min(self.neighbours, both.shape[1]), largest=False)
                index = where.gather(1, order)
        return index

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        h = unit(features(self, h))
        return -(h - self._fitted("bank")[self.nearest(h)[:, -1]]).square().sum(1)

    def mean_distance(self, z: Tensor, h: Tensor | None) -> Tensor:
        h = unit(features(self, h))
        index, bank = self.nearest(h), self._fitted("bank")
        centre = F.embedding_bag(index, bank.double(), mode="mean")
        spread = self._fitted("squares")[index].mean(1) - centre.square().sum(1)
        return -((h - centre).square().sum(1) + spread).to(h.dtype)

    surrogates = {"mean": mean_distance}


def unit(h: Tensor) -> Tensor:
    """h / norm2(h) + 1e-10, the published normaliser."""
    return h / norm(h)[:, None] + 1e-10


def norm(h: Tensor) -> Tensor:
    """norm2(h) per image, at least the root of the smallest float: features that vanish stay finite."""
    return torch.linalg.vector_norm(h, dim=1).clamp_min(torch.finfo(h.dtype).tiny ** 0.5)


class VIM(FeatureScore):
    """logsumexp(z) - a norm2(N'(h - u)), u = -pinv(W) b, N the eigenvectors of E[(h-u)(h-u)'] beyond the first `dim`.

    a = mean max-logit / mean residual norm on ID train. Default `dim`: 256 for 512 or more features, else half of
    them. (The published default of 256 on 64 features leaves no null space and scores NaN; here that is an error.)
    """

    name = "vim"
    reference = "Wang et al. 2022, ViM: Out-Of-Distribution with Virtual-logit Matching, arXiv:2203.10807"
    grid = {"dim": (256, 1000)}
    needs = FeatureScore.needs | {"last layer"}
    origin: Tensor | None
    null: Tensor | None

    def __init__(self, net: Classifier, *, dim: int | None = None) -> None:
        super().__init__(net)
        if dim is not None and dim < 1:
            raise ValueError(f"dim {dim}: expected at least 1")
        self.dim = dim
        self.alpha = 1.0
        self.register_buffer("origin", None)
        self.register_buffer("null", None)

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        D, head = h.shape[1], self._last_layer
        self.dim = (256 if D >= 512 else D // 2) if self.dim is None else self.dim
        if D < 2:
            raise NeedsError(f"vim needs at least 2 penultimate features, and this network has {D}")
        if not 1 <= self.dim < D:
            raise ValueError(f"vim with dim {self.dim}: {D} features leave no null space, expected 1 to {D - 1}")
        weight = head.weight.detach().double()
        bias = weight.new_zeros(head.out_features) if head.bias is None else head.bias.detach().double()
        origin = -torch.linalg.pinv(weight) @ bias
        centred = h.double() - origin
        _, vectors = torch.linalg.eigh(centred.T @ centred / len(h))
        null = vectors[:, : D - self.dim]  # eigh sorts upwards: the least variance first
        residual = torch.linalg.vector_norm(centred @ null, dim=1).mean()
        if residual <= torch.finfo(h.dtype).eps * torch.linalg.vector_norm(centred, dim=1).mean():
            raise ValueError(f"vim with dim {self.dim}: ID train features have no residual outside that subspace")
        self.alpha = (train.logits.double().amax(1).mean() / residual).item()
        self.origin, self.null = origin.to(h), null.to(h)

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        residual = torch.linalg.vector_norm((features(self, h) - self._fitted("origin")) @ self._fitted("null"), dim=1)
        return z.logsumexp(1) - self.alpha * residual

    def fitted(self) -> dict[str, float]:
        return {"alpha": self.alpha, "dim": float(self.dim or 0)}


def features(score: Score, h: Tensor | None) -> Tensor:
    """h itself; NeedsError, naming the score, where the network shows no features."""
    if h is None:
        raise NeedsError(f"{score.name} needs penultimate features, and this network shows none")
    return h
