"""Median smoothing over any deterministic base score: scores of N noisy copies, combined per image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .detector import Batches, Detector, Images, Over
from .wrapper import Wrapper, sum_weighted

if TYPE_CHECKING:
    from typing_extensions import Self

PAPER = (
    "Stoica, Hekal & Lomuscio 2026, A Robust Out-of-Distribution Detection Framework via Synergistic Smoothing, "
    "arXiv:2605.08191"
)
"""Of ROSS, and of the smoothed scores that it is compared with."""

SIGMAS = (0.00625, 0.0125, 0.025, 0.0625)
"""The published grid in normalised space, {.025, .05, .1, .25}, times a standard deviation of 0.25."""
COPIES = (5, 10, 25, 50, 100)
MOST = 10**6
"""Copies of an image: a quarter of a GB of scores for a shard of 64."""


class Smoothed(Wrapper):
    """combine(s_1, ..., s_N) with s_i = s(x + g_i), g_i ~ N(0, sigma^2 I), no clipping in between.

    sigma is in units of the network's input space (default 0.0125: the published 0.05 in normalised space times a
    standard deviation of about 0.25). The network sees at most `chunk` images at once, or one copy of the batch.

    `value_and_grad` draws `draws` copies (default N). Objectives: `exact` (the combination); `mean` (of the s_i);
    `soft-median` (weights proportional to exp(-(s_i - m)^2 / (2 h^2)), h = D / 2, held constant); `base` (s of the
    clean image, no noise: the transfer attack) and `base:NAME` for every surrogate NAME of s. A few copies, and `mean`,
    take one forward and backward pass each; for more than chunk / 8 copies the scores come first, without gradients,
    and a second pass with the same noise adds up w_i grad s_i, w = d combine / d s: peak memory does not grow with N.
    """

    randomized = True
    objectives: tuple[str, ...] = ("exact", "mean", "soft-median", "base")
    shared: ClassVar[tuple[str, ...]] = ("copies",)
    symbols = {"N": "copies"}
    incidental = frozenset({"chunk"})
    run_settings = frozenset({"chunk", "seed"})
    grid = {"sigma": SIGMAS, "copies": COPIES}

    def __init__(
        self, base: Detector, *, copies: int = 25, sigma: float = 0.0125, chunk: int = 256, seed: int = 0
    ) -> None:
        super().__init__(base)
        if not 1 <= copies <= MOST:
            raise ValueError(f"copies {copies}: expected at least 1 and at most {MOST}, whose scores memory holds")
        if not 0 <= sigma < math.inf:
            raise ValueError(f"sigma {sigma}: expected a number of at least 0")
        if chunk < 1:
            raise ValueError(f"chunk {chunk}: expected at least 1 image")
        self.copies, self.sigma, self.chunk, self.seed = copies, sigma, chunk, seed

    def combine(self, s: Tensor) -> Tensor:
        """The score (B,) of the matrix of copies' scores s (N, B)."""
        raise NotImplementedError

    def fit_medians(self, m: Tensor) -> None:
        """Estimate what the combination needs from the medians (n,) of the ID validation images."""

    @classmethod
    def together(
        cls, members: Sequence[Self], train: Batches, sets: Sequence[Images], over: Over[Images]
    ) -> list[list[Tensor]]:
        """Every member combines the first of the most copies' scores, fitted on the medians of those of `sets[0]`."""
        most = max(members, key=lambda member: member.copies)
        most.base.fit(train, sets[0])
        matrices = [over(images, lambda x, generator: most.matrix(x, generator=generator)) for images in sets]
        found = []
        for member in members:
            scores = [matrix[: member.copies] for matrix in matrices]
            member.fit_medians(median(scores[0])[0])
            found.append([member.combine(s) for s in scores])
        return found

    def noisy(self, x: Tensor, n: int, generator: torch.Generator | None) -> Iterator[Tensor]:
        """n noisy copies of x, a chunk (n_c, B, C, H, W) at a time; the chunk size does not change the noise."""
        generator = self._required(generator)
        size = max(1, self.chunk // len(x))
        for start in range(0, n, size):
            noise = x.new_empty(min(size, n - start), *x.shape, device=generator.device)
            for draw in noise:
                draw.normal_(generator=generator)
            yield noise.to(x.device).mul_(self.sigma).add_(x)

    def _required(self, generator: torch.Generator | None) -> torch.Generator:
        if generator is None:
            raise ValueError(f"{self.name} is randomised: give it a torch.Generator (generator=...)")
        return generator

    def matrix(self, x: Tensor, *, generator: torch.Generator | None, n: int | None = None) -> Tensor:
        """The scores of n noisy copies of every image, (n, B)."""
        parts = self.noisy(x, n or self.copies, generator)
        return torch.cat([self.base(z.flatten(0, 1)).view(z.shape[:2]) for z in parts])

    @torch.no_grad()
    def _scored_first(self, x: Tensor, n: int, generator: torch.Generator | None) -> tuple[Tensor, Iterator[Tensor]]:
        """The scores (n, B) of n noisy copies, without gradients, and then the same copies by chunks (`noisy`)."""
        generator = self._required(generator)
        state = generator.get_state()
        s = self.matrix(x, generator=generator, n=n)
        generator.set_state(state)
        return s, self.noisy(x, n, generator)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.combine(self.matrix(x, generator=generator))

    def instability(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """D (B,), the mean absolute deviation of the copies' scores around their median."""
        s = self.matrix(x, generator=generator)
        return deviation(s, median(s)[0])

    def own_value_and_grad(
        self, x: Tensor, *, objective: str, draws: int | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        n = draws or self.copies
        if objective == "mean":
            value, grad = x.new_zeros(len(x)), torch.zeros_like(x)
            for z in self.noisy(x, n, generator):
                s, grads = self._scores_and_grads(z)
                value, grad = value + s.sum(0) / n, grad + grads.sum(0) / n
            return value, grad
        if self._one_pass(n):
            parts = [self._scores_and_grads(z) for z in self.noisy(x, n, generator)]
            s, grads = (torch.cat(p) for p in zip(*parts, strict=True))
            value, weights = self._reduce(s, objective)
            return value, sum_weighted(weights, grads)
        s, again = self._scored_first(x, n, generator)
        value, weights = self._reduce(s, objective)
        grad, start = torch.zeros_like(x), 0
        for z in again:
            grad += sum_weighted(weights[start : start + len(z)], self._scores_and_grads(z)[1])
            start += len(z)
        return value, grad

    def _scores_and_grads(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (n, B) of noisy copies z (n, B, ...) and their gradients (n, B, ...)."""
        value, grad = self.base.value_and_grad(z.flatten(0, 1))
        return value.view(z.shape[:2]), grad.view(z.shape)

    def _reduce(self, s: Tensor, objective: str) -> tuple[Tensor, Tensor]:
        """The objective (B,) of the copies' scores (N, B) and its derivative in each of them (N, B)."""
        if objective == "soft-median":
            m = median(s)[0]
            h = (deviation(s, m) / 2).clamp_min(torch.finfo(s.dtype).tiny ** 0.5)
            weights = (-(((s - m) / h) ** 2) / 2).softmax(0)
            return (weights * s).sum(0), weights
        with torch.inference_mode(False), torch.enable_grad():
            s = (s.clone() if s.is_inference() else s.detach()).requires_grad_()
            value = self._objective(s, objective)
            (weights,) = torch.autograd.grad(value.sum(), s)
        return value.detach(), weights

    def _objective(self, s: Tensor, objective: str) -> Tensor:
        return self.combine(s)

    def _one_pass(self, n: int) -> bool:
        return 8 * n <= self.chunk  # n gradients of a shard of 64 images: small beside a chunk's activations

    def own_passes(self, objective: str, draws: int | None) -> tuple[int, int]:
        n, (forward, backward) = draws or self.copies, self.base.passes()
        if objective != "mean" and not self._one_pass(n):
            first_forward, first_backward = self.base.score_passes()
            forward, backward = forward + first_forward, backward + first_backward
        return n * forward, n * backward

    def score_passes(self) -> tuple[int, int]:
        forward, backward = self.base.score_passes()
        return self.copies * forward, self.copies * backward


def median(s: Tensor) -> tuple[Tensor, Tensor]:
    """The median (B,) over the copies' scores (N, B), the lower middle for even N, and whose it is; NaN where one is.

    Of equal scores the same one every time, which `torch.median` does not promise on a GPU: their gradients differ.
    """
    ordered, index = s.sort(dim=0, stable=True)
    middle = torch.where(ordered[-1].isnan(), len(s) - 1, (len(s) - 1) // 2)[None]
    return ordered.gather(0, middle)[0], index.gather(0, middle)[0]


def deviation(s: Tensor, m: Tensor) -> Tensor:
    """D = mean_i |s_i - m| over the copies (N, B), the mean absolute deviation around m (B,)."""
    return (s - m).abs().mean(0)


class Median(Smoothed):
    """m = median_i s_i, the lower middle for even N (Chiang et al. 2020).

    Its gradient is that of the copy whose score is m: N scores and one gradient.
    """

    name = "median"
    reference = (
        "Chiang et al. 2020, Detection as Regression: Certified Object Detection by Median Smoothing, arXiv:2007.03730"
    )

    def combine(self, s: Tensor) -> Tensor:
        return median(s)[0]

    def own_value_and_grad(
        self, x: Tensor, *, objective: str, draws: int | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        if objective != "exact":
            return super().own_value_and_grad(x, objective=objective, draws=draws, generator=generator)
        s, again = self._scored_first(x, draws or self.copies, generator)
        _, index = median(s)
        middle = x
        for i, copy in enumerate(chain.from_iterable(again)):
            middle = torch.where((index == i).view(-1, *[1] * (x.ndim - 1)), copy, middle)
        return self.base.value_and_grad(middle)

    def own_passes(self, objective: str, draws: int | None) -> tuple[int, int]:
        if objective != "exact":
            return super().own_passes(objective, draws)
        n, one, score = draws or self.copies, self.base.passes(), self.base.score_passes()
        return n * score[0] + one[0], n * score[1] + one[1]


class MAD(Smoothed):
    """-D, D = mean_i |s_i - m|: the mean (not median) absolute deviation, as the ROSS code computes it."""

    name = "mad"
    whole = frozenset({"exact"})
    reference = PAPER

    def combine(self, s: Tensor) -> Tensor:
        return -deviation(s, median(s)[0])


class COV(Smoothed):
    """-D / (m + 1e-12), with the median's sign as published: for scores below 0 it points the other way."""

    name = "cov"
    whole = frozenset({"exact"})
    reference = PAPER

    def combine(self, s: Tensor) -> Tensor:
        m, _ = median(s)
        return -deviation(s, m) / (m + 1e-12)
