"""Whether a key can list all that decides what a module gives: it can of our code and torch's, and of plain data."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from detectors.noted import NOTED

from .identity import PACKAGES, SPELT

KNOWN = frozenset({*PACKAGES, "torch", "_operator", "math", "typing", "abc"})
"""Packages whose code is in every key: by its hash, or by torch's version."""
PLAIN = (*SPELT, Tensor, np.generic)


def is_listed(module: Any) -> bool:
    """Whether `identity` says all of a module: no code of others in its or its parts' classes, attributes, hooks.

    Code of others may read a file, a variable of the environment, a closure: no list can name what decides its output.
    """
    return isinstance(module, nn.Module) and all(is_listed_alone(part) for part in module.modules())


def is_listed_alone(module: nn.Module) -> bool:
    """The same of a module without its parts."""
    if not all(is_known(cls) for cls in type(module).__mro__):
        return False
    own = vars(module)
    if any(own[name] for name in own if name.endswith("_hooks")):
        return False
    if isinstance(module, GraphModule):
        return all(is_known(node.target) for node in module.graph.nodes if node.op == "call_function")
    incidental: frozenset[str] = getattr(type(module), "incidental", frozenset())
    torchs = vars(nn.Module()).keys()
    return all(is_plain(value) for name, value in own.items() if name not in incidental | torchs | {NOTED})


def is_plain(value: Any) -> bool:
    """Whether a value is data, or a function of known code that closes over nothing."""
    if isinstance(value, Mapping):
        return all(is_plain(part) for part in chain(value.keys(), value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(is_plain(part) for part in value)
    if isinstance(value, np.ndarray):
        return value.dtype != object
    if inspect.isroutine(value):
        return is_known(value) and not getattr(value, "__closure__", None)
    return isinstance(value, PLAIN)


def is_known(code: Any) -> bool:
    """Whether a class or function is of a package that every key knows, or Python's own.

    A function is where its globals are, a method of an object nowhere: other names can be borrowed.
    """
    if any(getattr(package, getattr(code, "__name__", ""), None) is code for package in (builtins, torch)):
        return True
    owner = getattr(code, "__self__", None)
    if inspect.isfunction(code):
        place = code.__globals__.get("__name__", "")
    elif isinstance(code, type):
        place = code.__module__
    elif isinstance(owner, type):
        place = owner.__module__
    else:
        place = owner.__name__ if inspect.ismodule(owner) else ""
    return place.partition(".")[0] in KNOWN
