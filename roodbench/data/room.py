"""Where decoded images lie: in memory, or, for large sets, in a file of which memory holds what is in use."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
MEMORY = 2**28
"""Bytes of a set that are kept in memory; of a larger one they lie in a file."""
TOGETHER = 256
"""Images that are handed to the readers at once: an interruption waits for these."""


class Room(np.memmap[Any, Any]):
    """Pixels in a file without a name, which ends with the process: nobody else can write into it."""


def room_for(where: str, shape: tuple[int, ...], kind: Any = np.uint8) -> np.ndarray:
    """An array to fill; ValueError, naming the set, where neither memory nor the disk has room for it."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    if size <= MEMORY:
        return np.empty(shape, kind)
    from platformdirs import user_cache_path

    folder = user_cache_path("roodbench")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, and not a signal later
            else:
                file.truncate(size)
            return Room(file, kind, "r+", shape=shape)
    except OSError as error:
        said = f"{size / 1e9:.1f} GB in '{folder}' for {shape[0]} decoded images ({error.strerror or error})"
        raise ValueError(f"{where}: no room of {said}: take fewer, by --limit or --train-limit") from None


def fill(out: np.ndarray, read: Callable[[int], tuple[np.ndarray, T]], *, threads: int | None = None) -> list[T]:
    """out[i] = the pixels of read(i), in worker threads; what else `read` gives of each image. Locks `out`.

    No more images are decoded at a time than there are threads, each into its place.
    """

    def load(i: int) -> T:
        out[i], more = read(i)
        return more

    found: list[T] = []
    with ThreadPoolExecutor(threads) as readers:
        for start in range(0, len(out), TOGETHER):
            found += readers.map(load, range(start, min(start + TOGETHER, len(out))))
    out.flags.writeable = False
    return found


def side_by_side(where: str, parts: Sequence[np.ndarray], order: np.ndarray | None = None) -> np.ndarray:
    """The images of several arrays in one, locked; of bytes and floats all become floats.

    `order` has the place in all of them of every image that is wanted. ValueError for images of different shapes.
    """
    floats = any(part.dtype != np.uint8 for part in parts)
    shapes = {chw(part) if floats else part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"{where}: images of shapes {' and '.join(map(str, sorted(shapes)))}: give a size")
    ends = np.cumsum([len(part) for part in parts])
    places = np.arange(ends[-1]) if order is None else order
    out = room_for(where, (len(places), *shapes.pop()), np.float32 if floats else np.uint8)

    def read(i: int) -> tuple[np.ndarray, None]:
        which = int(np.searchsorted(ends, places[i], side="right"))
        image = parts[which][places[i] - (ends[which - 1] if which else 0)]
        if floats and image.dtype == np.uint8:
            image = image.transpose(2, 0, 1) / np.float32(255)
        return image, None

    fill(out, read, threads=1)
    return out


def chw(part: np.ndarray) -> tuple[int, ...]:
    """The shape (C, H, W) of images in one of the two layouts."""
    shape = part.shape[1:]
    return (shape[2], *shape[:2]) if part.dtype == np.uint8 and len(shape) == 3 else shape
