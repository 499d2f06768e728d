"""Detectors by name: RoodBench's own, or a user's as `module:attribute` or `file.py:attribute`."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

import detectors
from detectors import BASES, KNOWN, SPECIAL, WRAPPERS, Classifier, Detector, Plain, shown

from ..engine.users import described
from ..lazy import search_here
from .seam import check_seam, signature_of, takes


@contextmanager
def here() -> Iterator[None]:
    """Modules of the current folder can be imported; what is added to `sys.path` inside is taken out again."""
    before = sys.path[:]
    if "" not in sys.path:
        search_here()
    try:
        yield
    finally:
        sys.path[:] = before


def is_plugin(name: str) -> bool:
    return ":" in name


def check_name(name: str) -> None:
    """ValueError for a detector that is none of ours and names no attribute of a user's module or file."""
    if is_plugin(name) or name in KNOWN:
        return
    module, _, attribute = name.rpartition(".")
    for file, its in ((name, "NAME"), (f"{name}.py", "NAME"), (f"{module}.py", attribute)):
        if Path(file).is_file():
            raise ValueError(f"detector {name!r}: expected a class or function in the file {file}, {file}:{its}")
    if is_file(name):
        raise ValueError(f"detector {name!r}: expected a class or function in a file, FILE.py:NAME; no such file")
    raise ValueError(detectors.unknown("detector", name, KNOWN))


def check_base(base: str) -> None:
    """ValueError for a base score that is none of ours, and no attribute of a user's module or file."""
    if not is_plugin(base) and base not in {**BASES, **SPECIAL}:
        raise ValueError(detectors.unknown("base score", base, {**BASES, **SPECIAL}))


def is_file(module: str) -> bool:
    """Whether what stands before the colon is a file and not a module."""
    return module.endswith(".py") or "/" in module or "\\" in module


def import_attribute(name: str) -> Any:
    """What `module:attribute` or `file.py:attribute` names; ValueError, with the nearest name, where there is nothing.

    Modules are looked for in the current folder too, and what a file imports also in the file's folder.
    """
    module_name, _, attribute = name.rpartition(":")
    if not module_name or not attribute or (module_name.startswith(".") and not is_file(module_name)):
        raise ValueError(f"detector {name!r}: expected MODULE:ATTRIBUTE or FILE.py:ATTRIBUTE")
    try:
        with here():
            module = import_file(Path(module_name)) if is_file(module_name) else importlib.import_module(module_name)
    except FileNotFoundError as error:
        raise ValueError(f"detector {name!r}: {error}") from None
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        raise ValueError(f"detector {name!r}: cannot import {module_name!r} ({described(error)})") from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ValueError(missing(module, module_name, attribute)) from None


def import_file(file: Path) -> ModuleType:
    """The module in a file, under a name that no other module has; FileNotFoundError where there is none."""
    if not file.is_file():
        near = difflib.get_close_matches(file.name, [p.name for p in file.parent.glob("*.py")], 1)
        hint = f", did you mean {str(file.with_name(near[0]))!r}?" if near else f" (looked in {file.parent.resolve()})"
        raise FileNotFoundError(f"no file {str(file)!r}{hint}")
    path, name = file.resolve(), re.sub(r"\W", "_", file.stem)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last: a file there hides no installed module
    while (known := sys.modules.get(name)) is not None or is_taken(name, path):
        if known is not None and getattr(known, "__file__", None) == str(path):
            return known
        name = f"user_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{str(file)!r} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def is_taken(name: str, path: Path) -> bool:
    """Whether an import of this name would find another file."""
    spec = importlib.util.find_spec(name)
    return spec is not None and (spec.origin is None or Path(spec.origin).resolve() != path)


def missing(module: ModuleType, name: str, attribute: str) -> str:
    """One line for an attribute that a module does not have."""
    own = Path(f"{name.replace('.', '/')}.py")
    file = getattr(module, "__file__", None)
    if own.is_file() and not (file and Path(file).resolve() == own.resolve()):
        return (
            f"module {name} is {file or 'part of Python'} and has no {attribute!r}: name your file, ./{own}:{attribute}"
        )
    public = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    if not public:
        return f"{name} has no {attribute!r} and defines no class or function"
    return detectors.unknown(f"attribute of {name}", attribute, public)


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
