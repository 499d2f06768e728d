"""What a certificate says against what it should say: JSON-like values, up to rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

TOLERANCE = 1e-5
"""Relative, for what another machine rounds differently."""


def differences(have: Any, wanted: Any, where: str) -> Iterator[str]:
    """One line for every place where JSON-like values differ; numbers up to rounding."""
    if isinstance(wanted, Mapping):
        if not isinstance(have, Mapping) or set(have) != set(wanted):
            keys = sorted(have) if isinstance(have, Mapping) else have
            yield f"{where} has {keys}: expected {sorted(wanted)}"
            return
        for key, value in wanted.items():
            yield from differences(have[key], value, f"{where}, {key}")
    elif isinstance(wanted, list | tuple):
        if not isinstance(have, list | tuple) or len(have) != len(wanted):
            yield f"{where} is {have}: expected {list(wanted)}"
            return
        for place, (a, b) in enumerate(zip(have, wanted, strict=True)):
            yield from differences(a, b, f"{where}, {place}")
    elif isinstance(wanted, float) and isinstance(have, int | float):
        if not math.isclose(have, wanted, rel_tol=TOLERANCE, abs_tol=1e-12):
            yield f"{where} is {have}: expected {wanted}"
    elif have != wanted or isinstance(have, bool) != isinstance(wanted, bool):
        yield f"{where} is {have!r}: expected {wanted!r}"


def numbers(values: Any, length: int) -> bool:
    """Whether this is a list of so many numbers or nulls."""
    return (
        isinstance(values, list)
        and len(values) == length
        and all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values)
    )


def side(sides: Mapping[str, Any], which: str) -> np.ndarray:
    """Bounds as an array; null is infinite."""
    empty = -np.inf if which == "lower" else np.inf
    return np.array([empty if v is None else v for v in sides[which]], dtype=float)
