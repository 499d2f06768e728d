"""Data sets of torchvision, as `torchvision:NAME/SPLIT`; downloaded only where that is asked for."""

from __future__ import annotations

import contextlib
import inspect
import sys
from pathlib import Path
from typing import Any

from detectors import unknown

from ..store.trust import check_cache
from ..store.vision import import_torchvision
from .datasets import dataset_source
from .picture import Frame
from .source import Source

PREFIX = "torchvision:"
SPLITS = ("split", "image_set", "train")
"""What data sets call the argument that chooses a split; the last is a truth value."""


def torchvision_source(spec: str, root: Path | None, frame: Frame, *, ood: bool, download: bool) -> Source:
    """The images of `torchvision:NAME/SPLIT`, below `root` as torchvision keeps them; without a split, of test.

    ValueError, with the nearest, for an unknown name or split, and for images that are missing.
    """
    name, _, split = spec.removeprefix(PREFIX).partition("/")
    datasets = import_torchvision().datasets
    kinds = {key: kind for key in datasets.__all__ if isinstance(kind := getattr(datasets, key), type)}
    known = [key for key, kind in kinds.items() if takes(kind, "root") and takes(kind, "transform")]
    if name not in known:
        raise ValueError(unknown("data set of torchvision", name, known))
    kind, folder = kinds[name], root or default_root()
    arguments: dict[str, Any] = {"download": True} if download and takes(kind, "download") else {}
    argument = next((key for key in SPLITS if takes(kind, key)), None)
    if argument == "train":
        if (split or "test") not in ("train", "test"):
            raise ValueError(f"{spec}: {unknown('split', split, ('train', 'test'))}")
        arguments["train"] = split == "train"
    elif argument is not None:
        arguments[argument] = split or "test"
    elif split:
        raise ValueError(f"{spec}: torchvision's {name} has no splits, leave out /{split}")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints what it downloads
            dataset = kind(str(folder), **arguments)
    except Exception as error:  # torchvision raises of all kinds for what is not there
        said = " ".join(str(error).split())[:300]
        cure = "" if download else ": give --download (download=True), or the folder by --data-root"
        raise ValueError(f"{spec} cannot be read from '{folder}' ({type(error).__name__}: {said}){cure}") from None
    return dataset_source(spec, dataset, frame, ood=ood)


def takes(kind: Any, argument: str) -> bool:
    """Whether a class takes an argument, itself or through a class to which it passes the rest."""
    found: set[str] = set()
    for base in inspect.getmro(kind):
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters  # type: ignore[misc]
        found |= set(parameters)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return argument in found


def default_root() -> Path:
    """Where downloads lie unless a folder is named: in the user's cache."""
    from platformdirs import user_cache_path

    folder = user_cache_path("roodbench") / "torchvision"
    check_cache(folder)
    return folder
