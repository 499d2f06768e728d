"""Arrays of images, from Python or from .npz, .npy and .pt files; nothing in a file is unpickled."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..store.archives import bomb_in
from ..words import counted
from .picture import Frame
from .room import fill, room_for
from .source import OOD, Source

ENDINGS = (".npz", ".npy", ".pt", ".pth")
IMAGES, LABELS = ("images", "x", "data", "arr_0"), ("labels", "y", "targets", "arr_1")
"""Names of an archive's images and labels, the first that is there."""
MISSING = "expected labels too, one class an image"


def array_source(where: str, images: Any, labels: Any, frame: Frame) -> Source:
    """Images (n, ...) with labels (n,), or None for OOD; `ImageSet` says which layouts, types and labels it takes.

    Of a frame with a size, uint8 images (n, H, W, C) or (n, H, W) of another size become pictures in it.
    """
    pixels = images if isinstance(images, np.ndarray) else np.asarray(images)
    if not pixels.ndim:
        raise ValueError(f"{where}: expected an array of images (n, ...), not {type(images).__name__}")
    found = np.full(len(pixels), OOD) if labels is None else np.asarray(labels)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(f"{where}: labels are {found.dtype} {found.shape}: expected whole numbers (n,)")
    if len(found) != len(pixels):
        raise ValueError(f"{where}: {counted(len(found), 'label')} for {counted(len(pixels), 'image')}")
    if len(found) and (found.max() > 2**31 or found.min() < -(2**31)):
        raise ValueError(f"{where}: label {max(found, key=abs)}: expected a class")

    def read(index: np.ndarray) -> np.ndarray:
        return framed(where, pixels, index, frame)

    return Source(where, found.astype(np.int64), [f"image {i}" for i in range(len(found))], read)


def framed(where: str, pixels: np.ndarray, index: np.ndarray, frame: Frame) -> np.ndarray:
    """The images at some indices, in a frame where they are bytes of another size than its own."""
    side, shape = frame.size or 0, pixels.shape[1:]
    grey = len(shape) == 2 or shape[2:] == (1,)
    own = not side or pixels.dtype != np.uint8 or shape == (side, side, frame.channels)
    if own or not (grey or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
        if pixels.dtype not in (np.uint8, np.float32) or 0 in shape:
            return pixels[index]  # of a type that is refused
        out = room_for(where, (len(index), *shape), pixels.dtype)
        fill(out, lambda i: (pixels[index[i]], None), threads=1)
        return out
    out = room_for(where, (len(index), side, side, frame.channels))

    def read(i: int) -> tuple[np.ndarray, None]:
        one = np.ascontiguousarray(pixels[index[i]])
        return frame.of(Image.fromarray(one.reshape(one.shape[:2]) if grey else one).convert("RGB")), None

    fill(out, read)
    return out


def file_source(file: Path, frame: Frame, labels: Path | None = None) -> Source:
    """The images of a file of arrays, with its labels or those of a second file; without labels they are OOD."""
    where = f"array '{file}'"
    images, own = parts_of(where, file)
    if labels is not None:
        own, more = parts_of(f"array '{labels}'", labels)
        own = own if more is None else more
    return array_source(where, images, own, frame)


def parts_of(where: str, file: Path) -> tuple[Any, Any]:
    """(images, labels or None) of a file; ValueError, in one line, for anything else."""
    if not file.is_file():
        raise ValueError(f"{where} is {'no file' if file.exists() else 'missing'}: expected {', '.join(ENDINGS)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = read_torch(file) if file.suffix in (".pt", ".pth") else read_numpy(file)
    except Exception as error:  # broken bytes may raise anything
        raise ValueError(f"{where} {reason_of(error)}") from None
    if isinstance(content, Mapping):
        found = [next((content[key] for key in keys if key in content), None) for keys in (IMAGES, LABELS)]
        if found[0] is None:
            names = ", ".join(map(str, list(content)[:5])) or "nothing"
            raise ValueError(f"{where} has {names}: expected {' or '.join(IMAGES[:3])}, and {' or '.join(LABELS[:3])}")
        images, labels = found
    elif isinstance(content, tuple | list) and len(content) == 2:
        images, labels = content
    else:
        images, labels = content, None
    for part in (images, labels):
        if isinstance(part, torch.Tensor) and is_spread(part):
            raise ValueError(f"{where} says that a tensor is {tuple(part.shape)}, of fewer numbers: save a plain one")
    images, labels = (part.numpy(force=True) if isinstance(part, torch.Tensor) else part for part in (images, labels))
    if not isinstance(images, np.ndarray) or not images.ndim or not isinstance(labels, np.ndarray | None):
        raise ValueError(f"{where} holds no array of images (n, ...), alone or with labels (n,)")
    if file.suffix in (".pt", ".pth") and is_channels_first(images):
        images = images.transpose(0, 2, 3, 1)
    return images, labels


def is_spread(part: torch.Tensor) -> bool:
    """Whether a tensor repeats its numbers (expand), or has none: a few bytes that would become many."""
    if part.layout != torch.strided or part.is_meta:
        return True
    return part.numel() * part.element_size() > part.untyped_storage().nbytes()


def is_channels_first(images: np.ndarray) -> bool:
    """Whether bytes (n, C, H, W) are laid out as torch does, and cannot be (n, H, W, C)."""
    shape = images.shape
    return images.dtype == np.uint8 and images.ndim == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)


def read_numpy(file: Path) -> Any:
    """An array, of which only what is asked for is read, or a dict of arrays."""
    if file.suffix == ".npy":
        return np.load(file, mmap_mode="r", allow_pickle=False)
    if bomb := bomb_in(file, stored=False):
        raise ValueError(f"{bomb}: save its images as .npy, which is read as it is needed")
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as found:
        return {key: found[key] for key in found.files if key in (*IMAGES, *LABELS)} or dict.fromkeys(found.files)


def read_torch(file: Path) -> Any:
    if bomb := bomb_in(file, stored=True):
        raise ValueError(f"{bomb}: it is not a file of torch")
    with file.open("rb") as opened:
        return torch.load(opened, map_location="cpu", weights_only=True)


def reason_of(error: Exception) -> str:
    """Why a file holds no arrays, in a few words."""
    said = str(error)
    if isinstance(error, pickle.UnpicklingError) or "pickle" in said or "Python objects" in said:
        return "is no array, or holds Python objects, which are not unpickled: save images and labels as plain arrays"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    said = " ".join(said.split())[:120]
    return f"cannot be read, or is cut off ({said or type(error).__name__})"
