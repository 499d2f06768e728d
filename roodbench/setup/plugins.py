"""Detectors by name: RoodBench's own, or a user's as `module:attribute` or `file.py:attribute`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

import detectors
from detectors import BASES, KNOWN, SPECIAL, WRAPPERS, Classifier, Detector, Plain, shown

from ..store.users import described, import_attribute, is_file
from .seam import check_seam, signature_of, takes


def is_plugin(name: str) -> bool:
    return ":" in name


def check_name(name: str) -> None:
    """ValueError for a name that is neither one of our detectors nor an attribute of a user's module or file."""
    if is_plugin(name) or name in KNOWN:
        return
    module, _, attribute = name.rpartition(".")
    for file, its in ((name, "NAME"), (f"{name}.py", "NAME"), (f"{module}.py", attribute)):
        if Path(file).is_file():
            raise ValueError(f"detector {name!r}: expected a class or function in the file {file}, {file}:{its}")
    if is_file(name):
        raise ValueError(f"detector {name!r}: expected a class or function in a file, FILE.py:NAME; no such file")
    if name == "all":
        raise ValueError("detector 'all' is every one of ours: give it alone")
    raise ValueError(detectors.unknown("detector", name, [*KNOWN, "all"]))


def check_base(base: str) -> None:
    """ValueError for a name that is neither one of our base scores nor an attribute of a user's module or file."""
    if not is_plugin(base) and base not in {**BASES, **SPECIAL}:
        raise ValueError(detectors.unknown("base score", base, {**BASES, **SPECIAL}))


def parameters_of(name: str, base: str) -> list[str]:
    """The hyper-parameters of a detector over a base, argument names first, then the papers' symbols."""
    if is_plugin(name):
        found = import_attribute(name)
        return list(detectors.keywords(found)) if callable(found) and not isinstance(found, nn.Module) else []
    if name in WRAPPERS and is_plugin(base):
        inner, outer = parameters_of(base, base), WRAPPERS[name]
        return [*outer.defaults(), *inner, *outer.symbols, *(f"base.{key}" for key in inner)]
    classes = [detectors.class_of(name), *([detectors.base_of(base)] if name in WRAPPERS else [])]
    names = [key for cls in classes for key in cls.defaults()]
    inner = [f"base.{key}" for cls in classes[1:] for key in (*detectors.keywords(cls), *cls.symbols)]
    return names + [symbol for cls in classes for symbol in cls.symbols] + inner


def uncallable(found: Any, attribute: str, params: Mapping[str, Any]) -> str:
    """Why a user's class or function cannot be called with the network and some parameters, and what to do."""
    needed = [p for p in inspect.signature(found).parameters.values() if p.default is p.empty and p.name not in params]
    keyword = [p.name for p in needed if p.kind is p.KEYWORD_ONLY]
    if keyword:
        return (
            f"{attribute} needs {' and '.join(keyword)}: give {' '.join(f'--param {name}=VALUE' for name in keyword)}"
        )
    given = "".join(f", {key}={value!r}" for key, value in params.items())
    sentence = f"{attribute}{signature_of(found)} cannot be called as {attribute}(net{given}), with the network"
    further = [p.name for p in needed if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    if not further:
        return sentence
    return f"{sentence}: for --param {further[0]}=VALUE write {attribute}(net, *, {', '.join(further)})"


def make_detector(name: str, net: Classifier, *, base: str, **params: Any) -> Detector:
    """The unfitted detector. A user's class or function is called with the network; a plain nn.Module is wrapped."""
    if name in WRAPPERS and is_plugin(base):
        return over(name, net, base, params)
    if not is_plugin(name):
        return detectors.create(name, net, base=base, **params)
    found, attribute = import_attribute(name), name.rpartition(":")[2]
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise ValueError(f"detector {name!r} is {shown(found)}: expected a Detector or nn.Module")
        if not takes(found, 1, params):
            raise ValueError(f"detector {name!r}: {uncallable(found, attribute, params)}")
        try:
            found = found(net, **params)
        except detectors.NeedsError:
            raise
        except (Exception, SystemExit) as error:  # whatever a user's constructor raises
            raise ValueError(f"detector {name!r}: cannot be made ({described(error)})") from None
    if not isinstance(found, nn.Module):
        raise ValueError(f"detector {name!r} gave {shown(found)}: expected a Detector or nn.Module")
    if not isinstance(found, Detector):
        found = Plain(found, params)
        found.net = net  # type: ignore[assignment]
    check_seam(found)
    found.name = found.name or attribute
    return found


def over(name: str, net: Classifier, base: str, params: Mapping[str, Any]) -> Detector:
    """One of our detectors over a user's score; a parameter that both have is the outer one's but for `base.NAME`."""
    outer, known = WRAPPERS[name], parameters_of(base, base)
    own = {*detectors.keywords(outer), *outer.symbols}
    inner = {key: value for key, value in params.items() if key in known and key not in own}
    spelt = {key.removeprefix("base."): value for key, value in params.items() if key.startswith("base.")}
    if twice := inner.keys() & spelt.keys():
        raise ValueError(f"parameter {min(twice)} of {base} is given twice")
    rest = {key: value for key, value in params.items() if key in own}
    return outer(make_detector(base, net, base=base, **inner, **spelt), **detectors.arguments(rest, outer))
