"""Weights into a network."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from .checkpoint import read_state, stripped

log = logging.getLogger("roodbench")
CAST = (torch.float16, torch.bfloat16, torch.float64)
"""Types of weights that are converted to float32, with a notice."""


def load_weights(net: nn.Module, file: Path, name: str, *, trust: bool = False) -> None:
    """Put the state dict in `file` into `net`; ValueError, naming keys and shapes, where it does not fit.

    Prefixes such as `module.`, where all its names have them, are taken off. Weights of another floating point type
    become the network's; integers (quantised), complex, sparse and non-finite ones are refused. `trust` is that of
    `read_state`.
    """
    put_weights(net, read_state(file, trust=trust), file, name)


def put_weights(net: nn.Module, found: Mapping[str, Tensor], file: Path, name: str) -> None:
    """The same with the state dict that was read from `file`."""
    own = net.state_dict()
    state = stripped(found, own)
    wanted = {key: tuple(value.shape) for key, value in own.items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    faults = [f"missing {key} {wanted[key]}" for key in wanted if key not in given and key not in optional]
    faults += [f"unexpected {key} {given[key]}" for key in given if key not in wanted]
    faults += [f"{k} is {given[k]}, expected {wanted[k]}" for k in wanted if k in given and given[k] != wanted[k]]
    if faults:
        more = f"; and {len(faults) - 4} more" if len(faults) > 4 else ""
        raise ValueError(f"checkpoint '{file}' does not fit {name}: {'; '.join(faults[:4])}{more}")
    for key, value in state.items():
        if fault := fault_of_weights(value, own[key]):
            raise ValueError(f"checkpoint '{file}': {key} {fault}")
    cast = sorted({named(v) for v in state.values() if v.dtype in CAST and v.dtype != torch.float32})
    if cast:
        log.info("checkpoint '%s': weights in %s become float32", file, ", ".join(cast))
    net.load_state_dict(state, strict=False)


def fault_of_weights(value: Tensor, own: Tensor) -> str:
    """What keeps a tensor from being the network's; "" where nothing does."""
    if value.is_quantized or value.layout != torch.strided or value.is_meta:
        kind = "quantised" if value.is_quantized else "sparse" if value.layout != torch.strided else "without values"
        return f"is {kind}: expected a plain {named(own)} tensor"
    if not own.is_floating_point():
        return ""
    if value.dtype not in (*CAST, torch.float32):
        quantised = "" if value.is_complex() else ", quantised perhaps: save the weights before quantisation"
        return f"is {named(value)}, expected {named(own)}{quantised}"
    return "" if value.isfinite().all() else "has non-finite values"


def named(tensor: Tensor) -> str:
    """The name of a tensor's type, such as float32."""
    return str(tensor.dtype).removeprefix("torch.")
