"""What an attack leaves behind, and the recorder that keeps it so that the loops read like their papers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .seam import Detector, check_visited, finite, gradient_of


@dataclass(frozen=True)
class Attacked:
    """The result of one attack on a batch: images like x, their objective (B,), and what happened on the way."""

    images: Tensor
    values: Tensor
    trace: Trace


@dataclass(frozen=True)
class Trace:
    """The objective of every visited iterate, the sum of step sizes, and the images whose start had no gradient."""

    values: Tensor
    """(restarts * (steps + 1), B); (restarts * steps, B) where the last iterate is kept, which nobody looks at."""
    travel: float | Tensor
    """A tensor where steps depend on the images: the host need not know it before the end."""
    zero_gradient: Tensor
    """(B,): whether the gradient at the first start is exactly zero; NaN where a suite did not run it."""
    runs: int = 1
    """Restarts, one after the other in `values`."""

    @classmethod
    def empty(cls, x: Tensor) -> Trace:
        """Of an attack that looked at nothing, on images x (B, ...)."""
        return cls(x.new_empty(0, len(x)), 0.0, x.new_full((len(x),), torch.nan))

    @classmethod
    def of_queries(cls, values: list[Tensor]) -> Trace:
        """Of an attack that asked for scores (B,) and no gradient."""
        return cls(torch.stack(values), 0.0, torch.zeros_like(values[0], dtype=torch.bool))

    @classmethod
    def together(cls, parts: Sequence[Trace]) -> Trace:
        """Of single runs on different images of a batch, each spread over it."""
        longest = max(len(part.values) for part in parts)
        first, *others = (part.padded(longest) for part in parts)
        values, zero_gradient = first.values, first.zero_gradient
        for part in others:
            values = torch.where(values.isnan(), part.values, values)
            zero_gradient = torch.where(zero_gradient.isnan(), part.zero_gradient, zero_gradient)
        return cls(values, first.travel, zero_gradient, first.runs)

    def padded(self, length: int) -> Trace:
        """The same, with NaN before it, as one of so many visits."""
        missing = self.values.new_full((length - len(self.values), self.values.shape[1]), torch.nan)
        return replace(self, values=torch.cat([missing, self.values]))

    def hidden(self) -> Trace:
        """The same with NaN as its values, which are not those of the score."""
        return replace(self, values=torch.full_like(self.values, torch.nan))

    def apart(self, copies: int) -> Trace:
        """Of a batch that held so many copies of the images: each copy is a run of its own."""
        values = self.values.unflatten(1, (copies, -1)).transpose(0, 1).flatten(0, 1)
        return Trace(values, self.travel, self.zero_gradient.unflatten(0, (copies, -1))[0], copies)

    @classmethod
    def joined(cls, parts: Sequence[Trace]) -> Trace:
        """Of runs on the same images, one after the other."""
        values = torch.cat([part.values for part in parts])
        return cls(values, parts[0].travel, parts[0].zero_gradient, sum(part.runs for part in parts))

    def spread(self, index: Tensor, size: int) -> Trace:
        """The trace of a subset of a batch as one of the batch: NaN for the others."""
        values = self.values.new_full((len(self.values), size), torch.nan)
        values[:, index] = self.values
        zero_gradient = torch.full((size,), torch.nan, device=values.device, dtype=torch.float32)
        zero_gradient[index] = self.zero_gradient.float()
        return Trace(values, self.travel, zero_gradient, self.runs)


class Recorder:
    """Called with images, gives the detector's objective and gradient there and remembers what a `Trace` shows.

    Finiteness is checked once, by `trace`: a GPU need not wait in every step.
    """

    def __init__(
        self, detector: Detector, *, objective: str, draws: int | None, generator: torch.Generator | None
    ) -> None:
        self.detector = detector
        self.settings = {"objective": objective, "draws": draws, "generator": generator}
        self.values: list[Tensor] = []
        self.finite: list[Tensor] = []
        self.begun = 0
        self.zero_gradient: Tensor | None = None

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        value, grad = gradient_of(self.detector, z, **self.settings)
        if self.zero_gradient is None:
            self.zero_gradient = (grad.flatten(1) == 0).all(1)
        self.values.append(value)
        self.finite.append(finite(grad))
        return value, grad

    def begin(self) -> None:
        """What was looked at so far, the clean images, is no part of the trace."""
        self.begun, self.zero_gradient = len(self.values), None

    def trace(self, travel: float | Tensor, runs: int) -> Trace:
        """Everything since `begin`, of so many restarts; NonFiniteError for the first value that is not finite."""
        check_visited(torch.stack(self.values), torch.stack(self.finite))
        assert self.zero_gradient is not None
        return Trace(torch.stack(self.values[self.begun :]), travel, self.zero_gradient, runs)


def unbeaten(x: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """(image, value) with which `better` starts where x itself does not count: any value improves on it."""
    return x, torch.full((len(x),), -sign * torch.inf, device=x.device, dtype=x.dtype)


def better(sign: int, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Per image, the (image, value) with the lower (`sign=-1`) or higher value; the old one on a tie."""
    wins = sign * new[1] > sign * old[1]
    return pick(wins, new[0], old[0]), pick(wins, new[1], old[1])


def pick(wins: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` (B, ...) for the images that win, (B,) bool, else `old`."""
    return torch.where(wide(wins, old), new, old)


def wide(per_image: Tensor, x: Tensor) -> Tensor:
    """(B,) as (B, 1, ..., 1), to be multiplied with x."""
    return per_image.view(-1, *[1] * (x.ndim - 1))
