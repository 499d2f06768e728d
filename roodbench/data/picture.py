"""One image file as 8-bit RGB: what Pillow's modes mean here, 16 bits, transparency, orientation, frames."""

from __future__ import annotations

import difflib
import os
import struct
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

CONVERTED = "converted to RGB by Pillow, as OpenOOD does"
ON_WHITE = "laid on white"
SCALED = "grey of 16 bits, scaled to 8: round(255 v / 65535)"
REFUSED = "refused, its range is unknown (`I` of a PNG or PPM file is 16 bits)"
MODES = {
    **dict.fromkeys(("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"), CONVERTED),
    **dict.fromkeys(("LA", "La", "PA", "RGBA", "RGBa"), ON_WHITE),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), SCALED),
    **dict.fromkeys(("I", "F", "LAB"), REFUSED),
}
"""By Pillow's mode of a file, what becomes of it; other modes are refused too."""
SIXTEEN = ("PNG", "PPM", "TIFF", "JPEG2000")
"""Formats whose 16-bit images use the whole range, black 0; older Pillows give those of the first two as mode I."""
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0
"""TIFF's tags, and the value that turns grey round."""
TRANSPOSE, ORIENTATION = Image.Transpose, 274
UPRIGHT = {
    2: TRANSPOSE.FLIP_LEFT_RIGHT,
    3: TRANSPOSE.ROTATE_180,
    4: TRANSPOSE.FLIP_TOP_BOTTOM,
    5: TRANSPOSE.TRANSPOSE,
    6: TRANSPOSE.ROTATE_270,
    7: TRANSPOSE.TRANSVERSE,
    8: TRANSPOSE.ROTATE_90,
}
"""What undoes an orientation of EXIF."""
BESIDE = 100_000
"""Names in a folder that are looked at for the nearest."""
FLAT = 1000
"""A longer side over the shorter one: resized, such a strip would fill the memory."""
LARGEST = 4096
"""Of a side in pixels that images are resized to."""
GREY, COLOUR, INDEXED = 0, 2, 3
"""PNG's kinds of pixels that may have a tRNS chunk."""
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
PIXELS = 89_478_485
"""The most of an image, Pillow's own limit, also where that has been lifted."""


@dataclass(frozen=True)
class Frame:
    """What becomes of every picture: its short side resized to `short`, then the central square of `size` pixels.

    Without a size pictures keep theirs, without a short side that is `size`. Channels are 3 (RGB) or 1 (grey, ITU-R
    BT.601 as Pillow computes it).
    """

    size: int | None = None
    short: int | None = None
    channels: int = 3

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"channels {self.channels}: expected 1 (grey) or 3 (RGB)")
        if self.size is not None and not 1 <= self.size <= LARGEST:
            raise ValueError(f"size {self.size}: expected 1 to {LARGEST} pixels")
        if self.short is not None and not (self.size or LARGEST + 1) <= self.short <= LARGEST:
            expected = "a size too" if self.size is None else f"{self.size} to {LARGEST} pixels, the size or more"
            raise ValueError(f"resize {self.short}: expected {expected}")

    def of(self, image: Image.Image) -> np.ndarray:
        """An RGB image as uint8 (H, W, channels)."""
        if self.size is not None:
            image = resize_and_crop(image, self.size, self.short)
        return np.asarray(image) if self.channels == 3 else np.asarray(image.convert("L"))[..., None]


@dataclass(frozen=True)
class Picture:
    """An image of a file and what was done to it."""

    pixels: np.ndarray
    """uint8 (H, W, C)."""
    transparent: bool
    """Whether some of its pixels are."""
    frames: bool
    """Whether it is the first of several."""
    brightest: float | None
    """The largest value, of 1, in a 16-bit file."""


def read_picture(file: Path, frame: Frame) -> Picture:
    """The image of a file, upright and in a frame; of an animation the first picture.

    ValueError, in one line that names the file, for one that is missing, too large, broken, or of a mode whose range
    is unknown. Callers turn Pillow's warnings off.
    """
    try:
        if not file.is_file() and file.exists() and not file.is_dir():
            raise OSError("is no regular file")  # a pipe would be waited for
        with Image.open(file) as image:
            refuse_huge(image)
            frames, how = bool(getattr(image, "is_animated", False)), how_of(image)
            if how != REFUSED:
                if image.format == "PNG" and "transparency" in image.info:
                    image.info["transparency"] = transparency_of(file)
                image.load()
                rgb, transparent = (grey_of if how == SCALED else on_white)(image)
                brightest = int(np.asarray(rgb).max()) / 255 if how == SCALED else None
                turned = UPRIGHT.get(orientation_of(image))
                pixels = frame.of(rgb if turned is None else rgb.transpose(turned))
                return Picture(pixels, transparent, frames, brightest)
            reason = f"is a {image.format} file of mode {image.mode}, whose range is unknown: save it with 8 bits"
    except FileNotFoundError:
        reason = f"is missing{nearest(file)}"
    except TOO_LARGE as error:
        reason = f"is too large ({str(error).partition(',')[0]})"
    except UnidentifiedImageError:
        reason = "cannot be read (it is of no format that Pillow knows)"
    except Exception as error:  # a decoder may raise anything over broken bytes
        said = " ".join(str(getattr(error, "strerror", None) or error).split())
        reason = f"cannot be read ({said or type(error).__name__})"
    raise ValueError(f"image '{file}' {reason}")


def refuse_huge(image: Image.Image) -> None:
    """DecompressionBombError for an image, not decoded yet, of more pixels than Pillow warns at."""
    count, most = image.width * image.height, Image.MAX_IMAGE_PIXELS or PIXELS
    if count > most:
        raise Image.DecompressionBombError(f"Image size ({count} pixels) exceeds limit of {most} pixels")


def nearest(file: Path) -> str:
    """Where a file is missing: the nearest name beside it, as a question."""
    known = file.parent
    while not known.is_dir() and known != known.parent:
        file, known = known, known.parent
    names = {entry.name.lower(): entry.name for entry in islice(os.scandir(known), BESIDE)}
    near = difflib.get_close_matches(file.name.lower(), names, 1)
    return f": did you mean '{known / names[near[0]]}'?" if near else ""


def how_of(image: Image.Image) -> str:
    """What becomes of an image by its mode: one of the values of `MODES`."""
    how = SCALED if image.mode == "I" and image.format in ("PNG", "PPM") else MODES.get(image.mode, REFUSED)
    return REFUSED if how == SCALED and image.format not in SIXTEEN else how


def orientation_of(image: Image.Image) -> int:
    """The orientation that EXIF gives a loaded image, 1 where there is none or it cannot be read."""
    if image.format == "TIFF":  # Pillow has turned it while loading
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a broken EXIF block of a good image
        return 1


def grey_of(image: Image.Image) -> tuple[Image.Image, bool]:
    """A grey image of 16 bits (12 in some TIFF files) in RGB, and whether it has a transparent level."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS, (16,))[0]
    raw = np.asarray(image).astype(np.float64)
    grey = raw / (2**bits - 1)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 1 - grey
    clear = raw == image.info.get("transparency", -1)
    grey[clear] = 1
    return Image.fromarray(np.rint(255 * grey).astype(np.uint8)).convert("RGB"), bool(clear.any())


def transparency_of(file: Path) -> Any:
    """What is transparent in a PNG file with a tRNS chunk, in the levels that Pillow gives its pixels.

    The alpha (bytes) of a palette's entries, a grey level, or a colour. Pillow itself scales the pixels of 2 and 4 bits
    and not their key, looks at one byte of 16-bit colours, and drops an alpha of 10 where a palette's ends in it.
    ValueError for a colour of 16 bits, of which Pillow has dropped half.
    """
    chunks = {}
    with file.open("rb") as f:
        f.seek(8)
        while b"IDAT" not in chunks:
            length, name = struct.unpack(">I4s", f.read(8))
            chunks[name] = f.read(length)
            f.seek(4, 1)
    (depth, kind), content = chunks[b"IHDR"][8:10], chunks[b"tRNS"]
    if kind == INDEXED:
        return content
    if kind == COLOUR and depth == 16:
        raise ValueError("a colour of 16 bits is transparent: save it with 8 bits, or with an alpha channel")
    levels = [level % 2**depth for level in struct.unpack_from(">H" if kind == GREY else ">3H", content)]
    return tuple(levels) if kind == COLOUR else levels[0] * (255 // (2**depth - 1) if depth < 8 else 1)


def on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """An image of 8 bits in RGB, laid on white where it is transparent, and whether it is."""
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    if MODES[image.mode] != ON_WHITE and "transparency" not in image.info and not palette.endswith("A"):
        return image.convert("RGB"), False
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    transparent = bool(np.asarray(rgba)[..., 3].min() < 255)
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB"), transparent


def resize_and_crop(image: Image.Image, size: int, short: int | None = None) -> Image.Image:
    """Short side to `short` or else `size` (bilinear, antialiased as Pillow does), then the central square of `size`.

    Sides are rounded as torchvision's Resize and CenterCrop round them.
    """
    w, h = image.size
    short = short or size
    if max(w, h) > FLAT * min(w, h):
        raise ValueError(f"{w} x {h} pixels: sides that differ more than {FLAT} times")
    if min(w, h) != short:
        w, h = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
        image = image.resize((w, h), Image.Resampling.BILINEAR)
    left, top = round((w - size) / 2), round((h - size) / 2)
    return image.crop((left, top, left + size, top + size))
