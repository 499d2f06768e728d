"""Detectors by name: RoodBench's own, or a user's as `module:attribute`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from torch import nn

import detectors
from detectors import BASES, WRAPPERS, Classifier, Detector, Plain


def is_plugin(name: str) -> bool:
    return ":" in name


def load(name: str) -> Any:
    """What `module:attribute` names, looked for in the current folder too; ValueError where there is nothing."""
    module_name, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"detector {name!r}: cannot import {module_name!r} ({error})") from None
    if not hasattr(module, attribute):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise ValueError(detectors.unknown(f"attribute of {module_name}", attribute, public))
    return getattr(module, attribute)


def takes(name: str, base: str) -> list[str]:
    """The hyper-parameters of a detector over a base, argument names first, then the papers' symbols."""
    if is_plugin(name):
        found = load(name)
        return list(detectors.keywords(found)) if isinstance(found, type) else []
    classes = [detectors.class_of(name), *([BASES[base]] if name in WRAPPERS else [])]
    names = [key for cls in classes for key in detectors.keywords(cls) if key not in ("chunk", "seed")]
    return names + [symbol for cls in classes for symbol in cls.symbols]


def create(name: str, net: Classifier, *, base: str, **params: Any) -> Detector:
    """The unfitted detector. A user's class or function is called with the network; a plain nn.Module is wrapped."""
    if not is_plugin(name):
        return detectors.create(name, net, base=base, **params)
    found = load(name)
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise ValueError(f"detector {name!r} is a {type(found).__name__}: expected a Detector or nn.Module")
        found = found(net, **params)
    if not isinstance(found, nn.Module):
        raise ValueError(f"detector {name!r} gave a {type(found).__name__}: expected a Detector or nn.Module")
    if not isinstance(found, Detector):
        found = Plain(found)
    found.name = found.name or name.partition(":")[2]
    return found


def source_hash(detector: Detector) -> str:
    """A hash of the file that defines a detector's class: results of other code are never reused."""
    target = type(detector.module) if isinstance(detector, Plain) else type(detector)
    try:
        file = inspect.getsourcefile(target)
    except TypeError:
        file = None
    return "" if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
