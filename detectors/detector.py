"""The seam every attack and every report goes through: `Classifier` in, one score per image out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

Batches = Iterable[tuple[Tensor, Tensor]]


class Outputs(NamedTuple):
    """What a network says of a batch: logits (B, K) and penultimate features (B, D), None where it has none."""

    logits: Tensor
    features: Tensor | None


class Classifier(Protocol):
    """A frozen network in eval mode that takes images of the input space and normalises them itself.

    `outputs(x)` gives logits and features with `logits = head(features)`; calling it gives the logits alone.
    """

    @property
    def head(self) -> nn.Linear: ...

    def outputs(self, x: Tensor) -> Outputs: ...

    def __call__(self, x: Tensor) -> Tensor: ...


class Fitting(NamedTuple):
    """Outputs of the network on a whole ID split: logits (n, K), features (n, D) and labels (n,)."""

    logits: Tensor
    features: Tensor | None
    labels: Tensor


@torch.no_grad()
def collect(net: Classifier, batches: Batches) -> Fitting:
    """One pass of `net` over `batches`; a data set with an `outputs(net)` method answers from its own cache."""
    if hasattr(batches, "outputs"):
        return cast(Fitting, batches.outputs(net))
    device = net.head.weight.device
    parts = [(net.outputs(x.to(device)), y.to(device)) for x, y in batches]
    if not parts:
        raise ValueError("cannot fit on an empty split: expected at least one batch of (images, labels)")
    features = None if parts[0][0].features is None else torch.cat([cast(Tensor, o.features) for o, _ in parts])
    return Fitting(torch.cat([o.logits for o, _ in parts]), features, torch.cat([y for _, y in parts]))


class Detector(nn.Module):
    """One score per image, higher = more in-distribution, differentiable almost everywhere in the image.

    A subclass gives `forward`; it overrides `value_and_grad` and `objectives` where autograd through `forward` is not
    the best way (or not the only way) to attack it. Images are (B, C, H, W) in the network's input space, scores (B,).
    A randomised detector sets `randomized = True` and draws all its randomness from the generator it is given.
    """

    name: ClassVar[str] = ""
    symbols: ClassVar[Mapping[str, str]] = {}
    """The paper's symbol of a hyper-parameter, where it differs from the argument's name."""
    grid: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """The published search grid: values per hyper-parameter."""
    reference: ClassVar[str] = ""
    """The paper."""
    randomized: bool = False
    objectives: tuple[str, ...] = ("exact",)

    def fit(self, train: Batches, val: Batches) -> Detector:
        """Estimate what the score needs from ID training and validation batches of (images, labels).

        Both may be read more than once: give a list or a data set, not an iterator.
        """
        return self

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The objective (B,) and its gradient with respect to each image (like x), both detached.

        Every objective grows with the score. An image the objective does not depend on gets a zero gradient.
        """
        self.check_objective(objective)
        if not self.randomized:
            return autograd(self, x)
        n = draws or 1
        pairs = [autograd(lambda x: self(x, generator=generator), x) for _ in range(n)]
        return sum(v for v, _ in pairs) / n, sum(g for _, g in pairs) / n  # type: ignore[return-value]

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        """Network passes (forward, backward) that one `value_and_grad` spends on one image."""
        n = (draws or 1) if self.randomized else 1
        return n, n

    def score_passes(self) -> tuple[int, int]:
        """Network passes (forward, backward) that one score costs."""
        return 1, 0

    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest score that any image can have; infinite where no bound is known."""
        return -math.inf, math.inf

    def hyperparameters(self) -> dict[str, Any]:
        """The keyword-only arguments of the constructor with their values (a fitted one after `fit`)."""
        names = [name for name in keywords(type(self)) if name not in ("chunk", "seed")]
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def fitted(self) -> dict[str, float]:
        """The numbers that `fit` estimated, for the record."""
        return {}

    def check_objective(self, objective: str) -> None:
        if objective not in self.objectives:
            raise ValueError(
                f"unknown objective {objective!r} of {self.name}: expected one of {', '.join(self.objectives)}"
            )


class Plain(Detector):
    """Any nn.Module that maps images (B, C, H, W) to scores (B,), attacked by autograd through its forward pass."""

    def __init__(self, module: nn.Module, params: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.module = module.eval().requires_grad_(False)
        self.name = type(module).__name__  # type: ignore[misc]
        self.params = dict(params or {})

    def hyperparameters(self) -> dict[str, Any]:
        """The parameters that the module was made with."""
        return self.params

    def fit(self, train: Batches, val: Batches) -> Plain:
        if hasattr(self.module, "fit"):
            cast(Any, self.module).fit(train, val)
        return self

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.module(x)


def autograd(objective: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Value (B,) and gradient of a batch-separable objective; the gradient is zero where none flows."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = objective(x)
        if not value.requires_grad:
            return value, torch.zeros_like(x)
        (grad,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
    return value.detach(), torch.zeros_like(x) if grad is None else grad


def keywords(cls: type) -> dict[str, Any]:
    """The keyword-only arguments of a class's constructor and their defaults."""
    signature = inspect.signature(cls)
    return {p.name: p.default for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}


Surrogate = Callable[[Any, Tensor, Tensor | None], Tensor]


class Score(Detector):
    """A base score: a function `score(z, h)` of one network's logits z (B, K) and features h (B, D).

    `surrogates` are increasing functions of the score, or bounds of it, whose gradient does not vanish where the
    score saturates; they are further objectives of the attack.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """Beyond logits: `features`, and the splits `train` and `val` that `fit` reads."""
    surrogates: ClassVar[Mapping[str, Surrogate]] = {}

    def __init__(self, net: Classifier) -> None:
        super().__init__()
        self.net = net
        self.objectives = ("exact", *self.surrogates)

    def score(self, z: Tensor, h: Tensor | None) -> Tensor:
        raise NotImplementedError

    def fit(self, train: Batches, val: Batches) -> Score:
        """One pass of the network over each split that the score needs, then `fit_outputs`."""
        if self.needs & {"train", "val"}:
            self.fit_outputs(
                collect(self.net, train) if "train" in self.needs else None,
                collect(self.net, val) if "val" in self.needs else None,
            )
        return self

    def fit_outputs(self, train: Fitting | None, val: Fitting | None) -> None:
        """Fit from the network's outputs on the splits that `needs` names; the other is None."""

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.score(*self.net.outputs(x))

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        self.check_objective(objective)
        if objective == "exact":
            return autograd(self, x)
        return autograd(lambda x: self.surrogates[objective](self, *self.net.outputs(x)), x)
