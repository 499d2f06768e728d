"""Images that are nearly the same: another encoding or size of one picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch

from .benchmark import Benchmark
from .images import ImageSet

log = logging.getLogger("roodbench")

SMALL = 16
"""Of the small grey image that is compared."""
CORRELATION = 0.98
"""The least of two small images. JPEG copies (quality 75) of 800 CIFAR-10 images have 0.98 and more, all of them; no
pair of 5,000 training images and 8,000 of ten OOD sets has."""
DIFFERENCE = 0.04
"""How much they may differ in the mean, of 1."""
CONTRAST = 0.02
"""The least standard deviation: blank images are like each other and no copies."""
BLOCK = 1024, 65536
COPIES = 0.05, 4
"""More of a test set's images than both, a share and a number, are nearly another one: a notice. Of 1,000 images of
MNIST, the sets' worst but for FashionMNIST and notMNIST (3%), 0.8% are."""
MOST = 1000, 5000
"""Images of a test set, and of ID train, that a run looks at: of larger sets it would cost seconds."""
NOTICE = "%s (%s): %d of %d images are nearly, or mirrored, %s, %s: if they are copies, %s"


def small_of(pixels: np.ndarray) -> np.ndarray:
    """A perceptual hash that is not rounded: grey means (n, 256) of the 16 x 16 parts of images, float16.

    Images are uint8 (n, H, W, C) or float32 (n, C, H, W) in [0, 1].
    """
    x = torch.tensor(pixels, device="cpu")
    x = x.permute(0, 3, 1, 2).float() / 255 if x.dtype == torch.uint8 else x
    return torch.nn.functional.adaptive_avg_pool2d(x.mean(1), SMALL).flatten(1).numpy().astype(np.float16)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Small images side by side."""
    return np.concatenate([np.empty((0, SMALL**2), np.float16), *parts])


def near_pairs(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(k, 2): which of the small images `own` are nearly which of `others`."""
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(own), BLOCK[0]):
        mine = own[start : start + BLOCK[0]].astype(np.float32)
        for begin in range(0, len(others), BLOCK[1]):
            theirs = others[begin : begin + BLOCK[1]].astype(np.float32)
            like = np.argwhere(centred(mine) @ centred(theirs).T >= CORRELATION)
            for part in np.array_split(like, len(like) // BLOCK[0] + 1):
                a, b = mine[part[:, 0]], theirs[part[:, 1]]
                same = (np.abs(a - b).mean(1) <= DIFFERENCE) & (np.minimum(a.std(1), b.std(1)) >= CONTRAST)
                found.append(part[same] + np.array([start, begin]))
    return np.concatenate(found)


def centred(small: np.ndarray) -> np.ndarray:
    """Small images (n, 256) without their mean, of norm 1."""
    without = small - small.mean(1, keepdims=True)
    return without / np.maximum(np.linalg.norm(without, axis=1, keepdims=True), 1e-6)


def note_copies(bench: Benchmark) -> None:
    """Say where many images of a test set are nearly, or mirrored, other ones of it, of ID train or of ID test."""
    if bench.space != "pixel":
        return
    seen = dict[ImageSet, np.ndarray]()
    for images in (bench.id_train, bench.id_test, *bench.ood.values()):
        if len(images) > MOST[images is bench.id_train]:
            continue
        mine = seen[images] = joined([small_of(x.numpy()) for _, x in images.shards()])
        for other in (images, bench.id_train, bench.id_test):
            if images is bench.id_train or other not in seen:
                continue
            like = [near_pairs(seen[other], mine), near_pairs(mirrored(seen[other]), mine)]
            pairs = np.concatenate(like)
            if other is images:
                pairs = pairs[images.related[pairs[:, 0]] < images.related[pairs[:, 1]]]
            alike = np.unique(pairs[:, 1])
            if len(alike) > max(COPIES[0] * len(images), COPIES[1]):
                whose = "another one of it" if other is images else f"one of {other.name} ({other.split})"
                first = f"such as {images.names[alike[0]]}"
                then = "intervals are too narrow" if other is images else "the sets are not apart"
                log.warning(NOTICE, images.name, images.split, len(alike), len(images), whose, first, then)


def mirrored(small: np.ndarray) -> np.ndarray:
    """Small images (n, 256), left and right exchanged."""
    return small.reshape(-1, SMALL, SMALL)[:, :, ::-1].reshape(-1, SMALL**2)
