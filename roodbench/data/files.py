"""Images that lie in files: which names may be read, how they are decoded, what is said of them."""

from __future__ import annotations

import logging
import os
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..words import counted
from .picture import Frame, Picture, read_picture
from .room import fill, room_for

log = logging.getLogger("roodbench")
DIM = 1 / 15
"""A brightest pixel of 16-bit files below this (12 bits reach 0.0625) leaves bits unused."""
MANY = 2000
"""So many images take a while: a line says that they are decoded."""
NOTHING = np.empty((0, 0, 0), np.uint8)


def inside(root: Path, name: str) -> Path:
    """The file of a name below a folder; ValueError for a name that leads out of it.

    Where no file is named so, backslashes are slashes (a list from Windows), and letters with accents may be written
    in the other of Unicode's two ways (a list from a Mac).
    """
    slashed = name.replace("\\", "/")
    for written in (name, slashed):
        plain = os.path.normpath(written)
        if os.path.isabs(plain) or plain == ".." or plain.startswith("../"):
            raise ValueError(f"image '{name}' leads out of '{root}': expected a name below that folder")
    for written in (name, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))):
        if (root / written).exists():
            return root / written
    return root / slashed


def read_files(
    where: str, root: Path, names: Sequence[str], frame: Frame, lines: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """The images of some names below a folder as uint8 (n, H, W, C), locked; what was done to them is a notice.

    `where` is the set's list or folder, `lines` those of a list that name the images. ValueError, in one line that
    begins with it, for an image that cannot be read or, where the frame has no size, has another than the first.
    """

    def place(i: int) -> str:
        return where if lines is None else f"{where}, line {lines[i]}"

    def read(i: int) -> Picture:
        try:
            return read_picture(inside(root, names[i]), frame)
        except (ValueError, OSError) as error:
            raise ValueError(f"{place(i)}: {said(error, names[i])}") from None

    def read_into(i: int) -> tuple[np.ndarray, Picture]:
        picture = read(i)
        if picture.pixels.shape != out.shape[1:]:
            (h, w, _), (height, width, _) = picture.pixels.shape, out.shape[1:]
            raise ValueError(
                f"{place(i)}: image '{names[i]}' has {w} x {h} pixels, '{names[0]}' {width} x {height}: "
                "give a size, which all become"
            )
        return picture.pixels, replace(picture, pixels=NOTHING)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape = read(0).pixels.shape if frame.size is None else (frame.size, frame.size, frame.channels)
        if len(names) >= MANY:
            log.info("%s: decoding %d images", where, len(names))
        out = room_for(where, (len(names), *shape))
        note(where, fill(out, read_into))  # Pillow decodes outside the interpreter's lock
    return out


def said(error: Exception, name: str) -> str:
    """What an error says of an image, naming it."""
    if isinstance(error, OSError):
        return f"image '{name[:120]}' cannot be read ({error.strerror or error})"
    return str(error)


def note(where: str, pictures: Sequence[Picture]) -> None:
    """Say once of a set how many of its images are transparent, animated, or 16-bit files that hold less."""
    clear, several = sum(p.transparent for p in pictures), sum(p.frames for p in pictures)
    deep = [p.brightest for p in pictures if p.brightest is not None]
    if clear:
        log.warning("%s: %d of %d images have transparent pixels, laid on white", where, clear, len(pictures))
    if several:
        log.warning(
            "%s: %d of %s hold several images, the first is read", where, several, counted(len(pictures), "file")
        )
    if deep and max(deep) < DIM:
        dark = "%s: the brightest pixel of its %s of 16 bits is %.2g of 1: do they hold fewer bits?"
        log.warning(dark, where, counted(len(deep), "image"), max(deep))
