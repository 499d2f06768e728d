"""Common corruptions of ID images (Hendrycks & Dietterich 2019): which one, how severe, by the names that they have."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from .arrays import file_source
from .images import ImageSet
from .picture import Frame
from .source import Source, joined

NAMES = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
"""The 15 of the benchmark."""
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Those beside it, for validation: lists may name them, of a folder of arrays they are not read."""
SEVERITIES = 5
LABELS = "labels.npy"
IN_PATH = re.compile(
    rf"(?:^|(?<=[/\\_-]))({'|'.join((*NAMES, *EXTRA))})[/\\_-](?:severity[_-]?|s)?([1-{SEVERITIES}])(?=[/\\_:-])"
)
IN_NAME = re.compile(rf"(?:.*/)?([^/]+)/([1-{SEVERITIES}])", re.DOTALL)


def of_path(path: str) -> tuple[str, int] | None:
    """The corruption and severity that a path names.

    >>> of_path("imagenet_c/motion_blur/2/ILSVRC2012_val_00003014.JPEG"), of_path("cifar10c/04972_8.png")
    (('motion_blur', 2), None)
    """
    found = IN_PATH.search(path)
    return None if found is None else (found[1], int(found[2]))


def of_name(name: str) -> tuple[str, int] | None:
    """Those that the name of a set ends in; any word is a corruption there.

    >>> of_name("fog/3"), of_name("imagenet_c/fog/3"), of_name("imagenet_c")
    (('fog', 3), ('fog', 3), None)
    """
    found = IN_NAME.fullmatch(name)
    return None if found is None else (found[1], int(found[2]))


def bare(path: str) -> str:
    """A path without its corruption and severity: the same for all copies of one image."""
    return IN_PATH.sub("", path)


def origins(sets: Sequence[ImageSet]) -> list[Hashable]:
    """What the images of several sets are copies of: of the first and of corrupted ones their bare names, else of none.

    The first is that of the clean images.
    """
    return [
        bare(name) if images is sets[0] or of_name(images.name) or of_path(name) else (images.name, place)
        for images in sets
        for place, name in enumerate(images.names)
    ]


def by_corruption(key: str, source: Source) -> dict[str, Source]:
    """The images of each corruption and severity, as KEY/CORRUPTION/SEVERITY; nothing where no path names one.

    A set whose name says it is one of them. ValueError where some paths do and others do not.
    """
    if of_name(key):
        return {key: source}
    said = [of_path(name) for name in source.names]
    kinds = {kind for kind in said if kind is not None}
    if not kinds:
        return {}
    if None in said:
        at = said.index(None)
        raise ValueError(
            f"{source.place(at)}: '{source.names[at]}' names no corruption and severity, as fog/3/NAME.png"
        )
    index = {kind: np.array([i for i, its in enumerate(said) if its == kind]) for kind in sorted(kinds)}
    parts = {}
    for (corruption, severity), places in index.items():
        name = f"{key}/{corruption}/{severity}"
        if len(places) < 2:
            raise ValueError(f"{source.where}: 1 image of {corruption}/{severity}, expected at least 2")
        parts[name] = source.at(places)
    return parts


def is_arrays(folder: Path) -> bool:
    """Whether a folder is laid out as CIFAR-10-C: CORRUPTION.npy and labels.npy."""
    return (folder / LABELS).is_file() and any((folder / f"{name}.npy").is_file() for name in NAMES)


def array_folder(folder: Path, frame: Frame) -> Source:
    """The images of CIFAR-10-C's arrays, as they are published: each file has severity 1 to 5, one after the other."""
    parts = {}
    for name in NAMES:
        file = folder / f"{name}.npy"
        if file.is_file():
            whole = file_source(file, frame, folder / LABELS)
            each, rest = divmod(len(whole), SEVERITIES)
            if rest:
                raise ValueError(f"{whole.where} has {len(whole)} images: expected as many of each of 5 severities")
            for severity in range(SEVERITIES):
                places = np.arange(each * severity, each * (severity + 1))
                part = whole.at(places)
                parts[f"{name}/{severity + 1}"] = Source(
                    whole.where, part.labels, [f"image {i}" for i in range(each)], part.read
                )
    return joined(f"folder '{folder}'", parts)
