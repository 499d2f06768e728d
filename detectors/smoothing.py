"""Median smoothing over any deterministic base score: scores of N noisy copies, combined per image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .detector import Batches, Detector
from .pro import sum_weighted, surrogates_of

SIGMAS = (0.00625, 0.0125, 0.025, 0.0625)
"""The published grid in normalised space, {.025, .05, .1, .25}, times a standard deviation of 0.25."""
COPIES = (5, 10, 25, 50, 100)


class Smoothed(Detector):
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
    symbols = {"N": "copies"}
    grid = {"sigma": SIGMAS, "copies": COPIES}

    def __init__(
        self, base: Detector, *, copies: int = 25, sigma: float = 0.0125, chunk: int = 256, seed: int = 0
    ) -> None:
        super().__init__()
        if base.randomized:
            raise ValueError(f"{self.name} needs a deterministic base score, not {base.name}")
        if copies < 1:
            raise ValueError(f"copies {copies}: expected at least 1")
        if not sigma >= 0:
            raise ValueError(f"sigma {sigma}: expected a number of at least 0")
        if chunk < 1:
            raise ValueError(f"chunk {chunk}: expected at least 1 image")
        self.base, self.copies, self.sigma, self.chunk, self.seed = base, copies, sigma, chunk, seed
        self.objectives = (*type(self).objectives, *surrogates_of(base))

    def combine(self, s: Tensor) -> Tensor:
        """The score (B,) of the matrix of copies' scores s (N, B)."""
        raise NotImplementedError

    def fit(self, train: Batches, val: Batches) -> Smoothed:
        self.base.fit(train, val)
        return self

    def fit_medians(self, m: Tensor) -> None:
        """Estimate what the combination needs from the medians (n,) of the ID validation images."""

    def fitted(self) -> dict[str, float]:
        return self.base.fitted()

    def copies_of(self, x: Tensor, n: int, generator: torch.Generator | None) -> Iterator[Tensor]:
        """n noisy copies of x, a chunk (n_c, B, C, H, W) at a time; the chunk size does not change the noise."""
        generator = self._required(generator)
        size = max(1, self.chunk // len(x))
        for start in range(0, n, size):
            copies = x.new_empty(min(size, n - start), *x.shape, device=generator.device)
            for copy in copies:
                copy.normal_(generator=generator)
            yield copies.to(x.device).mul_(self.sigma).add_(x)

    def _required(self, generator: torch.Generator | None) -> torch.Generator:
        if generator is None:
            raise ValueError(f"{self.name} is randomised: give it a torch.Generator (generator=...)")
        return generator

    def matrix(self, x: Tensor, *, generator: torch.Generator | None, n: int | None = None) -> Tensor:
        """The scores of n noisy copies of every image, (n, B)."""
        chunks = self.copies_of(x, n or self.copies, generator)
        return torch.cat([self.base(c.flatten(0, 1)).view(c.shape[:2]) for c in chunks])

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return self.combine(self.matrix(x, generator=generator))

    def instability(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """D (B,), the mean absolute deviation of the copies' scores around their median."""
        s = self.matrix(x, generator=generator)
        return deviation(s, s.median(0).values)

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        self.check_objective(objective)
        if objective.startswith("base"):
            return self.base.value_and_grad(x, objective=objective.partition(":")[2] or "exact")
        n = draws or self.copies
        if objective == "mean":
            value, grad = x.new_zeros(len(x)), torch.zeros_like(x)
            for copies in self.copies_of(x, n, generator):
                s, grads = self._scores_and_grads(copies)
                value, grad = value + s.sum(0) / n, grad + grads.sum(0) / n
            return value, grad
        if self._one_pass(n):
            parts = [self._scores_and_grads(c) for c in self.copies_of(x, n, generator)]
            s, grads = (torch.cat(p) for p in zip(*parts, strict=True))
            value, weights = self._reduce(s, objective)
            return value, sum_weighted(weights, grads)
        generator = self._required(generator)
        state = generator.get_state()
        with torch.no_grad():
            s = self.matrix(x, generator=generator, n=n)
        value, weights = self._reduce(s, objective)
        generator.set_state(state)
        grad, start = torch.zeros_like(x), 0
        for copies in self.copies_of(x, n, generator):
            w = weights[start : start + len(copies)]
            start += len(copies)
            grad += sum_weighted(w, self._scores_and_grads(copies)[1])
        return value, grad

    def _scores_and_grads(self, copies: Tensor) -> tuple[Tensor, Tensor]:
        value, grad = self.base.value_and_grad(copies.flatten(0, 1))
        return value.view(copies.shape[:2]), grad.view(copies.shape)

    def _reduce(self, s: Tensor, objective: str) -> tuple[Tensor, Tensor]:
        """The objective (B,) of the copies' scores (N, B) and its derivative in each of them (N, B)."""
        if objective == "soft-median":
            m = s.median(0).values
            h = (deviation(s, m) / 2).clamp_min(torch.finfo(s.dtype).tiny ** 0.5)
            weights = (-(((s - m) / h) ** 2) / 2).softmax(0)
            return (weights * s).sum(0), weights
        with torch.enable_grad():
            s = s.detach().requires_grad_()
            value = self._objective(s, objective)
            (weights,) = torch.autograd.grad(value.sum(), s)
        return value.detach(), weights

    def _objective(self, s: Tensor, objective: str) -> Tensor:
        return self.combine(s)

    def _one_pass(self, n: int) -> bool:
        return 8 * n <= self.chunk  # n gradients of a shard of 64 images: small beside a chunk's activations

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        if objective.startswith("base"):
            return self.base.passes(objective.partition(":")[2] or "exact")
        n, (forward, backward) = draws or self.copies, self.base.passes()
        if objective != "mean" and not self._one_pass(n):
            first_forward, first_backward = self.base.score_passes()
            forward, backward = forward + first_forward, backward + first_backward
        return n * forward, n * backward

    def score_passes(self) -> tuple[int, int]:
        forward, backward = self.base.score_passes()
        return self.copies * forward, self.copies * backward


def device_of(module: torch.nn.Module) -> torch.device | None:
    """Where a module's tensors are, None where it has none."""
    return next((t.device for t in [*module.parameters(), *module.buffers()]), None)


def deviation(s: Tensor, m: Tensor) -> Tensor:
    """D = mean_i |s_i - m| over the copies (N, B), the mean absolute deviation around m (B,)."""
    return (s - m).abs().mean(0)


class Median(Smoothed):
    """m = median_i s_i, the lower middle for even N (Chiang et al. 2020).

    Its gradient is that of the copy whose score is m: N scores and one gradient.
    """

    name = "median"
    reference = "Chiang et al. 2020"

    def combine(self, s: Tensor) -> Tensor:
        return s.median(0).values

    def value_and_grad(
        self,
        x: Tensor,
        *,
        objective: str = "exact",
        draws: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        if objective != "exact":
            return super().value_and_grad(x, objective=objective, draws=draws, generator=generator)
        n, generator = draws or self.copies, self._required(generator)
        state = generator.get_state()
        with torch.no_grad():
            index = self.matrix(x, generator=generator, n=n).median(0).indices
        generator.set_state(state)
        middle, start = x, 0
        for copies in self.copies_of(x, n, generator):
            for i, copy in enumerate(copies, start):
                middle = torch.where((index == i).view(-1, *[1] * (x.ndim - 1)), copy, middle)
            start += len(copies)
        return self.base.value_and_grad(middle)

    def passes(self, objective: str = "exact", draws: int | None = None) -> tuple[int, int]:
        if objective != "exact":
            return super().passes(objective, draws)
        n, one, score = draws or self.copies, self.base.passes(), self.base.score_passes()
        return n * score[0] + one[0], n * score[1] + one[1]


class MAD(Smoothed):
    """-D, D = mean_i |s_i - m|: the mean (not median) absolute deviation, as the ROSS code computes it."""

    name = "mad"
    reference = "ROSS 2026"

    def combine(self, s: Tensor) -> Tensor:
        return -deviation(s, s.median(0).values)


class COV(Smoothed):
    """-D / (m + 1e-12), with the median's sign as published: for scores below 0 it points the other way."""

    name = "cov"
    reference = "ROSS 2026"

    def combine(self, s: Tensor) -> Tensor:
        m = s.median(0).values
        return -deviation(s, m) / (m + 1e-12)
