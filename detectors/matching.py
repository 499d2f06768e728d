"""Base scores that match the logits with those of ID images class by class: KL matching and OpenMax.

Both compute in float64: what they add up of a saturated softmax is far below a float32's last bit.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from .bank import right, right_means
from .detector import Classifier
from .score import Fitting, Score

MOVED = 1e4
"""Where the smallest distance of a tail is moved before the fit: libMR's constant, of the published code."""
SHAPES = (1e-2, 1e8)
"""Between these the shape of a Weibull tail is looked for: distances that are all the same have none."""


class Matching(Score):
    """A score of logits that is fitted on the logits of an ID split."""

    def fit_outputs(self, train: Fitting | None, val: Fitting | None) -> None:
        split = cast(Fitting, val if train is None else train)
        bad = ~split.logits.isfinite().all(1)
        if bad.any():
            which = "validation" if train is None else "train"
            raise ValueError(f"{self.name}: logits of ID {which} image {int(bad.nonzero()[0])} are not finite")
        self.fit_logits(split.logits.double(), split)

    def fit_logits(self, z: Tensor, split: Fitting) -> None:
        raise NotImplementedError


class KLM(Matching):
    """-min_k KL(p || d_k), d_k the mean softmax of the ID validation images that the network takes for class k.

    A class that it takes none for has no d_k. Surrogates: `all`, log sum_k 1 / KL(p || d_k), which does not jump from
    one d_k to another, and whose slope does not vanish near one; `soft`, the same with p at temperature 4.
    """

    name = "klm"
    jumps = frozenset({"exact"})
    reference = "Hendrycks et al. 2022, Scaling Out-of-Distribution Detection for Real-World Settings, arXiv:1911.11132"
    needs = frozenset({"val"})
    templates: Tensor | None
    """log d_k (K', K) float64."""

    def __init__(self, net: Classifier) -> None:
        super().__init__(net)
        self.register_buffer("templates", None)

    def fit_logits(self, z: Tensor, split: Fitting) -> None:
        log_p, taken = z.log_softmax(1), z.argmax(1)
        found = [log_p[taken == k] for k in taken.unique()]
        self.templates = torch.stack([own.logsumexp(0) - np.log(len(own)) for own in found])

    def divergences(self, z: Tensor) -> Tensor:
        """KL(p || d_k) of every d_k, (B, K') float64, at least the smallest float."""
        log_p = z.double().log_softmax(1)
        p = log_p.exp()
        entropy = (p * log_p).sum(1, keepdim=True)
        return (entropy - p @ self._fitted("templates").T).clamp_min(torch.finfo(z.dtype).tiny)

    surrogates = {
        "all": lambda self, z, h: self.divergences(z).reciprocal().sum(1).log().to(z.dtype),
        "soft": lambda self, z, h: self.divergences(z / 4).reciprocal().sum(1).log().to(z.dtype),
    }

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        return -self.divergences(z).amin(1).to(z.dtype)


class OpenMax(Matching):
    """Minus the probability of the class unknown, softmax(v, u) at u, in [-1, 0].

    v_c = z_c (1 - w_c F_c(d_c)) and u = sum_c z_c w_c F_c(d_c), where d_c = norm2(z - mu_c), mu_c is the mean logit
    vector of the ID train images of class c that the network gets right, F_c the Weibull distribution of the `tail`
    largest of their d_c (moved so that the smallest of these is 10,000), and w_c = (a - r) / a for the class of rank
    r = 0..a-1 among the logits, 0 for the others; a is clipped to K. Where softmax or F saturates, slopes vanish:
    surrogates `log-odds`, logsumexp(v) - u, and `tail`, -log(-log(1 - F)) of the class with the largest logit.
    """

    name = "openmax"
    reference = "Bendale & Boult 2016, Towards Open Set Deep Networks, arXiv:1511.06233"
    needs = frozenset({"train"})
    symbols = {"alpha": "ranks", "a": "ranks"}
    means: Tensor | None
    weibull: Tensor | None
    """Of every class the smallest distance of the tail, scale and shape: (K, 3) float64."""

    def __init__(self, net: Classifier, *, tail: int = 20, ranks: int = 3) -> None:  # OpenOOD v1.5's
        super().__init__(net)
        if tail < 1:
            raise ValueError(f"tail {tail}: expected at least 1 distance")
        if ranks < 1:
            raise ValueError(f"ranks {ranks}: expected at least 1 class")
        self.tail, self.ranks = tail, ranks
        self.register_buffer("means", None)
        self.register_buffer("weibull", None)

    def fit_logits(self, z: Tensor, split: Fitting) -> None:
        self.means = right_means(self.name, z, split)
        distances, kept = torch.linalg.vector_norm(z - self.means[split.labels], dim=1), right(self.name, split)
        tails = [distances[kept & (split.labels == c)].sort().values[-self.tail :] for c in range(len(self.means))]
        found = [(float(t[0]), *fit_weibull((t - t[0] + MOVED).cpu().numpy())) for t in tails]
        self.weibull = torch.tensor(found, dtype=torch.double, device=z.device)

    def tails(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The classes of largest logits (B, a), largest first, and log(-log(1 - F_c(d_c))) of each, float64."""
        classes = z.topk(min(self.ranks, z.shape[1]), dim=1).indices
        distance = torch.linalg.vector_norm(z[:, None].double() - self._fitted("means")[classes], dim=2)
        least, scale, shape = self._fitted("weibull")[classes].unbind(2)
        return classes, shape * ((distance - least + MOVED).clamp_min(1) / scale).log()

    def log_odds(self, z: Tensor) -> Tensor:
        """logsumexp(v) - u, (B,) float64."""
        classes, tails = self.tails(z)
        F = -torch.expm1(-tails.clamp_max(50).exp())
        weights = 1 - torch.arange(classes.shape[1], device=z.device) / classes.shape[1]
        z = z.double()
        taken = z.gather(1, classes) * F * weights
        return z.scatter_add(1, classes, -taken).logsumexp(1) - taken.sum(1)

    surrogates = {
        "log-odds": lambda self, z, h: self.log_odds(z).to(z.dtype),
        "tail": lambda self, z, h: -self.tails(z)[1][:, 0].to(z.dtype),
    }

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        return -torch.sigmoid(-self.log_odds(z)).to(z.dtype)

    def extremes(self) -> tuple[float, float]:
        return -1.0, 0.0


def fit_weibull(x: np.ndarray) -> tuple[float, float]:
    """Scale and shape of the Weibull distribution of greatest likelihood for numbers x (n,) above 0.

    The shape k is where sum(x^k log x) / sum(x^k) - 1/k = mean(log x), found by halving on a logarithmic scale; the
    scale is mean(x^k)^(1/k).

    >>> scale, shape = fit_weibull(2 * np.random.default_rng(0).weibull(3, 100_000))
    >>> round(scale, 1), round(shape, 1)
    (2.0, 3.0)
    """
    middle = np.log(x).mean()
    logs = np.log(x) - middle
    low, high = np.log(SHAPES)
    for _ in range(60):
        k = np.exp((low + high) / 2)
        weights = np.exp(k * (logs - logs.max()))
        if (weights * logs).sum() / weights.sum() < 1 / k:
            low = np.log(k)
        else:
            high = np.log(k)
    k = float(np.exp(low))
    return float(np.exp(middle + logs.max() + np.log(np.exp(k * (logs - logs.max())).mean()) / k)), k
