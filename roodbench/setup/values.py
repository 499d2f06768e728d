"""Values of settings as people give them, in Python or as text: each becomes what its field says, or one sentence."""

from __future__ import annotations

import math
import os
import re
import reprlib
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

Bytes = int
"""A number of bytes, which people write as 4GiB."""
RADIUS = "a number such as 8/255 or 0.03"
UNITS = {"GiB": 2**30, "G": 2**30, "GB": 10**9, "MiB": 2**20, "M": 2**20, "MB": 10**6}
SAID = {"eps": "epsilon", "ood": "OOD set"}
"""What a setting is called in a sentence, where it is not its own name."""


def typed(kinds: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with the types that the annotations `kinds` name.

    ValueError for a value that is not of its type, with the value and what was expected.

    >>> typed({"eps": "tuple[float, ...] | None", "steps": "int"}, {"eps": "0,8/255", "steps": 4})
    {'eps': (0.0, 0.03137254901960784), 'steps': 4}
    """
    return {name: value_of(name, value, str(kinds[name])) for name, value in given.items()}


def value_of(name: str, value: Any, kind: str) -> Any:
    """A value as the type that an annotation names; None where the annotation has it."""
    value = bare(value)
    if value is None and kind.endswith(" | None"):
        return None
    return KINDS[kind.removesuffix(" | None")](SAID.get(name, name.replace("_", "-")), value)


def bare(value: Any) -> Any:
    """Arrays and tensors, and numbers of theirs, as Python's own numbers and lists."""
    return value.tolist() if callable(getattr(value, "tolist", None)) else value


def wrong(name: str, value: Any, expected: str) -> ValueError:
    """What to raise for a value that is not what was expected."""
    shown = repr(value) if isinstance(value, str) else " ".join(reprlib.repr(value).split())
    return ValueError(f"{name} {shown}: expected {expected}")


def text(name: str, value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value:
        raise wrong(name, value, "text")
    return value


def truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(name, value, "True or False")
    return value


def whole(name: str, value: Any) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise wrong(name, value, "a whole number")
    return int(value)


def number(name: str, value: Any) -> float:
    """A number, also as text: `0.03` or `8/255`."""
    numerator, slash, denominator = value.partition("/") if isinstance(value, str) else (value, "", "")
    odd = isinstance(value, bool) or (isinstance(value, str) and ("_" in value or not value.isascii()))
    try:
        if not odd and isinstance(value, str | Real):
            return float(numerator) / (float(denominator) if slash else 1.0)
    except (ValueError, ZeroDivisionError, OverflowError):
        pass
    raise wrong(name, value, RADIUS)


def size(name: str, value: Any) -> int:
    """A number of bytes, also as text with its unit; G and M are GiB and MiB, as Slurm and Docker take them.

    >>> size("memory", "4GiB"), size("memory", "1.5G"), size("memory", "500MB")
    (4294967296, 1610612736, 500000000)
    """
    if not isinstance(value, str):
        return whole(name, value)
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)({'|'.join(UNITS)})", value, re.ASCII)
    if found is None:
        raise wrong(name, value, "a number and its unit, such as 4GiB or 500MB")
    return int(float(found[1]) * UNITS[found[2]])


def listed(name: str, value: Any, separator: str, expected: str) -> list[Any]:
    """The entries of a list, or of its text; at least one."""
    entries = value.split(separator) if isinstance(value, str) else value
    if not isinstance(entries, list | tuple) or not entries:
        raise wrong(name, value, expected)
    return list(entries)


def names(name: str, value: Any) -> tuple[str, ...]:
    """One name, a list of them or NAME[,NAME]; each once."""
    entries = listed(name, value, ",", "NAME[,NAME]")
    if not all(isinstance(entry, str) and entry.strip() for entry in entries):
        raise wrong(name, value, "NAME[,NAME]")
    found = tuple(entry.strip() for entry in entries)
    for entry in found:
        if found.count(entry) > 1:
            raise ValueError(f"{name} {entry!r} is named {found.count(entry)} times: expected each once")
    return found


def channels(name: str, value: Any) -> tuple[float, ...]:
    """One number per channel, or one for all: a number, a list of them or N[,N]."""
    entries = [value] if isinstance(value, Real) else listed(name, value, ",", "N[,N,N], such as 0.5")
    return tuple(number(name, bare(entry)) for entry in entries)


def radii(name: str, value: Any) -> tuple[float, ...]:
    """One number, a list of them or R[,R]; they differ in the six digits by which records name them."""
    if isinstance(value, str):
        refuse_decimal_commas(name, value)
    entries = [value] if isinstance(value, Real) else listed(name, value, ",", f"{RADIUS}, or several")
    found = tuple(number(name, bare(entry)) for entry in entries)
    if len({f"{radius:.6g}" for radius in found}) < len(found) and not any(map(math.isnan, found)):
        given = ",".join(str(e) if isinstance(e, str) else written(r) for e, r in zip(entries, found, strict=True))
        raise ValueError(f"{name} {given}: expected radii that differ in six digits")
    return found


def refuse_decimal_commas(name: str, value: str) -> None:
    """ValueError for `0,03`, which a comma makes two radii, 0 and 3."""
    comma = re.search(r"(?:^|,)\s*(0,\d+|\d+,0\d+)\s*(?=,|$)", value)
    if comma is not None:
        meant = comma[1].replace(",", ".")
        two = ",".join(f"{float(part):.1f}" for part in comma[1].split(","))
        raise ValueError(
            f"{name} {value!r}: a comma separates radii; did you mean {meant}? For two of them write {two}"
        )


def written(radius: float) -> str:
    """A radius as people write it: in six digits where they say all of it, else in 255ths.

    >>> written(0.03), written(8 / 255), written(-0.5 / 255)
    ('0.03', '8/255', '-0.5/255')
    """
    digits, steps = f"{radius:.6g}", f"{radius * 255:.6g}"
    return digits if float(digits) == radius or float(steps) / 255 != radius else f"{steps}/255"


def idle_setting(name: str, value: Any, who: str) -> ValueError:
    """What to raise for a setting that `who` does not honour."""
    parts = value if isinstance(value, tuple) else (value,)
    shown = ",".join(written(part) if isinstance(part, float) else str(part) for part in parts)
    option = name.replace("_", "-")
    return ValueError(f"{who} takes no {option}: leave out --{option}{'' if value is True else f' {shown}'}")


def mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise wrong(name, value, "names with values, as {'sigma': 0.05}")
    return {key: bare(entry) for key, entry in value.items()}


KINDS: dict[str, Callable[[str, Any], Any]] = {
    "str": text,
    "bool": truth,
    "int": whole,
    "Bytes": size,
    "float": number,
    "tuple[str, ...]": names,
    "tuple[float, ...]": radii,
    "Sequence[float]": channels,
    "Mapping[str, Any]": mapping,
}
"""By annotation: what makes a value of that type."""
