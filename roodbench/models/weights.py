"""Weights from disk, and onto it."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


def load_weights(net: nn.Module, file: Path, name: str) -> None:
    """Put the state dict in `file` into `net`; ValueError, naming keys and shapes, where it does not fit."""
    state = read_state(file)
    wanted = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    faults = [f"missing {key} {wanted[key]}" for key in wanted if key not in given and key not in optional]
    faults += [f"unexpected {key} {given[key]}" for key in given if key not in wanted]
    faults += [f"{k} is {given[k]}, expected {wanted[k]}" for k in wanted if k in given and given[k] != wanted[k]]
    if faults:
        more = f"; and {len(faults) - 4} more" if len(faults) > 4 else ""
        raise ValueError(f"checkpoint '{file}' does not fit {name}: {'; '.join(faults[:4])}{more}")
    for key, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"checkpoint '{file}': {key} has non-finite values")
    net.load_state_dict(state, strict=False)


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a torch state dict (`weights_only=True`), `module.` prefixes off."""
    if not file.is_file():
        raise ValueError(f"checkpoint '{file}' not found: expected a .safetensors, .th or .pt file")
    try:
        if file.suffix == ".safetensors":
            state: object = load_file(file)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickles that it then refuses
                state = torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ValueError(f"checkpoint '{file}' is not a safetensors file: {error}") from None
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error):
            raise ValueError(f"checkpoint '{file}' holds more than tensors: save net.state_dict() alone") from None
        raise ValueError(f"checkpoint '{file}' is not a state dict that torch can read") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError):
        raise ValueError(f"checkpoint '{file}' is not a state dict that torch can read") from None
    while isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"checkpoint '{file}' is not a state dict: expected names with tensors")
    return {str(key).removeprefix("module."): value for key, value in state.items()}
