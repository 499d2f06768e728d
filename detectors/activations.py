"""Base scores that reshape the penultimate features and take the energy of the last layer: ReAct, ASH-B, SCALE; DICE
reshapes the layer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from .detector import Classifier
from .features import FeatureScore, features
from .score import Fitting, Score


class Shaped(Score):
    """logsumexp(W shape(h) + b). `base` is the energy of the unshaped features, the transfer attack."""

    needs = frozenset({"features", "last layer"})
    surrogates = {"base": lambda self, z, h: z.logsumexp(1)}

    def __init__(self, net: Classifier, *, percentile: float) -> None:
        super().__init__(net)
        if not 0 <= percentile < 100:
            raise ValueError(f"percentile {percentile}: expected a number from 0 to below 100")
        self.percentile = percentile

    def shape(self, h: Tensor) -> Tensor:
        """The features (B, D) that the last layer is given in the place of h (B, D)."""
        raise NotImplementedError

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        return self._last_layer(self.shape(features(self, h))).logsumexp(1)

    def kept(self, D: int) -> int:
        """k = D - round(D p / 100) features stay, at least one."""
        return max(1, D - round(D * self.percentile / 100))


def percentile_of(values: Tensor, percentile: float) -> float:
    """numpy's linear percentile of all values, in float64; torch.quantile takes 16 million at most."""
    ordered = values.flatten().double().sort().values
    place = (len(ordered) - 1) * percentile / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return (ordered[low] + (place - low) * (ordered[high] - ordered[low])).item()


class ReAct(Shaped):
    """logsumexp(W min(h, c) + b), c the percentile of all ID validation activations (Sun et al. 2021)."""

    name = "react"
    reference = "Sun, Guo & Li 2021, ReAct: Out-of-distribution Detection With Rectified Activations, arXiv:2111.12797"
    needs = frozenset({"features", "last layer", "val"})
    grid = {"percentile": (85, 90, 95, 99)}

    def __init__(self, net: Classifier, *, percentile: float = 90) -> None:
        super().__init__(net, percentile=percentile)
        self.threshold: float | None = None

    def fit_outputs(self, train: Fitting | None, val: Fitting | None) -> None:
        h = features(self, cast(Fitting, val).features)
        if not h.isfinite().all():
            raise ValueError("react: an ID validation feature is not finite")
        self.threshold = percentile_of(h, self.percentile)

    def shape(self, h: Tensor) -> Tensor:
        if self.threshold is None:
            raise ValueError("react has no threshold yet: call fit(train, val)")
        return h.clamp_max(self.threshold)

    def fitted(self) -> dict[str, float]:
        return {} if self.threshold is None else {"threshold": self.threshold}


class ASH(Shaped):
    """ASH-B: the k largest features all become sum(h) / k, the rest 0 (Djurisic et al. 2023).

    Its gradient sees only sum(h). Surrogate `straight-through`: the same value, with the gradient of the energy at the
    shaped features passed to h as it is.
    """

    name = "ash"
    reference = (
        "Djurisic et al. 2023, Extremely Simple Activation Shaping for Out-of-Distribution Detection, arXiv:2209.09858"
    )
    grid = {"percentile": (65, 70, 75, 80, 85, 90, 95)}

    def __init__(self, net: Classifier, *, percentile: float = 90) -> None:
        super().__init__(net, percentile=percentile)

    def shape(self, h: Tensor) -> Tensor:
        k = self.kept(h.shape[1])
        mask = torch.zeros_like(h).scatter(1, h.topk(k, dim=1).indices, 1.0)
        return mask * (h.sum(1, keepdim=True) / k)

    def straight_through(self, z: Tensor, h: Tensor | None) -> Tensor:
        h = features(self, h)
        return self._last_layer(h + (self.shape(h) - h).detach()).logsumexp(1)

    surrogates = {"straight-through": straight_through, **Shaped.surrogates}


class SCALE(Shaped):
    """h exp(sum(h) / sum of the k largest h) (Xu et al. 2024); the scale is e where all features are 0."""

    name = "scale"
    reference = (
        "Xu et al. 2024, Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement, "
        "arXiv:2310.00227"
    )
    grid = {"percentile": (65, 70, 75, 80, 85, 90, 95)}

    def __init__(self, net: Classifier, *, percentile: float = 85) -> None:
        super().__init__(net, percentile=percentile)

    def shape(self, h: Tensor) -> Tensor:
        total, top = h.sum(1, keepdim=True), h.topk(self.kept(h.shape[1]), dim=1).values.sum(1, keepdim=True)
        ratio = torch.where(top > 0, total / torch.where(top > 0, top, 1), 1)
        return h * ratio.exp()


class DICE(FeatureScore):
    """logsumexp((W M) h + b), M keeping the entries of W whose mean contribution W_cd E[h_d] on ID train is largest.

    Kept is what lies above the percentile p of all contributions (Sun & Li 2022). `base` is the energy of the whole
    layer, the transfer attack.
    """

    name = "dice"
    reference = "Sun & Li 2022, DICE: Leveraging Sparsification for Out-of-Distribution Detection, arXiv:2111.09805"
    symbols = {"p": "percentile"}
    grid = {"percentile": (10, 30, 50, 70, 90)}
    needs = FeatureScore.needs | {"last layer"}
    surrogates = Shaped.surrogates
    weight: Tensor | None
    """W M, (K, D)."""

    def __init__(self, net: Classifier, *, percentile: float = 90) -> None:  # OpenOOD v1.5's
        super().__init__(net)
        if not 0 <= percentile < 100:
            raise ValueError(f"percentile {percentile}: expected a number from 0 to below 100")
        self.percentile = percentile
        self.register_buffer("weight", None)

    def fit_features(self, h: Tensor, train: Fitting) -> None:
        W = self._last_layer.weight.detach()
        contribution = W.double() * h.double().mean(0)
        self.weight = torch.where(contribution > percentile_of(contribution, self.percentile), W, 0)

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        return F.linear(features(self, h), self._fitted("weight"), self._last_layer.bias).logsumexp(1)
