"""What a fitted detector rests on: the network's weights as they were then, and images that are none of the test's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detectors import Detector
from detectors.noted import GIVEN, check_weights, same_images

from ..data import Benchmark, ImageSet


def check_fitted(detector: Detector, bench: Benchmark) -> None:
    """ValueError for a detector whose network's weights have changed since its fit, or that was fitted on test images.

    Images are known of lists of batches and of image sets: what an iterator or a loader gave is gone.
    """
    check_weights(detector)
    notes = [note for part in detector.chain for note in GIVEN.get(part, ())]
    lists = [note for note in notes if isinstance(note, Tensor) and len(note)]
    sets = [images for note in notes if not isinstance(note, Tensor) and (images := note()) is not None]
    others = [images for images in sets if images not in (bench.id_train, bench.id_val) and images.is_read]
    looks = {look for images in others for look in images.looks}
    for images in (bench.id_test, *bench.ood.values(), *bench.shifted.values()) if lists or looks else ():
        if found := [i for i, look in enumerate(images.looks) if look in looks] or among(images, lists):
            raise ValueError(
                f"{detector.label} was fitted on {len(found)} of the {len(images)} images of {images.name} "
                f"({images.split}), the first {images.names[found[0]]}: expected fit(bench.id_train, bench.id_val)"
            )


def among(images: ImageSet, lists: Sequence[Tensor]) -> list[int]:
    """The places of a set's images that are among those of some signatures."""
    if not lists:
        return []
    known = torch.cat(list(lists))
    same = torch.cat([same_images(x, known) for _, x in images.shards()])
    return same.nonzero().flatten().tolist()
