"""Many noisy scores of every image, in blocks that are kept: N forward passes an image and nothing more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detectors import Median, Smoothed

from ..data import SHARD, ImageSet
from ..engine.copies import on_copy
from ..engine.errors import EvaluationError
from ..engine.worker import Worker, joined
from ..models import Classifier
from ..store.cells import Cell
from ..store.identity import code_version, tensor_hash

BLOCK = 1000
"""Draws whose noise comes from one generator, and which are kept in one cell: more samples later only add blocks."""
LOOKED = 8
"""Images, and copies of each, on which rounding is looked at."""


def noisy_scores(
    worker: Worker, images: ImageSet, samples: int, *, attacked: Tensor | None = None, stream: str = "certify"
) -> np.ndarray:
    """Scores (n, N), float32, of N noisy copies of every image; nothing is clipped between draw and score.

    The worker's detector is a `Median`, for its noise and its base. `attacked` (n, C, H, W) are scored instead of the
    images, under the same noise.
    """
    label = f"{worker.detector.label}, {images.name}, noisy copies{'' if attacked is None else ' under attack'}"
    with worker.progress(label, len(images) * samples) as advance:

        def drawn(number: int) -> np.ndarray:
            count = min(BLOCK, samples - BLOCK * number)
            scores = block(worker, images, number, count, attacked, stream)
            advance(count * len(images))
            return scores

        blocks = worker.each([partial(drawn, number) for number in range(-(-samples // BLOCK))])
    return np.concatenate(blocks, axis=1)


def block(
    worker: Worker, images: ImageSet, number: int, count: int, attacked: Tensor | None, stream: str
) -> np.ndarray:
    """Scores (n, count) of one block of draws."""
    detector = worker.detector
    assert isinstance(detector, Smoothed)

    @torch.no_grad()
    def draw(shard: int, x: Tensor) -> Cell:
        if attacked is not None:
            x = attacked[SHARD * shard : SHARD * shard + len(x)].to(x.device)
        generator = worker.stream(f"{stream}/{number}", images.name, shard)
        matrix = partial(detector.matrix, generator=generator, n=count)
        scores = on_copy(matrix, x, detector.label).float().cpu()
        if not scores.isfinite().all():
            place, index = scores.isfinite().logical_not().nonzero()[0].tolist()
            where = f"{images.name}, index {SHARD * shard + index} ({images.names[SHARD * shard + index]})"
            raise EvaluationError(f"{detector.label}: score {scores[place, index]} is not finite on {where}")
        return {"scores": scores}, {}

    what = {
        "condition": "noisy",
        "stream": stream,
        "block": number,
        "count": count,
        "attacked": None if attacked is None else tensor_hash(attacked),
        "sampling": code_version("roodbench/certify/sampling.py"),
        "numpy": np.__version__,  # draws the noise
    }
    return joined(worker.map(images, what, "", draw))["scores"].T.numpy()


@torch.no_grad()
def drawn_again(worker: Worker, images: ImageSet, first: np.ndarray) -> np.ndarray:
    """How far the first noisy score of every block, `first` (n, blocks), is from what it is now: (looks, 64) at most.

    Of each block one shard's images, the last block first, each copy in a batch of its own: a score that depends on
    how often it was called, or on what came before, is another one now, from whichever call on.
    """
    detector, gaps = worker.detector, []
    assert isinstance(detector, Smoothed)
    for number in reversed(range(first.shape[1])):
        shard = number % images.shard_count
        ((_, x),) = images.shards([shard])
        generator = worker.stream(f"certify/{number}", images.name, shard)
        again = on_copy(partial(detector.matrix, generator=generator, n=1), x.to(worker.device), detector.label)
        gaps.append(again[0].double().cpu().numpy() - first[SHARD * shard : SHARD * shard + len(x), number])
    return np.abs(np.concatenate(gaps))


@torch.no_grad()
def rounding(worker: Worker, plain: Classifier | None, images: ImageSet) -> float:
    """The largest difference between a few noisy scores by the network as it runs, folded and compiled, and as it was
    loaded (`plain`)."""
    detector, net = worker.detector, worker.detector.network
    if plain is None or not isinstance(net, Classifier):
        return 0.0
    assert isinstance(detector, Smoothed)
    x = images.shard(0, LOOKED).to(worker.device)

    def scores() -> Tensor:
        generator = worker.stream("certify/rounding", images.name, 0)
        return detector.matrix(x, generator=generator, n=LOOKED).double()

    fast, kept = scores(), net.backbone
    net.backbone = plain.backbone
    try:
        return float((scores() - fast).abs().max())
    finally:
        net.backbone = kept


class OnGrid(Median):
    """A median whose images and noise are multiples of a power of 2, `step`, so fine that every sum of both is exact.

    round(x) + round(noise) = round(round(x) + noise): what the base scores is a function of an exactly shifted Gaussian
    vector, drawn in float64. With sums that are rounded it is not, and a score that looks at the last bits tells the
    image from its shift (Voracek and Hein 2023, arXiv:2207.07209).

    Derived in docs/theorems.md, T26.
    """

    def noisy(self, x: Tensor, n: int, generator: torch.Generator | None) -> Iterator[Tensor]:
        generator, step = self._required(generator), step_of(self.sigma)
        normal = normal_numbers(generator)
        near, size = (x / step).round() * step, max(1, self.chunk // len(x))
        for start in range(0, n, size):
            noise = x.new_empty(min(size, n - start), *x.shape, device=generator.device, dtype=torch.float64)
            for draw in noise:
                normal(draw)
            whole = noise.mul_(self.sigma / step).round_().to(x.device, x.dtype)  # below 2^24: exact in float32
            yield whole.mul_(step).add_(near)


def normal_numbers(generator: torch.Generator) -> Callable[[Tensor], Any]:
    """Fills tensors, float64, with N(0, 1) numbers; on a CPU by numpy's ziggurat: half the time of torch's numbers."""
    if generator.device.type != "cpu":
        return lambda draw: draw.normal_(generator=generator)
    numbers = np.random.Generator(np.random.SFC64(int(torch.randint(2**63 - 1, (), generator=generator))))
    return lambda draw: numbers.standard_normal(out=draw.numpy())


def step_of(sigma: float) -> float:
    """The largest power of 2 of which float32 holds all multiples up to 1 + 10 sigma, beyond any pixel with its noise.

    >>> step_of(0.25) == 2**-22, step_of(1.0) == 2**-20
    (True, True)
    """
    return 2.0 ** (math.ceil(math.log2(1 + 10 * sigma)) - 24)


def shifted(radius: float, sigma: float, dimension: int) -> float:
    """r, the l2 radius in sigma, and what rounding both images to the grid adds to it: step sqrt(d), d the dimension.

    >>> shifted(0.0, 0.25, 3072), round(shifted(0.25, 0.25, 3072), 5)
    (0.0, 1.00005)

    Derived in docs/theorems.md, T26.
    """
    return (radius + step_of(sigma) * math.sqrt(dimension)) / sigma if radius else 0.0


def sampler_of(detector: Smoothed) -> OnGrid:
    """The bare noisy scores of a smoothed detector: what median, ross and ross-q over one base share."""
    return OnGrid(detector.base, copies=1, sigma=detector.sigma, chunk=detector.chunk)
