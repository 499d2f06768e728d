"""Datasets as torch has them: len(dataset) items, each an image or (image, label)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from numbers import Integral
from typing import Any

import numpy as np
import torch
from PIL import Image

from detectors import shown

from ..store.users import described
from .picture import MODES, REFUSED, Frame, on_white
from .room import fill, room_for
from .source import OOD, Source

EXPECTED = "expected a PIL image, a uint8 array (H, W, C) or a float tensor (C, H, W) in [0, 1]"
ASKED = 16
"""Items of a read that are asked for again: a random flip leaves half of them as they were."""
TARGETS = ("targets", "labels")
"""Where a dataset may say its labels beforehand."""


def is_dataset(found: Any) -> bool:
    """Whether something has a length and items."""
    return hasattr(found, "__getitem__") and hasattr(found, "__len__")


def dataset_source(where: str, dataset: Any, frame: Frame, *, ood: bool) -> Source:
    """The items of a dataset. Labels are read beforehand where it has `targets`, else with all images.

    ValueError, naming the item, for what is no image, a label that is not the one said beforehand, an item that is
    another one when it is asked for again (a random transform), and for what the dataset raises.
    """
    try:
        count = len(dataset)
    except Exception as error:  # whatever a user's dataset raises
        raise ValueError(f"{where} has no length ({described(error)}): expected items by number") from None
    targets = np.full(count, OOD) if ood else targets_of(dataset, count)

    def item(i: int) -> tuple[np.ndarray, int]:
        try:
            found = dataset[i]
            image, label = found if isinstance(found, tuple | list) and len(found) == 2 else (found, OOD)
            pixels = pixels_of(image, frame)
        except Exception as error:  # whatever a user's dataset raises
            raise ValueError(f"{where}: item {i}: {described(error)}") from None
        if isinstance(label, torch.Tensor | np.ndarray) and tuple(label.shape) in ((), (1,)):
            label = label.item()
        if not ood and (not isinstance(label, Integral) or isinstance(label, bool)):
            raise ValueError(f"{where}: item {i} has {shown(label)} for a label: expected (image, class)")
        if not ood and targets is not None and label != targets[i]:
            raise ValueError(f"{where}: item {i} has label {label} and its targets say {targets[i]}")
        return pixels, int(label) if not ood else OOD

    def read(index: Sequence[int] | np.ndarray) -> tuple[np.ndarray, list[int]]:
        first, _ = item(int(index[0]))
        out = room_for(where, (len(index), *first.shape), first.dtype)

        def one(i: int) -> tuple[np.ndarray, int]:
            pixels, label = item(int(index[i]))
            if pixels.shape != first.shape or pixels.dtype != first.dtype:
                was, now = (f"{p.dtype} {p.shape}" for p in (first, pixels))
                raise ValueError(f"{where}: item {index[i]} is {now}, item {index[0]} {was}: give a size")
            return pixels, label

        labels = fill(out, one, threads=1)  # nobody knows whether a dataset may be asked by several
        for place in range(0, len(index), max(1, len(index) // ASKED)):
            if not np.array_equal(one(place)[0], out[place]):
                raise ValueError(
                    f"{where}: item {index[place]} is another image every time: leave out random transforms"
                )
        return out, labels

    names = [f"item {i}" for i in range(count)]
    if targets is not None or count < 2:
        return Source(where, np.full(count, OOD) if targets is None else targets, names, lambda k: read(k)[0])
    everything = cache(lambda: read(range(count)))
    return Source(where, np.array(everything()[1]), names, lambda k: taken(where, everything()[0], k))


def taken(where: str, pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Some of many images; themselves where these are all of them."""
    if np.array_equal(index, np.arange(len(pixels))):
        return pixels
    out = room_for(where, (len(index), *pixels.shape[1:]), pixels.dtype)
    fill(out, lambda i: (pixels[index[i]], None), threads=1)
    return out


def targets_of(dataset: Any, count: int) -> np.ndarray | None:
    """The labels that a dataset says beforehand, also of a Subset of it; None where it says none."""
    inner, index = getattr(dataset, "dataset", None), getattr(dataset, "indices", None)
    if inner is not None and index is not None:
        found = targets_of(inner, len(inner))
        return None if found is None else found[np.asarray(index)]
    for name in TARGETS:
        said = getattr(dataset, name, None)
        if said is None:
            continue
        try:
            labels = np.asarray(said)
        except (TypeError, ValueError):
            continue
        if labels.shape == (count,) and labels.dtype.kind in "iu":
            return labels.astype(np.int64)
    return None


def pixels_of(image: Any, frame: Frame) -> np.ndarray:
    """An item's image as uint8 (H, W, C) or float32 (C, H, W)."""
    if isinstance(image, Image.Image):
        if MODES.get(image.mode, REFUSED) not in (REFUSED, "") and not image.mode.startswith("I"):
            return frame.of(on_white(image)[0])
        raise ValueError(f"an image of mode {image.mode}, whose range is unknown: {EXPECTED}")
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{shown(image)}: {EXPECTED}")
    if image.dtype == np.uint8:
        image = image[..., None] if image.ndim == 2 else image
        if image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] not in (1, 3):
            image = image.transpose(1, 2, 0)
        if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
            raise ValueError(f"uint8 {image.shape}: {EXPECTED}")
        if frame.size is None or image.shape == (frame.size, frame.size, frame.channels):
            return image
        plain = np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)
        return frame.of(Image.fromarray(plain).convert("RGB"))
    if image.ndim != 3 or image.dtype not in (np.float32, np.float64) or 0 in image.shape:
        raise ValueError(f"{image.dtype} {image.shape}: {EXPECTED}")
    return image.astype(np.float32)
