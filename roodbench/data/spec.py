"""A set of images by what names it: a folder, a list, a file of arrays, a data set; or by the images themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from detectors import shown, unknown

from ..store.users import import_attribute
from . import arrays
from .corruptions import array_folder, is_arrays
from .datasets import dataset_source, is_dataset
from .folder import folder_source
from .lists import list_source
from .picture import Frame
from .source import Source
from .torchvision import PREFIX, torchvision_source

KEYS = ("images", "labels", "list")
EXPECTED = "expected images (n, ...), (images, labels), a Dataset, or the name of a folder, list or file of arrays"


@dataclass(frozen=True)
class Reading:
    """How sets are found and read."""

    frame: Frame = field(default_factory=Frame)
    folder: Path = Path()
    """That relative names start from."""
    images: Path | None = None
    """The folder below which the images of lists lie, default `folder`."""
    root: Path | None = None
    """Where torchvision's data sets lie."""
    download: bool = False


def source_of(what: Any, how: Reading, *, ood: bool, classes: Sequence[str] | None = None, where: str = "") -> Source:
    """The images of a set, not read yet; ValueError, in one line, for anything else.

    Text is `torchvision:NAME/SPLIT`, `module:attribute` or `file.py:attribute` (a Dataset or a function that gives
    one), a file of arrays (.npz, .npy, .pt), a list (.txt), or a folder; a mapping {"images": FILE, "labels": FILE} or
    {"list": FILE, "images": FOLDER}. Labels of OOD say nothing.
    """
    if isinstance(what, Source):
        return what
    if isinstance(what, Mapping):
        return of_mapping(what, how, f"{where}: " if where else "")
    if isinstance(what, PathLike):
        return of_file(how.folder / what, how, ood=ood, classes=classes)
    if isinstance(what, str):
        if what.startswith(PREFIX):
            return torchvision_source(what, how.root, how.frame, ood=ood, download=how.download)
        if ":" in what.removeprefix(Path(what).drive):
            return of_attribute(what, how, ood=ood)
        return of_file(how.folder / what, how, ood=ood, classes=classes)
    where = where or "images"
    if isinstance(what, tuple | list) and len(what) == 2 and not isinstance(what[0], int | float):
        return arrays.array_source(where, bare(what[0]), bare(what[1]), how.frame)
    if isinstance(what, np.ndarray | Tensor):
        return arrays.array_source(where, bare(what), None, how.frame)
    if is_dataset(what):
        return dataset_source(where, what, how.frame, ood=ood)
    raise ValueError(f"{where}: {shown(what)}: {EXPECTED}")


def bare(part: Any) -> Any:
    """A tensor as an array."""
    return part.detach().cpu().numpy() if isinstance(part, Tensor) else part


def of_file(file: Path, how: Reading, *, ood: bool, classes: Sequence[str] | None) -> Source:
    """A folder, of images or of CIFAR-10-C's arrays, a list or a file of arrays."""
    if file.suffix == ".txt":
        return list_source(file, how.images or how.folder, how.frame)
    if file.suffix in arrays.ENDINGS:
        return arrays.file_source(file, how.frame)
    if file.is_file():
        raise ValueError(f"'{file}': expected a folder, a list (.txt) or arrays ({', '.join(arrays.ENDINGS)})")
    if not ood and is_arrays(file):
        return array_folder(file, how.frame)
    return folder_source(file, how.frame, ood=ood, classes=classes)


def of_mapping(what: Mapping[str, Any], how: Reading, where: str) -> Source:
    """Images with a second file or folder that belongs to them."""
    for key, value in what.items():
        if key not in KEYS:
            raise ValueError(f"{where}{unknown('key', key, KEYS)}")
        if not isinstance(value, str | PathLike):
            raise ValueError(f"{where}{key} is {shown(value)}: expected a name")
    files = {key: how.folder / value for key, value in what.items()}
    if "images" in what and "list" not in what:
        return arrays.file_source(files["images"], how.frame, files.get("labels"))
    if "list" in what and "labels" not in what:
        return list_source(files["list"], files.get("images", how.images or how.folder), how.frame)
    raise ValueError(f"{where}expected images and labels, or list and images, not {' and '.join(what) or 'nothing'}")


def of_attribute(what: str, how: Reading, *, ood: bool) -> Source:
    """A Dataset of a user's module, or what a function there gives."""
    found = made(import_attribute(what, "data set"), f"data set {what!r}")
    if not is_dataset(found):
        raise ValueError(f"data set {what!r} is {shown(found)}: expected a Dataset, or a function that gives one")
    return dataset_source(f"data set {what!r}", found, how.frame, ood=ood)


def made(found: Any, where: str) -> Any:
    """What a user's attribute is, or gives where it is a function or class."""
    from ..store.users import described

    if not callable(found) or (is_dataset(found) and not isinstance(found, type)):
        return found
    try:
        return found()
    except (Exception, SystemExit) as error:  # whatever a user's code raises
        raise ValueError(f"{where} cannot be made ({described(error)})") from None
