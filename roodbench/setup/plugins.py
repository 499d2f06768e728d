"""Detectors by name: RoodBench's own, or a user's as `module:attribute`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

import detectors
from detectors import BASES, WRAPPERS, Classifier, Detector, Plain


@contextmanager
def here() -> Iterator[None]:
    """Modules of the current folder can be imported, as by `python -m`."""
    added = "" not in sys.path
    if added:
        sys.path.insert(0, "")
    try:
        yield
    finally:
        if added and "" in sys.path:
            sys.path.remove("")


def is_plugin(name: str) -> bool:
    return ":" in name


def import_attribute(name: str) -> Any:
    """What `module:attribute` names, looked for in the current folder too; ValueError where there is nothing."""
    module_name, _, attribute = name.partition(":")
    if not module_name or module_name.startswith("."):
        raise ValueError(f"detector {name!r}: expected MODULE:ATTRIBUTE")
    try:
        with here():
            module = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module raises
        raise ValueError(f"detector {name!r}: cannot import {module_name!r} ({describe(error)})") from None
    if not hasattr(module, attribute):
        public = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module_name]
        raise ValueError(detectors.unknown(f"attribute of {module_name}", attribute, public))
    return getattr(module, attribute)


def parameters_of(name: str, base: str) -> list[str]:
    """The hyper-parameters of a detector over a base, argument names first, then the papers' symbols."""
    if is_plugin(name):
        found = import_attribute(name)
        return list(detectors.keywords(found)) if isinstance(found, type) else []
    classes = [detectors.class_of(name), *([BASES[base]] if name in WRAPPERS else [])]
    names = [key for cls in classes for key in cls.defaults()]
    inner = [f"base.{key}" for cls in classes[1:] for key in (*detectors.keywords(cls), *cls.symbols)]
    return names + [symbol for cls in classes for symbol in cls.symbols] + inner


def make_detector(name: str, net: Classifier, *, base: str, **params: Any) -> Detector:
    """The unfitted detector. A user's class or function is called with the network; a plain nn.Module is wrapped."""
    if not is_plugin(name):
        return detectors.create(name, net, base=base, **params)
    found = import_attribute(name)
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise ValueError(f"detector {name!r} is a {type(found).__name__}: expected a Detector or nn.Module")
        try:
            found = found(net, **params)
        except Exception as error:  # whatever a user's constructor raises
            raise ValueError(f"detector {name!r}: cannot be made ({describe(error)})") from None
    if not isinstance(found, nn.Module):
        raise ValueError(f"detector {name!r} gave a {type(found).__name__}: expected a Detector or nn.Module")
    if not isinstance(found, Detector):
        found = Plain(found, params)
        found.net = net  # type: ignore[assignment]
    found.name = found.name or name.partition(":")[2]
    return found


def describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
