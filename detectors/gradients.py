"""Base scores that take a gradient themselves: ODIN with respect to the image, GradNorm to the last layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .detector import Classifier, Detector, autograd
from .features import features
from .logits import log_odds
from .score import Score


class ODIN(Score):
    """max softmax(f(x') / T), x' = x - e sign(grad_x CE(f(x) / T, argmax)); sign(0) = +1 as published.

    e is in pixels: in normalised space the step is e / `std`, where `std` defaults to the network's own. (OpenOOD
    takes the data set's, which differs.) The sign's derivative is 0 almost everywhere, so the exact gradient at x is
    that of the softmax at x'. `log-odds` is the surrogate of MSP there, `base` the score without the step.
    """

    name = "odin"
    reference = (
        "Liang, Li & Srikant 2018, "
        "Enhancing The Reliability of Out-of-distribution Image Detection in Neural Networks, arXiv:1706.02690"
    )
    symbols = {"T": "temperature", "e": "step_size"}
    grid = {"temperature": (1, 10, 100, 1000), "step_size": (0.0014, 0.0028)}

    def __init__(
        self,
        net: Classifier,
        *,
        temperature: float = 1000.0,
        step_size: float = 0.0014,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(net)
        if std is not None and not all(0 < s < math.inf for s in std):
            raise ValueError(f"std {std}: expected numbers above 0, one for each channel")
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature {temperature}: expected a number above 0")
        if not 0 <= step_size < math.inf:
            raise ValueError(f"step_size {step_size}: expected a number of at least 0")
        self.temperature, self.step_size, self.std = temperature, step_size, std
        self.objectives = ("exact", "log-odds", "base")

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        """The softmax part, without the step."""
        return (z / self.temperature).softmax(1).amax(1)

    def confidence(self, x: Tensor) -> Tensor:
        """-CE(f(x) / T, argmax)."""
        return (self.net(x) / self.temperature).log_softmax(1).amax(1)

    def _step(self, x: Tensor) -> Tensor:
        _, grad = autograd(self.confidence, x)
        std = getattr(self.net, "unit_std", None) if self.std is None else torch.as_tensor(self.std).view(1, -1, 1, 1)
        size = self.step_size if std is None else self.step_size / std.to(x)
        return x + size * torch.where(grad > 0, 1.0, -1.0).to(x)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.score(self.net(x + (self._step(x) - x).detach()))

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        self.check_objective(objective)
        reduce = (lambda z: log_odds(None, z / self.temperature)) if objective == "log-odds" else self.score
        return autograd(lambda x: reduce(self.net(x)), x if objective == "base" else self._step(x))

    scores_on = Detector.scores_on  # the step depends on the image, not on outputs alone

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        return (1, 1) if objective == "base" else (2, 2)

    def score_passes(self) -> tuple[int, int]:
        return 2, 1


class GradNorm(Score):
    """L1 norm of the gradient of -sum_c log p_c with respect to W: norm1(h) norm1(K p - 1) (Huang et al. 2021)."""

    name = "gradnorm"
    reference = (
        "Huang, Geng & Li 2021, On the Importance of Gradients for Detecting Distributional Shifts in the Wild, "
        "arXiv:2110.00218"
    )
    needs = frozenset({"features"})

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        p = z.softmax(1)
        return features(self, h).abs().sum(1) * (z.shape[1] * p - 1).abs().sum(1)
