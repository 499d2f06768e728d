"""A network's outputs on a fitting split, computed once and kept on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from detectors import Fitting

from .files import save_tensors
from .identity import code_version, content_hash


def kept_outputs(key: Any, compute: Callable[[], Fitting], device: torch.device) -> Fitting:
    """What `compute` gives, from the user's cache where it lies there under `key`, this code and this torch."""
    from platformdirs import user_cache_path
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    name = content_hash([key, torch.__version__, device.type, code_version()])
    file = user_cache_path("roodbench") / "features" / f"{name}.safetensors"
    try:
        found = load_file(file)
    except (OSError, SafetensorError):
        found = {k: v for k, v in compute()._asdict().items() if v is not None}
        with contextlib.suppress(OSError):
            save_tensors(found, file)
    found = {k: v.to(device) for k, v in found.items()}
    return Fitting(found["logits"], found.get("features"), found["labels"])
