"""Folders of images: one folder a class, or, of OOD, images anywhere below."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detectors import unknown

from ..words import counted
from .files import read_files
from .picture import Frame
from .source import OOD, Source

log = logging.getLogger("roodbench")
ENDINGS = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".tga", ".avif"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"),
    }
)
"""Of files that are images; others in a folder are left alone, with a notice."""


def folder_source(folder: Path, frame: Frame, *, ood: bool, classes: Sequence[str] | None) -> Source:
    """The images below a folder, in the order of their names; of ID its folders are the classes.

    `classes` are those of the ID training set: ValueError, with the nearest, for a folder that is not among them.
    """
    where = f"folder '{folder}'"
    if not folder.is_dir():
        raise ValueError(f"{where} {'is no folder' if folder.exists() else 'is missing'}: expected one with images")
    names, others = images_below(folder)
    if others:
        are = "is no image" if len(others) == 1 else "are no images"
        log.warning("%s: %s %s, such as %s", where, counted(len(others), "file"), are, others[0])
    if not names:
        raise ValueError(f"{where} has no images: expected .png, .jpg or the like")
    labels, found = np.full(len(names), OOD), None
    if not ood:
        heads = [name.partition("/")[0] if "/" in name else "" for name in names]
        if "" in heads:
            raise ValueError(f"{where}: {names[heads.index('')]} is in no class folder: expected CLASS/NAME")
        found = tuple(classes if classes is not None else sorted(set(heads)))
        for head in dict.fromkeys(heads):
            if head not in found:
                raise ValueError(f"{where}: {unknown('class', head, found)}")
        number = {name: i for i, name in enumerate(found)}
        labels = np.array([number[head] for head in heads])

    def read(index: np.ndarray) -> np.ndarray:
        return read_files(where, folder, [names[i] for i in index], frame)

    return Source(where, labels, names, read, classes=found)


def images_below(folder: Path) -> tuple[list[str], list[str]]:
    """(images, other files) below a folder, sorted, as paths from it; hidden ones are left out.

    Links to folders are followed in the folder itself alone: deeper ones may lead in circles.
    """
    images: list[str] = []
    others: list[str] = []
    heads = [folder, *(Path(e.path) for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))]
    for head in heads:
        for place, folders, files in os.walk(head):
            folders[:] = [] if head == folder else [name for name in folders if not name.startswith(".")]
            for name in files:
                path = (Path(place) / name).relative_to(folder).as_posix()
                if not name.startswith(".") and name not in ("Thumbs.db", "desktop.ini"):
                    (images if Path(name).suffix.lower() in ENDINGS else others).append(path)
    return sorted(images), sorted(others)
