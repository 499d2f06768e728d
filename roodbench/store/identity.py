"""What decides a number: the code, the network, the detector. Results are kept and reused under hashes of these."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from detectors import Detector
from detectors.noted import NOTED

ROOT = Path(__file__).parents[2]
PACKAGES = ("attacks", "detectors", "roodbench")
SCORING = (
    "attacks",
    "detectors",
    *(f"roodbench/{room}" for room in ("metrics", "data", "models", "machine", "engine", "evaluation")),
)
"""The code that decides an evaluation's scores and its indicators' numbers (certification adds files of its own to its
keys). The rest says which scores are wanted and how they are shown: a change there leaves what is kept as good as it
was."""
SPELT = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
"""Types whose `repr` differs where the value does."""


def content_hash(value: Any) -> str:
    """A hash of a JSON-like value.

    >>> content_hash({"a": 1, "b": [2]}) == content_hash({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]


def tensor_hash(tensor: Tensor) -> str:
    """A hash of a tensor's values."""
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + bytes_of(tensor)).hexdigest()[:24]


def bytes_of(tensor: Tensor) -> bytes:
    """A tensor's values as they lie in memory, also of a type that numpy does not know."""
    data = tensor.detach().cpu().resolve_conj().resolve_neg().to_dense().contiguous()
    try:
        return data.numpy().tobytes()
    except TypeError:
        return data.flatten().view(torch.uint8).numpy().tobytes()


@cache
def code_version(*places: str) -> str:
    """A hash of the sources in some files or folders of the project, by default those that decide a score."""
    digest = hashlib.sha256()
    for place in places or SCORING:
        found = ROOT / place
        for file in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            digest.update(file.relative_to(ROOT).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def state_hash(module: nn.Module, *extra: str) -> str:
    """A hash of a module's parameters and buffers, by name, and of further text."""
    digest = hashlib.sha256("".join(extra).encode())
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode() + (bytes_of(value) if isinstance(value, Tensor) else written(value).encode()))
    return digest.hexdigest()


def identity(detector: Detector) -> dict[str, Any]:
    """What besides data and plan decides a fitted detector's scores: settings, tensors, plain attributes, code.

    Attributes that a module's class declares as `incidental` are left out.
    """
    attributes, sources = make_of(detector)
    return {
        "detector": detector.label,
        "params": [d.hyperparameters() for d in detector.chain],
        "fitted": detector.fitted(),
        "state": state_hash(detector, attributes),
        "sources": sources,
    }


def make_of(module: Any) -> tuple[str, str]:
    """What a module is besides its parameters and buffers: its and its parts' attributes, and their sources."""
    if not isinstance(module, nn.Module):
        return type(module).__qualname__, ""
    plain = [repr((name, type(m).__qualname__, plain_attributes(m))) for name, m in module.named_modules()]
    plain += [m.code for m in module.modules() if isinstance(m, GraphModule)]
    return content_hash(plain), source_hash(module)


def plain_attributes(module: nn.Module) -> list[tuple[str, str]]:
    """A module's own attributes, but for what its class declares incidental and what `state_dict` or torch holds."""
    incidental: frozenset[str] = getattr(type(module), "incidental", frozenset())
    torchs = vars(nn.Module()).keys() - {"training"}
    own = {k: v for k, v in vars(module).items() if k not in incidental | torchs | {NOTED}}
    hidden = {k: b for k, b in module._buffers.items() if k in module._non_persistent_buffers_set and b is not None}
    return sorted((k, written(v)) for k, v in {**own, **hidden}.items())


def written(value: Any) -> str:
    """A value as text that differs where the value does: tensors and arrays by their bytes, containers by their parts.

    Of any other object only its type counts: no text can say what it may do.
    """
    if isinstance(value, Tensor):
        return tensor_hash(value)
    if isinstance(value, np.ndarray | np.generic):
        return repr((value.dtype, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()))
    if inspect.isroutine(value):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        return repr(sorted((repr(key), written(part)) for key, part in value.items()))
    if isinstance(value, list | tuple | set | frozenset):
        parts = [written(part) for part in value]
        return repr(sorted(parts) if isinstance(value, set | frozenset) else parts)
    return repr(value) if isinstance(value, SPELT) else type(value).__qualname__


def source_hash(module: nn.Module) -> str:
    """A hash of the files of a user's module, of its parts' classes and functions that they keep; "" for ours."""
    files = set()
    classes = {base for part in module.modules() for base in type(part).__mro__}
    functions = {v for part in module.modules() for v in vars(part).values() if inspect.isroutine(v)}
    for owner in classes | functions:
        try:
            file = Path(inspect.getsourcefile(owner) or "")
        except (TypeError, OSError):  # built in, or of no file: from exec, `python -c`, a notebook
            continue
        ours = any(ROOT / package in file.parents for package in PACKAGES)
        if file.is_file() and not ours and "site-packages" not in file.parts:
            files.add(file)
    if not files:
        return ""
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]
