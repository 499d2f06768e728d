"""What a set of images holds once it is read: checked pixels that nobody writes into, and which images repeat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..words import counted
from .room import Room

WANTED = "expected uint8 (n, H, W, C) or float32 (n, C, H, W) with C 1 or 3"
ROUNDING = 1e-6
"""How far a pixel may lie outside [0, 1]."""
CHUNK = 64
"""Images that are looked at together."""


@dataclass(frozen=True)
class Content:
    """Pixels, uint8 (n, H, W, C) or float32 (n, C, H, W) in [0, 1], and hashes of each image."""

    pixels: np.ndarray
    digests: Sequence[bytes]
    """Of the image as it is kept."""
    looks: Sequence[bytes]
    """Equal where a network sees the same, whatever the type of the array."""

    @cached_property
    def first(self) -> np.ndarray:
        """int64 (n,): for each image the index of the first one that looks the same."""
        seen: dict[bytes, int] = {}
        return np.array([seen.setdefault(look, i) for i, look in enumerate(self.looks)], np.int64)

    @cached_property
    def distinct(self) -> int:
        """How many different images there are."""
        return len(set(self.looks))

    @cached_property
    def brightest(self) -> float:
        """The largest value of a pixel, of 1."""
        return float(self.pixels.max()) / (255 if self.pixels.dtype == np.uint8 else 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        a, b, c = self.pixels.shape[1:]
        return (c, a, b) if self.pixels.dtype == np.uint8 else (a, b, c)

    def at(self, index: np.ndarray) -> Content:
        """The images at these places."""
        return Content(self.pixels[index], [self.digests[i] for i in index], [self.looks[i] for i in index])


def read_content(name: str, names: Sequence[str], read: Callable[[], Any]) -> Content:
    """What `read` gives for the images `names` of the set `name`, as an array of its own.

    Raises ValueError, in one line, for another layout or type, pixels outside [0, 1], or fewer than 2 different images.
    """
    raw = read()
    try:
        pixels = np.asarray(raw)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: the images are no array ({error}): {WANTED}") from None
    check_layout(name, pixels, len(names))
    own = pixels.flags.owndata or isinstance(raw, Room)
    if pixels.flags.writeable or not own or not pixels.flags.c_contiguous:
        pixels = pixels.copy("C")  # somebody else may write into it; a reader hands over what it has locked
        pixels.flags.writeable = False
    check_range(name, names, pixels)
    check_black(name, float(pixels.max()) / (255 if pixels.dtype == np.uint8 else 1), bytes_=pixels.dtype == np.uint8)
    digests = [digest_of(image) for image in pixels]
    content = Content(pixels, digests, digests if pixels.dtype == np.uint8 else looks_of(pixels))
    if content.distinct < 2:
        raise ValueError(f"{name}: {counted(len(names), 'image')}, {content.distinct} distinct: expected at least 2")
    return content


def digest_of(image: np.ndarray) -> bytes:
    """A hash of the bytes of an image."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def looks_of(pixels: np.ndarray) -> list[bytes]:
    """The digest of each float image, of its uint8 form where all its pixels are whole 255ths; -0.0 is 0.0."""
    found = []
    for start in range(0, len(pixels), CHUNK):
        part = pixels[start : start + CHUNK] + np.float32(0)
        levels = np.rint(part * 255).clip(0, 255)
        whole = (levels / np.float32(255) == part).reshape(len(part), -1).all(1)
        levels = levels.astype(np.uint8).transpose(0, 2, 3, 1)
        found += [digest_of(levels[i] if whole[i] else image) for i, image in enumerate(part)]
    return found


def check_layout(name: str, pixels: np.ndarray, count: int) -> None:
    """ValueError for an array that is not `count` images in one of the two layouts, with the likely cure."""
    kind, shape = pixels.dtype, pixels.shape
    bytes_, cure = kind == np.uint8, ""
    if kind not in (np.uint8, np.float32):
        cure = ".astype(np.float32)" if kind.kind == "f" else ".astype(np.float32) over the largest value of a pixel"
    elif len(shape) == 3 and shape[0] == count:
        cure = "[..., None] adds the channel" if bytes_ else "[:, None] adds the channel"
    elif len(shape) == 4 and 0 not in shape:
        channels, other = (shape[3], shape[1]) if bytes_ else (shape[1], shape[3])
        if channels in (1, 3):
            if shape[0] != count:
                raise ValueError(f"{name}: {count} labels for {shape[0]} images")
            return
        if other in (1, 3):
            cure = ".transpose(0, 2, 3, 1)" if bytes_ else ".transpose(0, 3, 1, 2)"
        elif channels in (2, 4):
            cure = "lay transparent images on a background first"
    raise ValueError(f"{name}: an array of {kind} {shape}: {WANTED}" + (f" ({cure})" if cure else ""))


def check_range(name: str, names: Sequence[str], pixels: np.ndarray) -> None:
    """ValueError for pixels that are not finite or outside [0, 1], with the likely cure."""
    scale = 255 if pixels.dtype == np.uint8 else 1
    low, high = pixels.min() / scale, pixels.max() / scale
    if not np.isfinite([low, high]).all():
        bad = ~np.isfinite(pixels).reshape(len(pixels), -1).all(1)
        raise ValueError(f"{name}: {names[int(bad.argmax())]} has non-finite pixels")
    if low < -ROUNDING or high > 1 + ROUNDING:
        bad = ((pixels < -ROUNDING) | (pixels > 1 + ROUNDING)).reshape(len(pixels), -1).any(1)
        where = f"outside [0, 1] in {bad.sum()} of {len(pixels)} images, first in {names[int(bad.argmax())]}"
        raise ValueError(f"{name}: pixels from {low:g} to {high:g}, {where}: {cure_of(low, high)}")


def check_black(name: str, brightest: float, *, bytes_: bool) -> None:
    """ValueError, with the likely cure, where the brightest pixel of a set, of 1, is all but black."""
    if brightest <= 1 / 255 + ROUNDING:
        cure = "[0, 1] cast to uint8? multiply by 255 first" if bytes_ else "divided by 255 twice?"
        raise ValueError(f"{name}: all pixels are black, the brightest is {brightest:.2g} of 1: {cure}")


def cure_of(low: float, high: float) -> str:
    """What probably brings pixels from low to high into [0, 1]."""
    if low >= -ROUNDING:
        if high <= 255:
            return "divide by 255, or give uint8 (n, H, W, C)"
        return "divide by 65535" if high <= 65535 else "divide by the largest value of a pixel"
    if low >= -1 - ROUNDING and high <= 1 + ROUNDING:
        return "are they scaled to [-1, 1]? give (x + 1) / 2"
    return "already normalised? give pixels in [0, 1], the network normalises inside"
