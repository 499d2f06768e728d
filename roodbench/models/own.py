"""A user's own network: any nn.Module, or what a class or function of theirs makes."""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from detectors import shown

from ..store.users import described, import_attribute
from .source import Loaded, Wanted, file_hash
from .weights import load_weights

SOURCES = ("openood", "torchvision", "timm", "robustbench")
"""Words before a colon that name no module of a user's."""


def load(name: str, wanted: Wanted) -> Loaded:
    """The network that `module:attribute` or `file.py:attribute` names, with weights of a file where one is given.

    A class or function is called with `args`; a module is copied and left as it is.
    """
    net = made(found_at(name), name, wanted.args)
    files = {}
    if wanted.checkpoint is not None:
        load_weights(net, wanted.checkpoint, name, trust=wanted.trust)
        files = {wanted.checkpoint.name: file_hash(wanted.checkpoint)}
    return Loaded(net, files=files)


def found_at(name: str) -> Any:
    """What a name names; where that cannot be imported, ValueError with the source that it may mean."""
    try:
        return import_attribute(name, "model")
    except ValueError as error:
        module, _, attribute = name.rpartition(":")
        near = difflib.get_close_matches(module, SOURCES, 1)
        hint = f"; did you mean {near[0]}:{attribute}?" if near and "cannot import" in str(error) else ""
        raise ValueError(f"{error}{hint}") from None


def made(found: Any, name: str, args: Mapping[str, Any], kind: str = "model") -> nn.Module:
    """The network itself (or another `kind` of module); ValueError for what cannot be made or is something else."""
    if isinstance(found, nn.Module):
        if args:
            raise ValueError(f"{kind} {name!r} is a network already: leave out --model-arg {next(iter(args))}")
        try:
            return copy.deepcopy(found)
        except Exception as error:  # whatever a user's module holds
            raise ValueError(f"{kind} {name!r} cannot be copied: {described(error)}") from None
    if not callable(found):
        raise ValueError(f"{kind} {name!r} is {shown(found)}: expected an nn.Module, or what makes one")
    try:
        bound = inspect.signature(found).bind(**args)
    except TypeError:
        raise ValueError(f"{kind} {name!r}: {uncallable(found, args)}") from None
    except ValueError:  # no signature: a builtin
        bound = None
    try:
        net = found(**args) if bound is None else found(*bound.args, **bound.kwargs)
    except (Exception, SystemExit) as error:  # whatever a user's constructor raises
        raise ValueError(f"{kind} {name!r}: cannot be made ({described(error)})") from None
    if not isinstance(net, nn.Module):
        raise ValueError(f"{kind} {name!r} gave {shown(net)}: expected an nn.Module")
    return net


def uncallable(found: Any, args: Mapping[str, Any]) -> str:
    """Why a class or function cannot be called with some arguments, and what to do."""
    known = inspect.signature(found).parameters
    odd = [key for key in args if key not in known]
    if odd:
        near = difflib.get_close_matches(odd[0], known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"it takes no {odd[0]!r}: {hint}expected one of {', '.join(known) or 'nothing'}"
    needed = [
        p.name
        for p in known.values()
        if p.default is p.empty and p.name not in args and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    return f"it needs {' and '.join(needed)}: give {' '.join(f'--model-arg {key}=VALUE' for key in needed)}"
