"""What the adversary may do to an image: an lp ball around it, inside the bounds of the input space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor


class Detector(Protocol):
    """All that an attack knows of a detector (SPEC: the seam)."""

    randomized: bool
    objectives: tuple[str, ...]

    def __call__(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor: ...

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]: ...

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]: ...

    def score_passes(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class ThreatModel:
    """{x' : norm(x' - x) <= eps, low <= x' <= high}, in units of the input space; images are (B, ...)."""

    eps: float
    norm: Literal["linf", "l2"] = "linf"
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"unknown norm {self.norm!r}: expected 'linf' or 'l2'")
        if not 0 <= self.eps < float("inf"):
            raise ValueError(f"epsilon {self.eps}: expected a finite number of at least 0")

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest point (Euclidean) to x_adv that the adversary may reach from x."""
        low, high = self.bounds
        if self.norm == "linf":
            return torch.minimum(torch.maximum(x_adv, x - self.eps), x + self.eps).clamp(low, high)
        return x + self._l2(x_adv - x, low - x, high - x)

    def _l2(self, v: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The projection of v onto {d : norm2(d) <= eps, low <= d <= high}, which is clip(t v) for one t in [0, 1].

        norm2(clip(t v))^2 is increasing, concave and piecewise linear in t^2, so Newton's method from the left climbs
        to the t at which it is eps^2 without ever leaving the ball.
        """
        shape = v.shape
        v, low, high = v.flatten(1), low.flatten(1), high.flatten(1)
        scale = v.abs().amax(1, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)
        square = (v / scale) ** 2  # of v / max|v|: no overflow for a huge step
        room = (torch.where(v > 0, high, low) / scale) ** 2
        budget = (self.eps / scale).squeeze(1) ** 2
        t2 = torch.zeros_like(budget)
        for _ in range(12):
            scaled = t2[:, None] * square
            norm2 = torch.minimum(scaled, room).sum(1)
            slope = torch.where(scaled < room, square, 0).sum(1)
            t2 = torch.where(slope > 0, t2 + (budget - norm2).clamp_min(0) / slope, t2).clamp_max(1)
        d = torch.minimum(torch.maximum(t2.sqrt()[:, None] * v, low), high)
        norm = torch.linalg.vector_norm(d, dim=1, keepdim=True)
        d = d * (self.eps / norm.clamp_min(torch.finfo(v.dtype).tiny)).clamp_max(1)  # rounding only
        return d.view(shape)

    def violation(self, x_adv: Tensor, x: Tensor) -> float:
        """How far x_adv is outside the ball or the bounds at its worst; NaN counts as infinitely far."""
        d, (low, high) = (x_adv - x).flatten(1), self.bounds
        norm = d.abs().amax(1) if self.norm == "linf" else torch.linalg.vector_norm(d, dim=1)
        outside = torch.stack([norm.max() - self.eps, low - x_adv.min(), x_adv.max() - high])
        return outside.nan_to_num(nan=torch.inf).max().clamp_min(0).item()

    def ascent(self, grad: Tensor) -> Tensor:
        """The direction of steepest ascent of length 1 in this norm: sign(g) for linf, g / norm2(g) for l2."""
        return grad.sign() if self.norm == "linf" else self.unit(grad)

    @staticmethod
    def unit(grad: Tensor) -> Tensor:
        """g / norm2(g) per image, 0 for a zero gradient."""
        g = grad.flatten(1)
        g = g / g.abs().amax(1, keepdim=True).clamp_min(
            torch.finfo(g.dtype).tiny
        )  # squares neither under- nor overflow
        norm = torch.linalg.vector_norm(g, dim=1, keepdim=True)
        return (g / norm.clamp_min(torch.finfo(g.dtype).tiny)).view_as(grad)

    def random(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """A uniform draw from the ball, projected onto the bounds."""
        if self.norm == "linf":
            unit = 2 * torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) - 1
        else:
            normal = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            radius = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype) ** (1 / x[0].numel())
            unit = self.ascent(normal) * radius.view(-1, *[1] * (x.ndim - 1))
        return self.project(x + self.eps * unit, x)


class NonFiniteError(ValueError):
    """A detector's objective or gradient is not finite; `index` is the image's place in the batch."""

    def __init__(self, what: str, index: int) -> None:
        super().__init__(f"{what} is not finite")
        self.what, self.index = what, index


def check_finite(value: Tensor, grad: Tensor | None = None) -> None:
    """Raise NonFiniteError for the first image with a NaN or infinite objective or gradient."""
    check_visited(value[None], finite(value, grad)[None])


def finite(value: Tensor, grad: Tensor | None = None) -> Tensor:
    """(2, B) bool: whether each image's objective and gradient are finite; stays on the device."""
    good = value.isfinite()
    return torch.stack([good, good if grad is None else grad.flatten(1).isfinite().all(1)])


def check_visited(values: Tensor, good: Tensor) -> None:
    """Raise NonFiniteError for the first of k visits with a bad objective (k, B) or gradient; `good` is (k, 2, B)."""
    bad = ~good.all(1)
    if bad.any():
        visit, index = (int(i) for i in bad.nonzero()[0])
        value = values[visit, index]
        raise NonFiniteError("gradient" if value.isfinite() else f"score {value.item()}", index)
