"""What the adversary may do to an image, an lp ball within the bounds of the input space, and knows of the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import torch
from torch import Tensor

from .trace import wide
from .waiting import demand

NOISE = {
    "fresh": "knows everything but the noise draws",
    "known-seed": "knows the draws too",
    "resubmit:q": "submits an image q times, the best draw counts",
}
"""What an adversary may know of the noise of a randomised detector."""
ROUNDING = 1e-6
"""How far a clean pixel may lie outside the bounds."""


@dataclass(frozen=True)
class ThreatModel:
    """{x' : norm(x' - x) <= eps, low <= x' <= high}, in units of the input space; images are (B, ...).

    `noise` is what the adversary knows of the draws that score an image (`NOISE`). With `quantize` only images whose
    change is a multiple of 1/255 are submitted.

    >>> ThreatModel(8 / 255, noise="resubmit:10").tries
    10
    """

    eps: float
    norm: Literal["linf", "l2"] = "linf"
    bounds: tuple[float, float] = (0.0, 1.0)
    noise: str = "fresh"
    quantize: bool = False

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"unknown norm {self.norm!r}: expected 'linf' or 'l2'")
        if not 0 <= self.eps < float("inf"):
            raise ValueError(f"epsilon {self.eps}: expected a finite number of at least 0")
        name, _, q = self.noise.partition(":")
        resubmits = name == "resubmit" and q.isascii() and q.isdecimal() and int(q) > 0
        if self.noise not in ("fresh", "known-seed") and not resubmits:
            near = get_close_matches(name.lower().replace("_", "-"), ("fresh", "known-seed", "resubmit"), 1)
            hint = f"did you mean {near[0]!r}? " if near and near[0] != name else ""
            raise ValueError(
                f"threat {self.noise!r}: {hint}expected fresh, known-seed or resubmit:q with q at least 1, "
                "as resubmit:10"
            )
        if self.quantize and self.bounds != (0.0, 1.0):
            raise ValueError("quantize rounds pixels of [0, 1]: leave it out in normalised space")

    @property
    def knows_seed(self) -> bool:
        """Whether the adversary knows the draws."""
        return self.noise == "known-seed"

    @property
    def tries(self) -> int:
        """How often the adversary may submit an image: q of resubmit:q, else 1."""
        return int(self.noise.partition(":")[2]) if self.noise.startswith("resubmit:") else 1

    def check(self, x: Tensor) -> None:
        """ValueError where x is no batch of finite float images (B, ...) within the bounds, up to rounding."""
        shape = tuple(x.shape)
        if x.ndim < 2 or not x.is_floating_point():
            raise ValueError(f"images are {x.dtype} {shape}: expected a batch (B, C, H, W) of floats")
        if x.ndim == 4 and min(shape[1:3]) > 4 and shape[3] in (1, 3):
            raise ValueError(f"images are {shape}: expected (B, C, H, W), x.permute(0, 3, 1, 2) gives that")
        if not x.numel():
            return
        (low, high), (least, most) = torch.stack(x.detach().aminmax()).double(), self.bounds
        inside = (low >= least - ROUNDING) & (high <= most + ROUNDING)
        demand(inside & low.isfinite() & high.isfinite(), lambda: self.outside(low.item(), high.item()))

    def outside(self, low: float, high: float) -> ValueError:
        """What is wrong with images whose pixels go from low to high."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return ValueError("images have pixels that are not finite")
        hint = ": divide by 255?" if 1 < high <= 255 and low >= 0 else ""
        least, most = self.bounds
        return ValueError(f"images have pixels from {low:g} to {high:g}, outside [{least:g}, {most:g}]{hint}")

    def submitted(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The images as they are submitted: rounded to 8 bits where `quantize` asks for it and eps allows it."""
        return quantize(x_adv, x) if self.quantize and 255 * self.eps >= 1 else x_adv

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
        if x_adv.shape != x.shape:
            raise ValueError(f"attacked images are {tuple(x_adv.shape)}: expected the shape of x, {tuple(x.shape)}")
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
        tiny = torch.finfo(g.dtype).tiny
        g = g / g.abs().amax(1, keepdim=True).clamp_min(tiny)  # squares neither under- nor overflow
        return (g / torch.linalg.vector_norm(g, dim=1, keepdim=True).clamp_min(tiny)).view_as(grad)

    def random(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """A uniform draw from the ball, projected onto the bounds."""
        if self.norm == "linf":
            unit = 2 * torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) - 1
        else:
            normal = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            radius = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype) ** (1 / x[0].numel())
            unit = self.ascent(normal) * wide(radius, x)
        return self.project(x + self.eps * unit, x)


def check_attack(threat: ThreatModel, x: Tensor, sign: int, *, start: Tensor | None = None, **counts: int) -> None:
    """ValueError for what no attack takes: less than one of `counts`, another sign, such images, or such a start."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} {count}: expected at least 1")
    threat.check(x)
    if sign not in (-1, 1):
        raise ValueError(f"sign {sign}: expected -1 (lower the score) or 1 (raise it)")
    if start is not None and start.shape != x.shape:
        raise ValueError(f"start of shape {tuple(start.shape)}: expected that of the images, {tuple(x.shape)}")


def quantize(x_adv: Tensor, x: Tensor) -> Tensor:
    """x_adv with its change of the 8-bit image x in [0, 1] rounded to multiples of 1/255, towards x.

    Of an image that is not 8-bit itself the change still is: the result never leaves the ball.
    """
    change = 255 * (x_adv - x)
    return x + (change + 1e-4 * change.sign()).trunc() / 255
