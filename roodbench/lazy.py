"""Public names that are imported when they are asked for, and where a user's modules are looked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

ROOT = "roodbench"


def exporter(package: str, public: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`: `public` names the module of every name, itself where it is a module.

    >>> find, names = exporter("roodbench", {"metrics": "metrics"})
    >>> find("metrics").__name__, "metrics" in names()
    ('roodbench.metrics', True)
    """

    def find(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f".{public[name]}", ROOT)
        return module if name == public[name] else getattr(module, name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return find, names


def search_here() -> None:
    """Look for modules in the current folder too, before installed ones and after Python's own, which none hides."""
    sys.path[:] = [place for place in sys.path if place not in ("", os.getcwd())]
    installed = (n for n, place in enumerate(sys.path) if "site-packages" in place or "dist-packages" in place)
    sys.path.insert(next(installed, len(sys.path)), "")
