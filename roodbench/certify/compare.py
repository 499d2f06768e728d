"""What a certificate says against what it should say: JSON-like values, up to rounding."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

TOLERANCE = 1e-5
"""Relative, for what another machine rounds differently."""


@dataclass(frozen=True)
class Form:
    """What is asked of a value that is not known beforehand."""

    said: str
    fits: Callable[[Any], bool]


ANYTHING = Form("anything", lambda value: True)
TEXT = Form("text", lambda value: isinstance(value, str))
POSITIVE = Form("a number of at least 0", lambda value: is_number(value) and value >= 0)
NUMBER = Form("a number", lambda value: is_number(value))
WHOLE = Form("a whole number of at least 2", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 2)


def numbers(length: int) -> Form:
    """A list of so many numbers, null where there is none."""
    return Form(
        f"{length} numbers or nulls",
        lambda values: (
            isinstance(values, list) and len(values) == length and all(v is None or is_number(v) for v in values)
        ),
    )


def listed(length: int, form: Form) -> Form:
    """A list of so many of a form."""
    fits = lambda v: isinstance(v, list) and len(v) == length and all(map(form.fits, v))  # noqa: E731
    return Form(f"a list of {length}, each {form.said}", fits)


def ascending(length: int) -> Form:
    """A list of so many numbers, none below the one before."""
    return Form(
        f"{length} ascending numbers",
        lambda values: (
            isinstance(values, list)
            and len(values) == length
            and all(map(is_number, values))
            and all(a <= b for a, b in pairwise(values))
        ),
    )


def near(value: float, allowed: float) -> Form:
    """A number that differs by so much at most."""
    return Form(f"{value} up to {allowed:.2g}", lambda have: is_number(have) and abs(have - value) <= allowed)


def revision(code: str) -> Form:
    """The code of who verifies, by its hash."""
    return Form(f"{code!r}, of this revision; its own can verify it", lambda have: have == code)


def differences(have: Any, wanted: Any, where: str = "") -> Iterator[str]:
    """One line for every place where JSON-like values differ; numbers up to rounding, forms where they do not fit."""
    if isinstance(wanted, Form):
        if not wanted.fits(have):
            yield f"{where} is {short(have)}: expected {wanted.said}"
    elif isinstance(wanted, Mapping):
        who = where or "the certificate"
        if not isinstance(have, Mapping):
            yield f"{who} is {short(have)}: expected an object of {', '.join(map(str, wanted))}"
            return
        yield from (f"{who} has an unknown {short(key)}" for key in have if key not in wanted)
        for key, value in wanted.items():
            if key in have:
                yield from differences(have[key], value, f"{where}, {key}" if where else str(key))
            else:
                yield f"{who} has no {key}"
    elif isinstance(wanted, list | tuple):
        if not isinstance(have, list | tuple) or len(have) != len(wanted):
            yield f"{where} is {short(have)}: expected a list of {len(wanted)}"
            return
        for place, (a, b) in enumerate(zip(have, wanted, strict=True)):
            yield from differences(a, b, f"{where}, {place}")
    elif isinstance(wanted, float) and is_number(have):
        if not math.isclose(have, wanted, rel_tol=TOLERANCE):
            yield f"{where} is {have}: expected {wanted}"
    elif have != wanted or isinstance(have, bool) != isinstance(wanted, bool):
        yield f"{where} is {short(have)}: expected {wanted!r}"


def is_number(value: Any) -> bool:
    """Whether this is a finite number that a float can hold, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def short(value: Any) -> str:
    """A value in a sentence."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def side(sides: Mapping[str, Any], which: str) -> np.ndarray:
    """Bounds as an array; null is infinite."""
    empty = -np.inf if which == "lower" else np.inf
    return np.array([empty if v is None else v for v in sides[which]], dtype=float)
