"""A detector as a two-class network: the view that other libraries' attacks take."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from .seam import Detector, check_finite, gradient_of
from .trace import wide

FARTHEST = 5.0
"""Of a clean score from the threshold, in the view's logits: further below, cross-entropy loses its gradient."""
ID, OOD = 0, 1
"""The classes of the two-logit view."""


class TwoLogits(nn.Module):
    """logits ((s - t) scale, (t - s) scale): class 0 is ID, class 1 OOD; cross-entropy is monotone in the score s.

    s is the detector's score and its gradient the detector's own `value_and_grad` of `objective`, through its
    randomness (`draws` copies from `generator`) and inner loops. `TwoLogits.of(detector, x)` takes threshold t and
    scale from clean images (`view_of`).
    """

    def __init__(
        self,
        detector: Detector,
        threshold: float,
        scale: float = 1.0,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not hasattr(detector, "value_and_grad"):
            raise ValueError(
                f"{type(detector).__name__} is no Detector: wrap a module of scores, detectors.Plain(module)"
            )
        if detector.randomized and generator is None:
            raise ValueError("a randomised detector needs a torch.Generator (generator=...)")
        self.detector, self.objective, self.draws, self.generator = detector, objective, draws, generator
        device = next((p.device for p in parts_of(detector)), None)
        self.threshold = nn.Parameter(
            torch.tensor(float(threshold), device=device, dtype=torch.float32), requires_grad=False
        )
        self.scale = scale
        self.spent = [0, 0]
        """Network passes (forward, backward) so far, over all images."""
        self.training = False

    @classmethod
    @torch.no_grad()
    def of(cls, detector: Detector, x_id: Tensor, x_ood: Tensor | None = None, **settings: Any) -> TwoLogits:
        """The view of a detector by clean images (B, C, H, W) of ID and, if any, OOD; `settings` as of the class."""
        view = cls(detector, 0.0, **settings)
        id_scores = view.score(x_id)
        threshold, scale = view_of(id_scores, id_scores[:0] if x_ood is None else view.score(x_ood))
        return cls(detector, threshold, scale, **settings)

    def train(self, mode: bool = True) -> TwoLogits:
        """Leaves the detector in the mode in which it is, whatever another library asks for."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        differentiated = torch.is_grad_enabled() and x.requires_grad
        s = cast(Tensor, Score.apply(x, self)) if differentiated else self.score(x)
        margin = (s - self.threshold) * self.scale
        return torch.stack([margin, -margin], 1)

    @torch.no_grad()
    def score(self, x: Tensor) -> Tensor:
        """The detector's score (B,)."""
        self.spend(len(x), self.detector.score_passes())
        return self.detector(x, generator=self.generator) if self.detector.randomized else self.detector(x)

    def spend(self, images: int, passes: tuple[int, int]) -> None:
        self.spent = [total + images * n for total, n in zip(self.spent, passes, strict=True)]


class Score(torch.autograd.Function):
    """A detector's score with the gradient that it gives itself for an objective."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, view: TwoLogits) -> Tensor:
        value, grad = gradient_of(
            view.detector, x, objective=view.objective, draws=view.draws, generator=view.generator
        )
        view.spend(len(x), view.detector.passes(view.objective, view.draws))
        ctx.save_for_backward(grad)
        return value if view.objective == "exact" else view.score(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = ctx.saved_tensors
        return wide(grads[0], grad) * grad, None


def parts_of(detector: Detector) -> list[Tensor]:
    """The tensors of a detector that is an nn.Module."""
    return [*detector.parameters(), *detector.buffers()] if isinstance(detector, nn.Module) else []


def view_of(id_scores: Tensor, ood_scores: Tensor) -> tuple[float, float]:
    """Threshold and scale of the two-logit view by clean scores (n,) and (m,).

    t = sorted_id[floor(0.05 n)], which 95% of ID reach; the scale is 1 over the interquartile range of ID, or over a
    fifth of the largest distance of any score from t where that is more.
    """
    if not len(id_scores):
        raise ValueError("no ID images: the threshold is that which 95% of their scores reach")
    check_finite(id_scores)
    check_finite(ood_scores)
    s = id_scores.double().sort().values
    threshold, (low, high) = s[int(0.05 * len(s))], torch.quantile(s, s.new_tensor([0.25, 0.75]))
    farthest = (torch.cat([s, ood_scores.to(s)]) - threshold).abs().max()
    spread = float(torch.maximum(high - low, farthest / FARTHEST))
    return float(threshold), 1 / spread if spread > 0 else 1.0
