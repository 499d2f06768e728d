"""Base scores of the logits: MSP, temperature-scaled MSP, entropy, GEN, energy, maximum logit.

Values and gradients stay finite for logits up to +-1e4 in float32: everything is computed in log-space.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from .detector import Batches, Classifier
from .score import Fitting, Score

if TYPE_CHECKING:
    from typing_extensions import Self


def log_odds(score: object, z: Tensor, h: Tensor | None = None) -> Tensor:
    """log p - log(1 - p) of the top class: increasing in the maximum softmax probability, never saturated."""
    z = z - z.amax(1, keepdim=True).detach()  # a shift changes nothing but the rounding
    top, rest = z.sort(dim=1, descending=True).values.split([1, z.shape[1] - 1], dim=1)
    return top.squeeze(1) - rest.logsumexp(1)


def sorted_log_p(z: Tensor) -> tuple[Tensor, Tensor]:
    """log p and log(1 - p) of the classes, the most probable first, both (B, K), free of cancellation."""
    z = z.sort(dim=1, descending=True).values
    z = z - z[:, :1].detach()
    rest, whole = z[:, 1:].logsumexp(1, keepdim=True), z.logsumexp(1, keepdim=True)
    log_1p = rest - whole  # of the top class
    log_p_top = -F.softplus(rest - z[:, :1])
    log_p = torch.cat([log_p_top, z[:, 1:] - whole], dim=1)
    return log_p, torch.cat([log_1p, torch.log1p(-log_p[:, 1:].exp())], dim=1)


class MSP(Score):
    """max_c softmax(z)_c, in [1/K, 1] (Hendrycks & Gimpel 2017).

    Where float32 rounds it to 1 its gradient, as in the published code, lacks the top class's part; PRO-MSP's published
    values depend on that. The surrogate `log-odds`, log p - log(1 - p), has the true direction everywhere.
    """

    name = "msp"
    reference = (
        "Hendrycks & Gimpel 2017, "
        "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks, arXiv:1610.02136"
    )
    surrogates = {"log-odds": log_odds}

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        return z.softmax(1).amax(1)

    def extremes(self) -> tuple[float, float]:
        return 1 / self._classes, 1.0


class MSPT(Score):
    """max_c softmax(z / T)_c with T fitted on the NLL of the ID validation logits (Guo et al. 2017).

    T is fitted as OpenOOD v1.5 does: LBFGS, learning rate 0.01, 50 iterations from T = 1.5. That stops short of the
    optimum (CIFAR-10 ResNet-20: 1.73 instead of 2.35); where it steps across 0, T is the optimum, or 1 where there is
    none. A given `temperature` is used as it is.
    """

    name = "msp-t"
    reference = "Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599"
    needs = frozenset({"val"})
    symbols = {"T": "temperature"}
    surrogates = {"log-odds": lambda self, z, h: log_odds(self, z / self._fitted_temperature())}

    def __init__(self, net: Classifier, *, temperature: float | None = None) -> None:
        super().__init__(net)
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature {temperature}: expected a number above 0")
        self.temperature = temperature
        self._fit = temperature is None

    def fit(self, train: Batches, val: Batches) -> Self:
        return super().fit(train, val) if self._fit else self

    def fit_outputs(self, train: Fitting | None, val: Fitting | None) -> None:
        if val is not None:
            self.temperature = fit_temperature(val.logits, val.labels)

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        return (z / self._fitted_temperature()).softmax(1).amax(1)

    def extremes(self) -> tuple[float, float]:
        return 1 / self._classes, 1.0

    def _fitted_temperature(self) -> float:
        if self.temperature is None:
            raise ValueError("msp-t has no temperature yet: call fit(train, val) or give temperature=")
        return self.temperature

    def fitted(self) -> dict[str, float]:
        return {"temperature": self._fitted_temperature()} if self._fit else {}


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """argmin_T of the mean NLL of softmax(z / T), as far as 50 LBFGS iterations at rate 0.01 get from T = 1.5.

    Where they step across 0, whose other side turns the classes round, T is the minimum over T > 0, or 1 where all
    classes are right, so that the NLL falls without end as T does.
    """
    T = torch.full((1,), 1.5, device=logits.device, dtype=logits.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([T], lr=0.01, max_iter=50)

    def closure() -> Tensor:
        optimizer.zero_grad()
        nll = F.cross_entropy(logits / T, labels)
        nll.backward()
        return nll

    with torch.enable_grad():
        optimizer.step(closure)
    if T.item() > 0:
        return T.item()
    return 1.0 if (logits.argmax(1) == labels).all() else best_temperature(logits, labels)


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """argmin over T > 0 of the mean NLL of softmax(z / T), which is convex in 1 / T: by LBFGS over log T in float64."""
    z, log_t = logits.double(), torch.zeros(1, device=logits.device, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        nll = F.cross_entropy(z / log_t.exp(), labels)
        nll.backward()
        return nll

    with torch.enable_grad():
        optimizer.step(closure)
    return log_t.exp().item()


class ENT(Score):
    """sum_c p_c log p_c, the negative entropy, in [-log K, 0]; surrogate: cross-entropy to the uniform distribution."""

    name = "ent"
    reference = (
        "Chen et al. 2025, Leveraging Perturbation Robustness to Enhance Out-of-Distribution Detection, "
        "arXiv:2503.18784"
    )
    surrogates = {"uniform": lambda self, z, h: z.logsumexp(1) - z.mean(1)}

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        log_p = z.log_softmax(1)
        return (log_p.exp() * log_p).sum(1)

    def extremes(self) -> tuple[float, float]:
        return -math.log(self._classes), 0.0


class GEN(Score):
    """-sum over the top M classes of p^gamma (1 - p)^gamma, in [-M 4^-gamma, 0] (Liu et al. 2023).

    log(1 - p) comes from the other logits: value and gradient are those of real arithmetic. `published` forms
    (1 - p)^gamma from the softmax, as the published code does. Where that rounds to 1 the top class's term is 0, in
    float32 instead of up to 0.2 at the default gamma, and for gamma < 1 the gradient is NaN, which `sign` turns into 0:
    attacks on the score and PRO leave those images alone. It is 0 here; the surrogate `log` keeps its slope. M is
    clipped to the number of classes.
    """

    name = "gen"
    reference = (
        "Liu, Lochman & Zach 2023, GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection, CVPR 2023"
    )
    grid = {"gamma": (0.01, 0.1, 0.5, 1, 2, 5, 10), "top": (10, 50, 100, 200, 500, 1000)}
    symbols = {"M": "top", "g": "gamma"}

    def __init__(self, net: Classifier, *, gamma: float = 0.1, top: int = 100, published: bool = False) -> None:
        super().__init__(net)
        if not gamma > 0:
            raise ValueError(f"gamma {gamma}: expected a number above 0")
        if top < 1:
            raise ValueError(f"top {top}: expected at least 1 class")
        self.gamma, self.top, self.published = gamma, top, published

    def log_terms(self, z: Tensor) -> Tensor:
        """gamma log(p_c (1 - p_c)) for the top M classes, the most probable first: (B, min(M, K))."""
        log_p, log_1p = sorted_log_p(z)
        return self.gamma * (log_p + log_1p)[:, : self.top]

    surrogates = {"log": lambda self, z, h: -self.log_terms(z).logsumexp(1)}

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        if not self.published:
            return -self.log_terms(z).exp().sum(1)
        if self.gamma < 1:
            p = self.top_p(z.detach())
            singular = ((p < torch.finfo(p.dtype).tiny) | (p == 1)).any(1, keepdim=True)
            z = torch.where(singular, z.detach(), z)
        p = self.top_p(z)
        return -(p**self.gamma * (1 - p) ** self.gamma).sum(1)

    def top_p(self, z: Tensor) -> Tensor:
        """The softmax of the top M classes, (B, min(M, K))."""
        return z.softmax(1).sort(1, descending=True).values[:, : self.top]

    def extremes(self) -> tuple[float, float]:
        return -min(self.top, self._classes) * 4**-self.gamma, 0.0


class EBO(Score):
    """T logsumexp(z / T), the negative free energy (Liu et al. 2020)."""

    name = "ebo"
    reference = "Liu et al. 2020, Energy-based Out-of-distribution Detection, arXiv:2010.03759"
    symbols = {"T": "temperature"}

    def __init__(self, net: Classifier, *, temperature: float = 1.0) -> None:
        super().__init__(net)
        if not temperature > 0:
            raise ValueError(f"temperature {temperature}: expected a number above 0")
        self.temperature = temperature

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        return self.temperature * (z / self.temperature).logsumexp(1)


class MLS(Score):
    """max_c z_c, the maximum logit (Hendrycks et al. 2022)."""

    name = "mls"
    reference = "Hendrycks et al. 2022, Scaling Out-of-Distribution Detection for Real-World Settings, arXiv:1911.11132"

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        return z.amax(1)
