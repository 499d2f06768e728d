"""RankFeat: a base score of the feature maps, which it finds in any network where their positions are joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointError

from .detector import Classifier, Detector, autograd
from .given import NeedsError
from .score import Score


class Joins(TorchFunctionMode):
    """Counts the steps of a network that join the positions of its maps; `change` is applied before each `every`-th.

    Such a step takes maps (B, C, H, W) and gives a vector per image: a mean, a pooling or a flattening.

    >>> with Joins() as joins:
    ...     _ = torch.nn.functional.relu(torch.zeros(2, 3, 4, 4)).mean((2, 3))
    >>> joins.found
    1
    """

    def __init__(self, every: int = 1, change: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.every, self.change, self.found = every, change, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result, maps = func(*args, **(kwargs or {})), args[0] if args else None
        if not isinstance(maps, Tensor) or not isinstance(result, Tensor) or not joined(maps, result):
            return result
        self.found += 1
        if self.change is None or self.found % self.every:
            return result
        return func(self.change(maps), *args[1:], **(kwargs or {}))


def joined(maps: Tensor, result: Tensor) -> bool:
    """Whether maps (B, C, H, W) became a vector per image."""
    if maps.ndim != 4 or maps.shape[2] * maps.shape[3] == 1 or len(result) != len(maps) or not result.ndim:
        return False
    return result.ndim == 2 or (result.ndim == 4 and result.shape[2:] == (1, 1))


class RankFeat(Score):
    """T logsumexp(z' / T), z' the logits of the last feature maps X (C, H W) without their first singular part.

    X' = X - s_1 u_1 v_1', what follows in the network is as it is. The maps are those of the last step that joins
    positions; NeedsError for a network without one. Exactly decomposed, in float64, with the exact gradient; the
    published fusion with the maps before the last stage is left out. Steps inside a compiled kernel are not seen.
    Surrogate `base`: the energy of the whole maps. Gradients are of `chunk` images at once, of fewer where the network
    would compute passes again.
    """

    name = "rankfeat"
    reference = (
        "Song, Sebe & Wang 2022, RankFeat: Rank-1 Feature Removal for Out-of-distribution Detection, arXiv:2209.08590"
    )
    symbols = {"T": "temperature"}
    needs = frozenset({"feature maps"})
    eager = True
    incidental = run_settings = frozenset({"chunk"})

    def __init__(self, net: Classifier, *, temperature: float = 1.0, chunk: int = 256) -> None:  # T OpenOOD v1.5's
        super().__init__(net)
        if not temperature > 0:
            raise ValueError(f"temperature {temperature}: expected a number above 0")
        self.temperature, self.chunk = temperature, chunk
        self.objectives = ("exact", "base")

    def score(self, z: Tensor, h: Tensor | None = None) -> Tensor:
        return self.temperature * (z / self.temperature).logsumexp(1)

    def check_network(self, x: Tensor) -> None:
        self.joins(x)
        super().check_network(x)

    def joins(self, x: Tensor) -> int:
        """How many steps of the network join positions, by one image; NeedsError where none does."""
        with torch.no_grad(), Joins() as joins:
            self.net.outputs(x[:1])
        if not joins.found:
            raise NeedsError(
                f"rankfeat needs feature maps: {type(self.net).__name__} has no step that makes one vector of maps "
                "(B, C, H, W)"
            )
        return joins.found

    def energy(self, x: Tensor) -> Tensor:
        return self.score(self.net.outputs(x).logits)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        with Joins(self.joins(x), without_first):
            return self.energy(x)

    def _value_and_grad(self, x: Tensor, objective: str) -> tuple[Tensor, Tensor]:
        if objective == "base":
            return autograd(self.energy, x)
        while True:
            try:
                with Joins(self.joins(x), without_first):
                    values, grads = zip(*(autograd(self.energy, part) for part in x.split(self.chunk)), strict=True)
                return torch.cat(values), torch.cat(grads)
            except CheckpointError:  # passes that are computed again, backward, see no joins
                if self.chunk == 1:
                    raise
                self.chunk = max(1, min(self.chunk, len(x)) // 2)

    scores_on = Detector.scores_on  # the maps are not among the outputs


def without_first(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) as matrices (C, H W) without the part of their largest singular value."""
    X = maps.flatten(2)
    X = X if X.shape[1] <= X.shape[2] else X.transpose(1, 2)
    X = X.double()
    u = FirstVector.apply(X @ X.transpose(1, 2))[:, :, None]
    X = X - u @ (u.transpose(1, 2) @ X)
    X = X if maps.shape[1] <= maps[0, 0].numel() else X.transpose(1, 2)
    return X.reshape(maps.shape).to(maps.dtype)


class FirstVector(torch.autograd.Function):
    """The eigenvector (B, n) of the largest eigenvalue of symmetric matrices (B, n, n).

    Its derivative, sum over i > 1 of v_i (v_i' dG v_1) / (l_1 - l_i), needs the first eigenvalue to be simple and no
    other: matrices of low rank are no difficulty. Eigenvalues as large as the first up to rounding are left out.
    """

    @staticmethod
    def forward(ctx: Any, G: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(G)
        ctx.save_for_backward(values, vectors)
        return vectors[..., -1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        gap, first = values[..., -1:] - values, vectors[..., -1:]
        floor = torch.finfo(gap.dtype).eps * gap.shape[-1] * values[..., -1:].abs()
        parts = (vectors.transpose(1, 2) @ grad[..., None]).squeeze(-1)
        parts = torch.where(gap > floor, parts / torch.where(gap > floor, gap, 1), 0)
        outer = (vectors @ parts[..., None]) @ first.transpose(1, 2)
        return (outer + outer.transpose(1, 2)) / 2
