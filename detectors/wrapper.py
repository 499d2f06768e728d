"""What detectors over a base score have in common: its fit, its objectives, the weighted sum of its gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .detector import Batches, Detector

if TYPE_CHECKING:
    from typing_extensions import Self


class Wrapper(Detector):
    """A score made of the scores of a deterministic detector `base`, such as a minimum along a path or a median.

    It can be attacked through the base alone: objective `base` is the base's score, the transfer attack, and
    `base:NAME` its objective NAME; both go to the base and draw no noise. A subclass gives `forward`, lists objectives
    of its own, and overrides `own_value_and_grad` and `own_passes` for them. ValueError for a randomised base.

    >>> from detectors import MSP, Outputs
    >>> class Rounded(Wrapper):
    ...     name = "rounded"
    ...     def forward(self, x, *, generator=None):
    ...         return self.base(x).round(decimals=1)
    >>> class Logits(torch.nn.Module):  # a network whose logits are its input
    ...     def outputs(self, x):
    ...         return Outputs(x, None)
    >>> rounded = Rounded(MSP(Logits()))
    >>> rounded.label, rounded.objectives
    ('rounded(msp)', ('exact', 'base', 'base:log-odds'))
    >>> x = torch.tensor([[2.0, 0.0]])
    >>> rounded.value_and_grad(x)  # rounding lets no gradient through
    (tensor([0.9000]), tensor([[0., 0.]]))
    >>> rounded.value_and_grad(x, objective="base:log-odds")
    (tensor([2.]), tensor([[ 1., -1.]]))
    """

    objectives: tuple[str, ...] = ("exact", "base")

    def __init__(self, base: Detector) -> None:
        super().__init__()
        if base.randomized:
            raise ValueError(f"{self.name or type(self).__name__} needs a deterministic base score, not {base.name}")
        self.base = base
        self.objectives = (*type(self).objectives, *surrogates_of(base))

    def fit(self, train: Batches, val: Batches) -> Self:
        self.base.fit(train, val)
        return self

    def fitted(self) -> dict[str, float]:
        return self.base.fitted()

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        self.check_objective(objective)
        inner = objective_of_base(objective)
        if inner is not None:
            return self.base.value_and_grad(x, objective=inner)
        return self.own_value_and_grad(x, objective=objective, draws=draws, generator=generator)

    def own_value_and_grad(
        self, x: Tensor, *, objective: str, draws: int | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """`value_and_grad` of an objective that is not the base's; here by autograd through `forward`."""
        return super().value_and_grad(x, objective=objective, draws=draws, generator=generator)

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        inner = objective_of_base(objective)
        return self.own_passes(objective, draws) if inner is None else self.base.passes(inner)

    def own_passes(self, objective: str, draws: int | None) -> tuple[int, int]:
        """`passes` of an objective that is not the base's; here one `value_and_grad` of the base a draw."""
        n, (forward, backward) = (draws or 1) if self.randomized else 1, self.base.passes()
        return n * forward, n * backward

    def score_passes(self) -> tuple[int, int]:
        return self.base.score_passes()


def objective_of_base(objective: str) -> str | None:
    """The base's objective that a wrapper's objective names, None for one of the wrapper's own.

    >>> [objective_of_base(name) for name in ("base", "base:log-odds", "mean")]
    ['exact', 'log-odds', None]
    """
    kind, _, name = objective.partition(":")
    return (name or "exact") if kind == "base" else None


def surrogates_of(base: Detector) -> tuple[str, ...]:
    """A wrapper's objectives `base:NAME`, one for every surrogate of its base score."""
    return tuple(f"base:{name}" for name in base.objectives if name not in ("exact", "base"))


def sum_weighted(weights: Tensor, grads: Tensor) -> Tensor:
    """sum_i w_i g_i over the first dimension: weights (N, B), grads (N, B, ...) -> (B, ...)."""
    return torch.einsum("nb,nb...->b...", weights, grads)
