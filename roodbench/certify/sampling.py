"""Many noisy scores of every image, in blocks that are kept: N forward passes an image and nothing more."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from detectors import Median, Smoothed

from ..attacker import EvaluationError
from ..attacker import stream as stream_of
from ..data import SHARD, ImageSet
from ..evaluate import Evaluator, hash_of
from ..parts import label_of

BLOCK = 1000
"""Draws whose noise comes from one generator, and which are kept in one cell: more samples later only add blocks."""


def noisy_scores(
    sampler: Evaluator, images: ImageSet, samples: int, *, moved: Tensor | None = None, stream: str = "certify"
) -> np.ndarray:
    """Scores (n, N), float32, of N noisy copies of every image; nothing is clipped between draw and score.

    `sampler` evaluates a `Median` for its noise and its base. `moved` (n, C, H, W) are scored instead of the images,
    under the same noise.
    """
    detector = sampler.detector
    assert isinstance(detector, Smoothed)
    found = np.empty((len(images), samples), dtype=np.float32)
    label = f"{label_of(detector.base)}, {images.name}, noisy copies{'' if moved is None else ' under attack'}"
    with sampler.progress(label, len(images) * samples) as advance:
        for shard, clean in images.shards():
            rows = slice(shard * SHARD, shard * SHARD + len(clean))
            x = (clean if moved is None else moved[rows]).to(sampler.device)
            for start in range(0, samples, BLOCK):
                count = min(BLOCK, samples - start)
                found[rows, start : start + count] = block(sampler, images, shard, x, start // BLOCK, count, stream)
                advance(count * len(x))
    return found


def block(
    sampler: Evaluator, images: ImageSet, shard: int, x: Tensor, number: int, count: int, stream: str
) -> np.ndarray:
    """Scores (B, count) of one block of draws of one shard, from the store where they were drawn before."""
    detector = sampler.detector
    assert isinstance(detector, Smoothed)

    @torch.no_grad()
    def draw() -> Tensor:
        generator = stream_of(sampler.seed, f"{stream}/{number}", images.name, shard, sampler.device)
        return detector.matrix(x, generator=generator, n=count).T.cpu()

    what = {"condition": "noisy", "stream": stream, "block": number, "count": count, "shard": shard, "x": hash_of(x)}
    tensors, _ = sampler.cell(images, what, lambda: ({"scores": sampler.guarded(images, shard, draw)}, {}))
    scores = tensors["scores"].float().numpy()
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        index = SHARD * shard + int(bad[0, 0])
        value = scores[tuple(bad[0])]
        raise EvaluationError(
            f"{label_of(detector)}: score {value} is not finite on {images.name}, index {index} ({images.names[index]})"
        )
    return scores


def sampler_of(detector: Smoothed) -> Median:
    """The bare noisy scores of a smoothed detector: what median, ross and ross-q over one base share."""
    return Median(detector.base, copies=1, sigma=detector.sigma, chunk=detector.chunk)
