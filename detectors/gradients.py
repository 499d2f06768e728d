"""Base scores that take a gradient themselves: with respect to the image ODIN, G-ODIN and the approximate mass, to the
last layer GradNorm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor

from .care import usual_state
from .detector import Batches, Classifier, Detector, autograd
from .features import features
from .given import NeedsError
from .logits import log_odds
from .score import Score, device_of

if TYPE_CHECKING:
    from typing_extensions import Self


def in_pixels(net: Classifier, size: float, std: Sequence[float] | None, x: Tensor) -> Tensor | float:
    """A step of `size` pixels in the space of x: size / std, with the network's own std where none is given."""
    own = getattr(net, "unit_std", None) if std is None else torch.as_tensor(std).view(1, -1, 1, 1)
    return size if own is None else size / own.to(x)


def check_step(step_size: float | None, std: Sequence[float] | None) -> None:
    """ValueError for an invalid step or std."""
    if std is not None and not all(0 < s < math.inf for s in std):
        raise ValueError(f"std {std}: expected numbers above 0, one for each channel")
    if step_size is not None and not 0 <= step_size < math.inf:
        raise ValueError(f"step_size {step_size}: expected a number of at least 0")


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
        check_step(step_size, std)
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature {temperature}: expected a number above 0")
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
        return x + in_pixels(self.net, self.step_size, self.std, x) * torch.where(grad > 0, 1.0, -1.0).to(x)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.score(self.net(x + (self._step(x) - x).detach()))

    def _value_and_grad(self, x: Tensor, objective: str) -> tuple[Tensor, Tensor]:
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

    def check_network(self, x: Tensor) -> None:
        super().check_network(x)
        if getattr(self.net, "head", None) is not None:
            _ = self._last_layer  # the gradient is that of a linear one

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        p = z.softmax(1)
        return features(self, h).abs().sum(1) * (z.shape[1] * p - 1).abs().sum(1)


class GODIN(Score):
    """S(x') with S = max_c h_c, the dividend of the logits h_c / g, and x' = x + e sign(grad_x S); sign(0) = +1.

    For a network trained with a head that divides (Hsu et al. 2020): its `head` has parts `h` and `g` that map
    features (B, D) to (B, K) and (B, 1), and `head(features)` = h / g. `divisor=True` takes S = g. e is in pixels, as
    ODIN's; where none is given `fit` takes, of those published, the one with the largest mean S(x') on ID validation,
    the first of equals. No step counts in the gradient, which is that of S at x'; `base` is S without the step.
    """

    name = "g-odin"
    reference = (
        "Hsu et al. 2020, Generalized ODIN: Detecting Out-of-distribution Image without Learning from "
        "Out-of-distribution Data, arXiv:2002.11297"
    )
    needs = frozenset({"features", "head h / g", "val"})
    symbols = {"e": "step_size"}
    step_sizes: ClassVar[tuple[float, ...]] = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)
    """The published candidates."""

    def __init__(
        self,
        net: Classifier,
        *,
        step_size: float | None = None,
        divisor: bool = False,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(net)
        check_step(step_size, std)
        self.step_size, self.divisor, self.std = step_size, divisor, std
        self._fit = step_size is None
        self.objectives = ("exact", "base")

    @usual_state()
    def fit(self, train: Batches, val: Batches) -> Self:
        if not self._fit:
            return self
        sums, n, device = torch.zeros(len(self.step_sizes), dtype=torch.double), 0, device_of(self.net)
        for images, _ in val:
            x, n = images.to(device), n + len(images)
            for place, size in enumerate(self.step_sizes):
                with torch.no_grad():
                    sums[place] += self._part(self._step(x, size)).double().sum().item()
        if not n:
            raise ValueError("g-odin cannot choose its step on an empty validation split")
        self.step_size = self.step_sizes[int(sums.argmax())]
        return self

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        """S, without the step."""
        part = getattr(self.net.head, "g" if self.divisor else "h", None)
        if not callable(part) or not callable(getattr(self.net.head, "g", None)):
            raise NeedsError(
                f"g-odin needs a network trained with a head that divides, logits = h / g, as parts `h` and `g` of its "
                f"`head`; {type(self.net).__name__} has none (docs/custom-detector.md)"
            )
        return cast(Tensor, part(features(self, h))).amax(1)

    def check_network(self, x: Tensor) -> None:
        super().check_network(x)
        self._part(x)

    def _part(self, x: Tensor) -> Tensor:
        return self.score(*self.net.outputs(x))

    def _step(self, x: Tensor, size: float | None = None) -> Tensor:
        size = self.step_size if size is None else size
        if size is None:
            raise ValueError("g-odin has no step size yet: call fit(train, val) or give step_size=")
        _, grad = autograd(self._part, x)
        return x + in_pixels(self.net, size, self.std, x) * torch.where(grad >= 0, 1.0, -1.0).to(x)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self._part(x + (self._step(x) - x).detach())

    def _value_and_grad(self, x: Tensor, objective: str) -> tuple[Tensor, Tensor]:
        return autograd(self._part, x if objective == "base" else self._step(x))

    scores_on = Detector.scores_on  # the step depends on the image, not on outputs alone

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        return (1, 1) if objective == "base" else (2, 2)

    def score_passes(self) -> tuple[int, int]:
        return 2, 1

    def fitted(self) -> dict[str, float]:
        return {"step_size": cast(float, self.step_size)} if self._fit else {}


class ApproximateMass(Score):
    """-norm2(grad_x log p(x)) with log p(x) = logsumexp(z) + constant, the energy model in every classifier.

    Its own gradient is -H u, H the second derivative of log p and u = grad log p / norm2. Where the softmax saturates a
    network of rectified units has no second derivative, and the score moves at the kinks alone. The surrogate
    `secant`, -(log p(x + d u) - log p(x - d u)) / 2d with u held constant, sees the kinks within d of the image; for
    d -> 0 it is the score. Never compiled: compilers do not differentiate twice.
    """

    name = "approximate-mass"
    reference = (
        "Grathwohl et al. 2020, Your Classifier is Secretly an Energy Based Model and You Should Treat it Like One, "
        "arXiv:1912.03263"
    )
    eager = True
    secant = 0.25
    """d, in l2 of the input space."""

    def __init__(self, net: Classifier) -> None:
        super().__init__(net)
        self.objectives = ("exact", "secant")

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        """log p(x), whose gradient counts."""
        return z.logsumexp(1)

    def log_p(self, x: Tensor) -> Tensor:
        return self.score(self.net.outputs(x).logits)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        if not (torch.is_grad_enabled() and x.requires_grad):
            return -length(autograd(self.log_p, x)[1])
        (grad,) = torch.autograd.grad(self.log_p(x).sum(), x, create_graph=True)
        return -length(grad)

    def _value_and_grad(self, x: Tensor, objective: str) -> tuple[Tensor, Tensor]:
        if objective == "exact":
            return autograd(self, x)
        _, grad = autograd(self.log_p, x)
        step = self.secant * grad / length(grad).view(-1, *[1] * (x.ndim - 1))
        ends, slopes = zip(*(autograd(self.log_p, x + sign * step) for sign in (1, -1)), strict=True)
        return (ends[1] - ends[0]) / (2 * self.secant), (slopes[1] - slopes[0]) / (2 * self.secant)

    scores_on = Detector.scores_on  # the gradient depends on the image, not on outputs alone

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        return (3, 3) if objective == "secant" else (2, 2)

    def score_passes(self) -> tuple[int, int]:
        return 1, 1


def length(grad: Tensor) -> Tensor:
    """norm2 (B,) of the gradients of images (B, ...), at least the root of the smallest float."""
    return torch.linalg.vector_norm(grad.flatten(1), dim=1).clamp_min(torch.finfo(grad.dtype).tiny ** 0.5)
