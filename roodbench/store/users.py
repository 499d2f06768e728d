"""Code of users: found by name, as `module:attribute` or `file.py:attribute`, and what it raises said with its line."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from detectors import unknown

from ..lazy import search_here

OURS = tuple(Path(__file__).parents[2] / package for package in ("attacks", "detectors", "roodbench"))
LIBRARY = Path(os.__file__).parent
"""Python's own modules."""
INSTALLED = {"site-packages", "dist-packages"}


@contextmanager
def here() -> Iterator[None]:
    """Modules of the current folder can be imported; what is added to `sys.path` inside is taken out again.

    Python leaves no bytecode beside them: nothing of a user's folders is written to.
    """
    before, silent = sys.path[:], sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    if "" not in sys.path:
        search_here()
    try:
        yield
    finally:
        sys.path[:] = before
        sys.dont_write_bytecode = silent


def is_file(module: str) -> bool:
    """Whether what stands before the colon is a file and not a module."""
    return module.endswith(".py") or "/" in module or "\\" in module


def import_attribute(name: str, kind: str = "detector") -> Any:
    """What `module:attribute` or `file.py:attribute` names; ValueError, with the nearest name, where there is nothing.

    Modules are looked for in the current folder too, and what a file imports also in the file's folder. `kind` is what
    it should be, in words for errors.
    """
    module_name, _, attribute = name.rpartition(":")
    if not module_name or not attribute or (module_name.startswith(".") and not is_file(module_name)):
        raise ValueError(f"{kind} {name!r}: expected MODULE:ATTRIBUTE or FILE.py:ATTRIBUTE")
    try:
        with here():
            module = import_file(Path(module_name)) if is_file(module_name) else importlib.import_module(module_name)
            check_imports(module)
    except FileNotFoundError as error:
        raise ValueError(f"{kind} {name!r}: {error}") from None
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        raise ValueError(f"{kind} {name!r}: cannot import {module_name!r} ({described(error)})") from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ValueError(missing(module, module_name, attribute)) from None


def import_file(file: Path) -> ModuleType:
    """The module in a file, under a name that no other module has; FileNotFoundError where there is no file."""
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


def check_imports(module: ModuleType) -> None:
    """ImportError where what a user's module imports is another file of a user's than the one in its own folder.

    Python knows one module of a name, whichever folder's came first. What lies beside it is looked through as well.
    """
    file = Path(getattr(module, "__file__", None) or "<built in>")
    if not is_users(file) or file.suffix != ".py":
        return
    root = file.parents[module.__name__.count(".") + (file.stem == "__init__")]
    known = [file]
    for user in known:
        for name in imported(user, root):
            own, taken = within([root], name), taken_by(name)
            if own is None or own in known:
                continue
            if taken is not None and taken != own and is_users(taken) and taken.read_bytes() != own.read_bytes():
                found, meant = (os.path.relpath(one) for one in (taken, own))
                raise ImportError(f"{os.path.relpath(user)} imports {name}: {found} hides {meant}, rename one of them")
            known.append(own)


def imported(file: Path, root: Path) -> Iterator[str]:
    """The names of all modules that a file below `root` may import, wherever in it."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = file.relative_to(root).parts[: -node.level] if node.level else ()
            start = ".".join((*above, *filter(None, [node.module])))
            yield from (start, *(f"{start}.{alias.name}" for alias in node.names))


def taken_by(name: str) -> Path | None:
    """The file of the module that Python has under a name, or would find."""
    if loaded := getattr(sys.modules.get(name), "__file__", None):
        return Path(loaded).resolve()
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    inside = spec.submodule_search_locations or ([] if spec.origin is None else [spec.origin])
    return within([Path(place).resolve().parent for place in inside], name)


def within(places: Iterable[Path], name: str) -> Path | None:
    """The first file in some folders that a module of this name would be."""
    files = [place.joinpath(*name.split(".")) for place in places]
    return next((f for file in files for f in (file.with_suffix(".py"), file / "__init__.py") if f.is_file()), None)


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
    return unknown(f"attribute of {name}", attribute, public)


def described(error: BaseException) -> str:
    """Type and message of an exception and, where it began in a user's own code, the file and line there."""
    place = place_of(error)
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}{f': {said}' if said else ''}{f' ({place})' if place else ''}"


def place_of(error: BaseException) -> str | None:
    """`mine.py:12`, the innermost line of a user's own code below which an exception was raised; None without one."""
    if isinstance(error, SyntaxError) and error.filename:
        return written(error.filename, error.lineno or 1)
    frames = [(Path(f.filename), f.lineno or 1) for f in traceback.extract_tb(error.__traceback__)]
    own = [(file, line) for file, line in frames if is_users(file)]
    return written(str(own[-1][0]), own[-1][1]) if own else None


def is_users(file: Path) -> bool:
    """Whether a source file is a user's own: not ours, Python's, made up (`<string>`) or installed."""
    if str(file).startswith("<") or INSTALLED & set(file.parts):
        return False
    return not any(place in file.parents for place in (*OURS, LIBRARY))


def written(file: str, line: int) -> str:
    """A file, from the current folder where it lies below it, and a line."""
    relative = os.path.relpath(file)
    return f"{file if relative.startswith('..') else relative}:{line}"
