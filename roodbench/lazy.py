"""Public names that are imported when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def exporter(package: str, public: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: `public` names the module of every name; a module without a name in it is itself.

    >>> exporter("roodbench", {"metrics": "metrics"})("metrics").__name__
    'roodbench.metrics'
    """

    def find(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f".{public[name]}", package)
        return module if name == public[name] else getattr(module, name)

    return find
