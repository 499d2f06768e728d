"""Restarts side by side, on small images: one batch of as many copies of them as there are starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from .pgd import pgd
from .seam import Detector, check_finite, gradient_of, is_cheap
from .selection import indexed
from .threat import ThreatModel
from .trace import Attacked, Trace, better, unbeaten

T = TypeVar("T")
FULL = (
    *("can't allocate memory", "could not create a primitive"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)
"""What the CPU's allocator, oneDNN, cuBLAS and cuDNN say when memory runs out."""
TOGETHER = 256 * 3 * 32 * 32
"""Numbers in a batch of copies: 256 images of CIFAR-10. Of larger images every restart is a batch of its own."""


def restarted(
    detector: Detector,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    restarts: int,
    clean: bool,
    objective: str = "exact",
    generator: torch.Generator | None = None,
    **settings: Any,
) -> Attacked:
    """`pgd` with `keep="best"` on an objective without noise, all restarts as one batch where they fit."""

    def run(starts: Sequence[Tensor]) -> Attacked:
        wide, start = copies(x, len(starts)), torch.cat(list(starts))
        return pgd(detector, wide, threat, sign=sign, objective=objective, start=start, clean=False, **settings)

    best = (x, clean_value(detector, x, objective)) if clean else unbeaten(x, sign)
    return side_by_side(detector, x, objective, sign, best, restarts, lambda _: threat.random(x, generator), run)


def side_by_side(
    detector: Detector,
    x: Tensor,
    objective: str,
    sign: int,
    best: tuple[Tensor, Tensor],
    restarts: int,
    start: Callable[[int], T],
    run: Callable[[Sequence[T]], Attacked],
) -> Attacked:
    """Per image, the best of `best` and of all restarts: `start` draws one, `run` attacks copies of x from several.

    Starts are drawn one by one, so that the same is found however many run together.
    """
    together = max(1, TOGETHER // max(1, x.numel())) if is_cheap(detector, objective) else 1
    traces = []
    for done in range(0, restarts, together):
        starts = [start(restart) for restart in range(done, min(done + together, restarts))]
        for found, n in as_fits(run, starts, len(x)):
            for end in zip(found.images.chunk(n), found.values.chunk(n), strict=True):
                best = better(sign, best, end)
            traces.append(found.trace.apart(n))
    return Attacked(*best, Trace.joined(traces))


def as_fits(run: Callable[[Sequence[T]], Attacked], starts: Sequence[T], size: int) -> list[tuple[Attacked, int]]:
    """What `run` finds from all starts at once, or in halves for as long as memory runs out, and from how many."""
    try:
        with indexed(torch.arange(size).repeat(len(starts))):
            return [(run(starts), len(starts))]
    except (RuntimeError, MemoryError) as error:
        if len(starts) == 1 or not out_of_memory(error):
            raise
    half = len(starts) // 2
    return [*as_fits(run, starts[:half], size), *as_fits(run, starts[half:], size)]


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: CUDA's, Python's, the CPU allocator's, or that of a library."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in FULL)


def clean_value(detector: Detector, x: Tensor, objective: str, **settings: Any) -> Tensor:
    """The objective (B,) of the images as they are."""
    value, grad = gradient_of(detector, x, objective=objective, **settings)
    check_finite(value, grad)
    return value


def copies(x: Tensor, n: int) -> Tensor:
    """(n B, ...) copies of a batch (B, ...), one after the other."""
    return x.repeat(n, *[1] * (x.ndim - 1))
