"""A network's outputs on a fitting split, computed once and kept on disk."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import torch

from detectors import Fitting

from .cells import DamagedError, place_of, read_cell, write_cell
from .trust import check_cache, is_believed

log = logging.getLogger("roodbench")


def kept_outputs(key: Any, compute: Callable[[], Fitting], device: torch.device, *, fresh: bool = False) -> Fitting:
    """What `compute` gives, from the user's cache where it lies there under `key`, this code and this torch.

    `fresh` replaces what lies there.
    """
    from platformdirs import user_cache_path

    made_by = {"features": key, "torch": torch.__version__, "device": device.type}
    file, text = place_of(user_cache_path("roodbench") / "features", made_by)
    check_cache(file.parent)
    found = None
    if file.exists() and not fresh and not is_believed(file):
        log.warning("the kept %s is another user's: computing it anew", file)
    elif file.exists() and not fresh:
        try:
            found = read_cell(file, text)[0]
        except DamagedError as error:
            log.warning("the kept %s is damaged (%s): computing it anew", file, error)
    if found is None:
        found = {k: v for k, v in compute()._asdict().items() if v is not None}
        with contextlib.suppress(OSError):
            write_cell(file, (found, {}), text)
    found = {k: v.to(device) for k, v in found.items()}
    return Fitting(found["logits"], found.get("features"), found["labels"])
