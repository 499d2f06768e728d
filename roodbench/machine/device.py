"""The device of a run, opened in one place: float32 means float32 on it, and threads follow the cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from detectors.care import usual_state


@contextmanager
def opened(name: str | torch.device) -> Iterator[torch.device]:
    """The device `auto`, `cpu`, `cuda` or `cuda:N`, ready to compute scores: torch as it starts, one thread per core.

    Every global setting is put back at the end (`usual_state`). ValueError for a device that this machine lacks.
    """
    device = device_of(name) if isinstance(name, str) else name
    with usual_state(device.type):
        use_threads()
        yield device


@contextmanager
def summing_products() -> Iterator[None]:
    """In it convolutions sum products, in some order, as bounds on rounding assume: not by Winograd or FFT.

    cuDNN and NNPACK, which choose among these, are off: a GPU then multiplies matrices, and oneDNN computes directly.
    """
    cudnn, nnpack = torch.backends.cudnn.enabled, torch.backends.nnpack.set_flags(False)
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = cudnn
        torch.backends.nnpack.set_flags(*nnpack)


def device_of(name: str) -> torch.device:
    """`auto` is the GPU where there is one; ValueError for a device this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}: expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: this machine (or this build of torch) has no CUDA; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r}: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


def use_threads() -> None:
    """One thread per core that the process may use, unless OMP_NUM_THREADS says otherwise."""
    if "OMP_NUM_THREADS" not in os.environ and cores() < torch.get_num_threads():
        torch.set_num_threads(cores())


def cores() -> int:
    """The cores that the process may use; torch counts the machine's, also where a container or a mask allows fewer."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        found = min(found, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # not Linux, or no quota
    return found
