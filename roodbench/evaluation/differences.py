"""Does a gradient tell the truth? Differences of the score against it, along random directions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attacks import ThreatModel
from detectors import Detector

DIRECTIONS = 8
"""Along which every image is moved, there and back."""
FINE, COARSE = 1e-6, (1 / 128, 1 / 32, 1 / 8, 1 / 2)
"""Steps as shares of epsilon: so small that hardly a kink is met, in float64; above what rounding hides."""
TRUE = {FINE: 0.99} | dict.fromkeys(COARSE, 0.7)
"""Cosine below which an image's gradient is not its score's, by step: kinks blur the larger ones."""
MEASURABLE = 1e3
"""Units in the last place of a score: smaller changes are rounding."""
BESIDE = 1 / 50
"""Of epsilon, how far from an attack's images the gradient is judged."""

Noise = Callable[[], torch.Generator]
"""A generator that is the same at every call: common noise."""


@dataclass(frozen=True)
class Agreement:
    """How far differences of the score agree with its gradient: cosines (B,), NaN where neither changes measurably."""

    cosines: Tensor
    steps: Tensor
    """(B,) the step, as a share of epsilon, at which each image was judged."""

    @property
    def untrue(self) -> float:
        """Share of images whose gradient is not their score's."""
        least = torch.tensor([TRUE[step] for step in self.steps.tolist()], dtype=torch.double)
        return float((self.cosines < least).double().mean())


def agreement(detector: Detector, x: Tensor, threat: ThreatModel, noise: Noise) -> Agreement:
    """Of images x (B, C, H, W), the cosine over random sign directions u_k between d_k and g . u_k.

    d_k = (s(x + u_k) - s(x - u_k)) / 2 for a step norminf(u_k) far below epsilon, all on the same noise, and g the
    gradient of `exact`. It is 1 where g is the gradient of the score; what is detached from g lowers it by its share of
    the change. In float64 it is 1 up to rounding for every score that is smooth almost everywhere. Where the score does
    not change measurably at this step (it is saturated, or of rounded images), or the detector does not compute in
    float64, an image is judged at the larger step at which they agree best.
    """
    generator = torch.Generator().manual_seed(0)
    signs = (2 * torch.randint(0, 2, (DIRECTIONS, *x.shape), generator=generator) - 1).to(x)
    double = doubled(detector, x, noise)
    cosines = torch.full((len(x),), torch.nan, dtype=torch.double)
    steps = torch.full_like(cosines, FINE if double is not None else COARSE[0])
    open_ = torch.ones(len(x), dtype=torch.bool)
    if double is not None:
        detector, x, signs = double, x.double(), signs.double()
        cosines, changes = measure(detector, x, signs, FINE, threat, noise)
        open_ = ~changes
    for step in COARSE:
        if not open_.any():
            break
        found, changes = measure(detector, x, signs, step, threat, noise)
        better = open_ & ~found.isnan() & ~(found <= cosines)
        cosines, steps = torch.where(better, found, cosines), torch.where(better, step, steps)
        open_ &= ~(changes & (cosines >= TRUE[step]))
    return Agreement(cosines, steps)


def beside(x_adv: Tensor, x: Tensor, threat: ThreatModel, generator: torch.Generator) -> Tensor:
    """Points next to x_adv (B, C, H, W) in the balls around x: attacks end on kinks, where no gradient says all."""
    return threat.project(replace(threat, eps=BESIDE * threat.eps).random(x_adv, generator), x)


def measure(
    detector: Detector, x: Tensor, signs: Tensor, step: float, threat: ThreatModel, noise: Noise
) -> tuple[Tensor, Tensor]:
    """The cosines (B,) along signs (K, B, C, H, W) at one step, NaN where neither the score nor its linear model
    changes measurably; whether the score does (B,).

    The step is a share of epsilon, in l2 of a length spread evenly over the pixels; x is moved inside the bounds, so
    that none leaves them.
    """
    low, high = threat.bounds
    length = threat.eps if threat.norm == "linf" else threat.eps / x[0].numel() ** 0.5
    reach = min(step * length, (high - low) / 4)
    x = x.clamp(low + reach, high - reach)
    score, grad, own = looked(detector, x, noise)

    def scored(z: Tensor) -> Tensor:
        """The score, or where that has other noise, the value that has the gradient."""
        if own:
            return detector.value_and_grad(z, generator=given(detector, noise))[0]
        with torch.no_grad():
            return detector(z, generator=given(detector, noise))

    changes = torch.stack([(scored(x + reach * u) - scored(x - reach * u)) / 2 for u in signs]).double()
    predicted = reach * torch.einsum("kb...,b...->kb", signs.double(), grad.double())
    change, prediction = changes.norm(dim=0), predicted.norm(dim=0)
    cosine = (changes * predicted).sum(0) / (change * prediction).clamp_min(torch.finfo(torch.float64).tiny)
    rounding = MEASURABLE * torch.finfo(score.dtype).eps * score.double().abs()
    broken = ~(change.isfinite() & prediction.isfinite())
    still = (change <= rounding) & (prediction <= rounding)
    return cosine.masked_fill(still, torch.nan).masked_fill(broken, -1.0).cpu(), (change > rounding).cpu()


def looked(detector: Detector, x: Tensor, noise: Noise, objective: str = "exact") -> tuple[Tensor, Tensor, bool]:
    """Score (B,) and an objective's gradient on the same noise; whether they are one call's, whose value is then the
    score: a randomised detector may give its gradient on other noise than its score.
    """
    value, grad = detector.value_and_grad(x, objective=objective, generator=given(detector, noise))
    with torch.no_grad():
        score = detector(x, generator=given(detector, noise))
    own = detector.randomized and not torch.allclose(value, score, rtol=1e-4, atol=1e-6)
    return (value if own else score), grad, own


def differing(a: Tensor, b: Tensor) -> float:
    """The largest difference between scores (..., n) of the same images, over their size and range."""
    a, b = a.double(), b.double()
    size = (a.abs() + a.max() - a.min()).clamp_min(torch.finfo(torch.double).tiny)
    return float(((a - b).abs() / size).nan_to_num(torch.inf).max())


def value_gap(detector: Detector, x: Tensor) -> float:
    """`differing` between the scores of images x and the values of `value_and_grad`.

    Attacks keep the iterate whose value is best. Of a detector without noise.
    """
    value, _ = detector.value_and_grad(x)
    with torch.no_grad():
        score = detector(x)
    return differing(score, value)


def given(detector: Detector, noise: Noise) -> torch.Generator | None:
    """What a detector is called with: a generator where it is randomised."""
    return noise() if detector.randomized else None


def doubled(detector: Detector, x: Tensor, noise: Noise) -> Detector | None:
    """A copy of the detector in float64; None for one that cannot be copied or does not compute in float64.

    None too where a part of the copy is the detector's own, as of a network that is kept once: that stays as it is.
    """
    try:
        with torch.no_grad(), CopiedInFloat64():
            double = copy.deepcopy(detector)
        if parts_of(double) & parts_of(detector):
            return None
        with torch.no_grad():
            score = double.double()(x[:2].double(), generator=given(detector, noise))
        double.value_and_grad(x[:2].double(), generator=given(detector, noise))
    except Exception:  # whatever a user's detector raises where it makes float32 tensors of its own
        return None
    return double if score.dtype == torch.float64 else None


class CopiedInFloat64(TorchFunctionMode):
    """In it, deepcopy makes floating tensors float64 wherever they are: `double` alone sees no plain attribute."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in (Tensor.__deepcopy__, Tensor.clone) and made.is_floating_point():  # nn.Parameter copies by clone
            made.data = made.data.double()
        return made


def parts_of(module: nn.Module) -> set[tuple[str, int]]:
    """What a module is made of: its parts, and the memory of their parameters and buffers."""
    tensors = chain(module.parameters(), module.buffers())
    memory = {("memory", tensor.untyped_storage().data_ptr()) for tensor in tensors if tensor.numel()}
    return memory | {("part", id(part)) for part in module.modules()}
