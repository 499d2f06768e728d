"""State dicts from disk, whatever their files are called: what a file is, its content says."""

from __future__ import annotations

import logging
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from detectors import shown

from ..store.archives import bomb_in

log = logging.getLogger("roodbench")
EXPECTED = "expected a state dict, as torch.save(net.state_dict(), FILE) or safetensors write it"
MOST = 10_000
"""Dicts in a file that are looked into: each of a few may lie in the others many times."""
PREFIXES = ("module.", "model.", "net.", "network.", "backbone.", "_orig_mod.")
"""What wrappers put before every name: DataParallel, Lightning, torch.compile, one's own."""
FORMATS = {
    b"version https://git-lfs": "is a Git LFS pointer and not the weights: run `git lfs pull`",
    b"\x89HDF": f"is an HDF5 file, of Keras perhaps: {EXPECTED}",
    b"\x1f\x8b": "is a gzip archive: unpack it",
    b"7z\xbc\xaf": "is a 7z archive: unpack it",
    b"Rar!": "is a RAR archive: unpack it",
    b"\x93NUMPY": f"is a numpy array: {EXPECTED}",
}
"""How files begin that are no checkpoints, and what to say of them."""


def read_state(file: Path, *, trust: bool = False) -> dict[str, Tensor]:
    """The state dict in a file of torch (`weights_only=True`) or safetensors; ValueError that says what the file is.

    It may lie alone inside other dicts, such as {"state_dict": ...} or {"net": {"weights": ...}, "optimizer": ...}.
    With `trust` a file that holds more than tensors is unpickled, which runs what is in it, and a whole network gives
    its own.
    """
    start = read_start(file)
    try:
        content = read_safetensors(file) if is_safetensors(start) else read_torch(file, trust=trust)
        return only_state(content)
    except RecursionError:
        raise ValueError(f"checkpoint '{file}' is nested too deeply: {EXPECTED}") from None
    except ValueError as error:
        raise ValueError(f"checkpoint '{file}' {error}") from None


def read_start(file: Path) -> bytes:
    """How a file of weights begins; ValueError where its beginning, or the end of an archive, shows no weights."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "not found"
        raise ValueError(f"checkpoint '{file}' {what}: expected a .safetensors, .th or .pt file")
    with file.open("rb") as opened:
        start = opened.read(512)
    if not is_safetensors(start) and (reason := no_checkpoint(file, start)):
        raise ValueError(f"checkpoint '{file}' {reason}")
    return start


def is_safetensors(start: bytes) -> bool:
    """Whether a file begins like one of safetensors: the length of a JSON header, and the header."""
    return start[8:9] == b"{" and 0 < int.from_bytes(start[:8], "little") < 10**9


def read_safetensors(file: Path) -> object:
    """The tensors of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"is no valid safetensors file, or is cut off: {error}") from None


def read_torch(file: Path, *, trust: bool = False) -> object:
    """What a file of torch holds, read without running anything that is in it, unless it is trusted."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch then refuses
            with file.open("rb") as opened:  # by its name torch would take it for one of safetensors
                return torch.load(opened, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error):
            raise ValueError(f"is no state dict that torch can read, or is cut off: {EXPECTED}") from None
        if trust:
            return unpickled(file)
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f", such as {found[1]}," if found else ""
        raise ValueError(
            f"holds more than tensors{what} and is not unpickled, which would run code in it: where it was made, save "
            "net.state_dict() alone, or give --trust-checkpoint (trust_checkpoint=True) if you trust whoever made it"
        ) from None
    except EOFError:
        raise ValueError(f"is cut off: {EXPECTED}") from None
    except Exception:  # a damaged file leads torch anywhere
        raise ValueError(f"is not a state dict that torch can read, or is cut off: {EXPECTED}") from None


def say_unpickled(file: Path) -> None:
    log.warning("checkpoint '%s' is unpickled, which runs code in it: --trust-checkpoint", file)


def unpickled(file: Path) -> object:
    """What a trusted file holds, whatever that takes; a notice names it."""
    say_unpickled(file)
    try:
        with warnings.catch_warnings(), file.open("rb") as opened:
            warnings.simplefilter("ignore")
            return torch.load(opened, map_location="cpu", weights_only=False)
    except (Exception, SystemExit) as error:  # whatever the code in it raises
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"cannot be unpickled ({said}): is the code that made it installed?") from None


def no_checkpoint(file: Path, start: bytes) -> str:
    """Why a file is no checkpoint of torch, by its content; "" where it may be one."""
    if not start:
        return f"is not a checkpoint but empty: {EXPECTED}"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        return "is not a checkpoint but an HTML page: download the file behind that page"
    for magic, said in FORMATS.items():
        if start.startswith(magic):
            return said
    if start.startswith(b"PK"):
        return no_archive(file)
    return "" if start.startswith(b"\x80") else f"is not a checkpoint of torch or safetensors: {EXPECTED}"


def no_archive(file: Path) -> str:
    """Why a zip file is no checkpoint; "" where it is one."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return f"is cut off: it has {file.stat().st_size} bytes and no end; download it again"
    except (ValueError, LookupError, NotImplementedError, struct.error):
        return "is a damaged archive: download it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return "is a TorchScript module: torch.save(torch.jit.load(FILE).state_dict(), NEW) gives its weights"
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        bomb = bomb_in(file, stored=True)
        return f"{bomb}: it is not a checkpoint of torch" if bomb else ""
    if names and all(name.endswith(".npy") for name in names):
        return f"is a numpy archive: {EXPECTED}"
    return f"is a zip archive ({', '.join(names[:3])}): unpack it"


def only_state(content: object) -> dict[str, Tensor]:
    """The one state dict inside what a file holds; ValueError where there is none, or more than one."""
    if isinstance(content, torch.nn.Module):
        return content.state_dict()
    found = dict(states_in(content, (), count())) if isinstance(content, Mapping) else {}
    if len(found) > 1:
        places = ", ".join(".".join(place) for place in found)
        raise ValueError(f"holds {len(found)} state dicts, {places}: save the one that you mean alone")
    if not found:
        raise ValueError(f"is not a state dict but {odd(content)}: {EXPECTED}")
    return next(iter(found.values()))


def states_in(
    content: Mapping[object, object], place: tuple[str, ...], visits: Iterator[int]
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """(keys that lead there, state dict) of all state dicts in nested dicts; those of optimizers are none."""
    if next(visits) > MOST:
        raise ValueError(f"holds more than {MOST} dicts: {EXPECTED}")
    if "param_groups" in content:
        return
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if len(tensors) == len(content) and any(value.ndim for value in tensors.values()):
        yield place, tensors  # not a dict of single numbers, such as losses
        return
    for key, value in content.items():
        if isinstance(value, torch.nn.Module):  # of a trusted file
            yield (*place, str(key)), value.state_dict()
        if isinstance(value, Mapping):
            yield from states_in(value, (*place, str(key)), visits)


def odd(content: object) -> str:
    """In a few words, what a file holds that is not a state dict."""
    if isinstance(content, torch.nn.Module) or not isinstance(content, Mapping) or not content:
        return shown(content)
    others = [f"{key!r}: {shown(value)}" for key, value in content.items() if not isinstance(value, Tensor)]
    return f"{shown(content)}, where {'; '.join(others[:2])}"


def stripped(state: Mapping[str, Tensor], wanted: Mapping[str, object]) -> dict[str, Tensor]:
    """The state dict without the prefixes that all its names have and that the network's names have not.

    >>> list(stripped({"module.model.fc.bias": 1, "module.model.fc.weight": 2}, {"fc.bias": 0, "fc.weight": 0}))
    ['fc.bias', 'fc.weight']
    >>> list(stripped({"model.fc": 1}, {"model.fc": 0}))
    ['model.fc']
    """
    names = list(state)
    while names and not wanted.keys() & set(names):
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None)
        if prefix is None:
            break
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, state.values(), strict=True)) if wanted.keys() & set(names) else dict(state)
