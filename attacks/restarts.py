"""Restarts side by side, on small images: one batch of as many copies of them as there are starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .seam import Detector, check_finite, gradient_of
from .selection import indexed
from .threat import ThreatModel
from .trace import Attacked, Trace, better, unbeaten

TOGETHER = 256 * 3 * 32 * 32
"""Numbers in a batch of copies: 256 images of CIFAR-10. Of larger images every restart is a batch of its own."""


def side_by_side(
    attack: Callable[..., Attacked],
    detector: Detector,
    x: Tensor,
    threat: ThreatModel,
    *,
    sign: int,
    restarts: int,
    objective: str,
    clean: bool,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> Attacked:
    """`attack` from so many random starts, on an objective without noise: as one after the other, but faster.

    Takes and gives what `pgd` does with `keep="best"`; the starts are others, since they are drawn together.
    """
    best = unbeaten(x, sign)
    if clean:
        value, grad = gradient_of(detector, x, objective=objective, generator=generator)
        check_finite(value, grad)
        best = x, value
    traces = []
    for n in groups(restarts, x):
        with indexed(torch.arange(len(x)).repeat(n)):
            found = attack(
                detector,
                x.repeat(n, *[1] * (x.ndim - 1)),
                threat,
                sign=sign,
                objective=objective,
                clean=False,
                generator=generator,
                **settings,
            )
        for images, values in zip(found.images.chunk(n), found.values.chunk(n), strict=True):
            best = better(sign, best, (images, values))
        traces.append(found.trace.apart(n))
    return Attacked(*best, Trace.joined(traces))


def groups(restarts: int, x: Tensor) -> Iterator[int]:
    """How many restarts at a time."""
    together = max(1, TOGETHER // max(1, x.numel()))
    for done in range(0, restarts, together):
        yield min(together, restarts - done)
